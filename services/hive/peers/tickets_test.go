package peers

import (
	"fmt"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

func TestTickets(t *testing.T) {
	t0 := time.Unix(1e9, 0)
	var ts tickets
	if ts.opens("", "a", t0) || ts.opens("t", "a", t0) {
		t.Error("opened without any ticket")
	}
	ts.admit("t", "a", t0)
	for name, tc := range map[string]struct {
		word, digest string
		after        time.Duration
		want         bool
	}{
		"it":             {"t", "a", time.Minute, true},
		"another file":   {"t", "b", time.Minute, false},
		"another ticket": {"u", "a", time.Minute, false},
		"none":           {"", "a", time.Minute, false},
		"a part of it":   {"t ", "a", time.Minute, false},
		"too late":       {"t", "a", 2*messages.TicketLife + time.Minute, false},
	} {
		if got := ts.opens(tc.word, tc.digest, t0.Add(tc.after)); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Each use has it live on.
	ts.admit("u", "a", t0)
	for i := range 5 {
		if !ts.opens("u", "a", t0.Add(time.Duration(i)*messages.TicketLife*9/10)) {
			t.Errorf("it ended in use, after %d", i)
		}
	}
}

// However many come, those that are used stay and memory is bounded.
func TestTicketsFlood(t *testing.T) {
	t0 := time.Unix(1e9, 0)
	var ts tickets
	ts.admit("used", "a", t0)
	for i := range 3 * maxTickets {
		at := t0.Add(time.Duration(i) * time.Millisecond)
		ts.admit(fmt.Sprint(i), "b", at)
		if i%1000 == 0 && !ts.opens("used", "a", at) {
			t.Fatalf("the one in use went after %d", i)
		}
	}
	if n := len(ts.byHash); n > maxTickets {
		t.Errorf("%d are kept", n)
	}
	ts.admit("last", "c", t0.Add(2*messages.TicketLife))
	if n := len(ts.byHash); n != 1 {
		t.Errorf("%d are kept of which one counts", n)
	}
}

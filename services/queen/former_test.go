package queen

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// TestFormerWorkersAreAwaited: of a queen that comes back a request, or an ensure, starts no second worker in the
// stead of one that has not beaten yet.
func TestFormerWorkersAreAwaited(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t)
	first := beginOn(t, s, Config{Name: "q", Route: "bus"})
	f := first.ready(t, "w1")
	for ctx := deadline(t); !slices.Contains(first.keys(t, messages.WorkersBucket), "w1"); {
		if ctx.Err() != nil {
			t.Fatal("w1 is not in the bucket")
		}
	}
	first.stop()
	w := beginOn(t, s, Config{Name: "q", Route: "bus"})
	h := w.hive(t) // it has the model
	type answer struct {
		status int
		body   string
	}
	got := make(chan answer, 1)
	ctx := deadline(t)
	go func() { status, body := w.chat(ctx); got <- answer{status, body} }()
	ensured := w.job(t, messages.OpEnsure, messages.SpawnRequest{Job: "j1", Model: "m"})
	select {
	case r := <-h.spawned:
		t.Errorf("a second worker is started: %+v", r)
	case a := <-got:
		t.Errorf("answered by nobody: %+v", a)
	case <-ensured:
		t.Error("ensured by nobody")
	case <-time.After(time.Second): // it would take milliseconds
	}
	f.beat(t, messages.StatusReady)
	if a := recv(t, "an answer", got); a.status != http.StatusOK || !strings.HasSuffix(a.body, "[DONE]\n\n") {
		t.Errorf("%+v", a)
	}
	if err := recv(t, "the ensure's end", ensured); err != nil {
		t.Error(err)
	}
	if len(h.spawned) > 0 {
		t.Errorf("a second worker was started: %+v", <-h.spawned)
	}
}

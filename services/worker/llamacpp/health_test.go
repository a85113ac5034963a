package llamacpp

import (
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

func TestHealthAt(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for name, tc := range map[string]struct {
		began time.Time // zero: between steps
		ill   bool
	}{
		"idle":           {},
		"a short step":   {began: now.Add(-time.Second)},
		"a long one":     {began: now.Add(-stalledAfter + time.Nanosecond)},
		"too long":       {began: now.Add(-stalledAfter), ill: true},
		"for hours":      {began: now.Add(-5 * time.Hour), ill: true},
		"the clock jump": {began: now.Add(time.Hour)},
	} {
		e := unloaded(t, Config{ModelPath: "m.gguf"})
		if !tc.began.IsZero() {
			e.stepBegan.Store(tc.began.UnixNano())
		}
		err := e.healthAt(now)
		if tc.ill != (messages.CodeOf(err) == messages.CodeStalled) || tc.ill != (err != nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "1m0s") && !strings.Contains(err.Error(), "5h0m0s") || messages.AsError(err, "").Hint == "") {
			t.Errorf("%s: %v does not say for how long, or what to do", name, err)
		}
	}
}

// TestHealth: steps are seen while they run, and none when all is done.
func TestHealth(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Endless), Slots: 1, ContextLength: 512})
	idle := func() {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); e.stepBegan.Load() != 0; {
			if time.Now().After(end) {
				t.Fatal("the engine is idle and a step still runs")
			}
		}
		if err := e.healthAt(time.Now().Add(time.Hour)); err != nil {
			t.Errorf("idle: %v", err)
		}
	}
	idle()
	seen := false
	_, err := e.Infer(t.Context(), asStream(chat("hello", map[string]any{"max_tokens": 300})), func([]byte) error {
		if err := e.Health(); err != nil {
			t.Error(err)
		}
		seen = seen || messages.CodeOf(e.healthAt(time.Now().Add(2*stalledAfter))) == messages.CodeStalled
		return nil
	})
	if err != nil || !seen {
		t.Errorf("no step was seen: %v", err)
	}
	idle()
}

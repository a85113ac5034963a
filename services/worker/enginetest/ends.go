package enginetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// StillWithin is how soon after a cancel the step counter must stand still, and how long it is
// watched after that.
const StillWithin = 100 * time.Millisecond

// cancels asks for the step counter: a chunk that no longer comes proves nothing.
func (s *suite) cancels(t *testing.T) {
	e := s.loaded(t)
	r := s.start(t, e)
	s.moves(t, e)
	r.cancel()
	s.stands(t, e)
	if err := r.end(t); !errors.Is(err, context.Canceled) {
		t.Errorf("Infer gave %v, want %v", err, context.Canceled)
	}
	if used := e.Stats().SlotsUsed; used != 0 {
		t.Errorf("%d slots are still used", used)
	}
	mustAsk(t, e, s.request("chat", nil))
}

func (s *suite) moves(t *testing.T, e engine.Engine) {
	t.Helper()
	if s.Deaf {
		return
	}
	before := e.Stats().Steps
	await(t, "ten more steps", func() bool { return e.Stats().Steps >= before+10 })
}

func (s *suite) stands(t *testing.T, e engine.Engine) {
	t.Helper()
	if s.Deaf {
		return
	}
	<-time.After(StillWithin)
	at := e.Stats().Steps
	<-time.After(StillWithin)
	if now := e.Stats().Steps; now != at {
		t.Errorf("%d steps more, %v after the cancel", now-at, StillWithin)
	}
}

func (s *suite) emitFails(t *testing.T) {
	e := s.loaded(t)
	gone := errors.New("the client went away")
	req := s.request("chat", map[string]any{"max_tokens": 1 << 30})
	req.Stream = true
	n := 0
	_, err := e.Infer(t.Context(), req, func([]byte) error {
		if n++; n == 5 {
			return gone
		}
		return nil
	})
	if !errors.Is(err, gone) || n != 5 {
		t.Errorf("Infer gave %v after %d objects, want %v after 5", err, n, gone)
	}
	s.stands(t, e)
	if used := e.Stats().SlotsUsed; used != 0 {
		t.Errorf("%d slots are still used", used)
	}
}

func (s *suite) busy(t *testing.T) {
	e := s.loaded(t)
	slots := e.Info().Models[0].Slots
	var all []*running
	for range slots {
		all = append(all, s.start(t, e))
	}
	if used := e.Stats().SlotsUsed; used != slots {
		t.Errorf("%d of %d slots are used", used, slots)
	}
	start := time.Now()
	_, err := Ask(t.Context(), e, s.request("chat", nil))
	if messages.CodeOf(err) != messages.CodeBusy {
		t.Errorf("one too many: %v, want %s", err, messages.CodeBusy)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("busy took %v", took)
	}
	all[0].cancel()
	_ = all[0].end(t)
	mustAsk(t, e, s.request("chat", nil))
	for _, r := range all[1:] {
		r.cancel()
		_ = r.end(t)
	}
}

func (s *suite) closes(t *testing.T) {
	e := s.open(t)
	if err := e.Load(t.Context(), func(float64) {}); err != nil {
		t.Fatal(err)
	}
	r := s.start(t, e)
	if err := e.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := r.end(t); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("the running request gave %v, want %s", err, messages.CodeUnavailable)
	}
	if _, err := Ask(t.Context(), e, s.request("chat", nil)); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("a request after close gave %v, want %s", err, messages.CodeUnavailable)
	}
}

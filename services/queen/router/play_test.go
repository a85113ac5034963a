package router

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// play is a Transport without wires, for fake time.
type play func(ctx context.Context, w *messages.WorkerInfo) (Stream, error)

func (play) Name() string { return "play" }

func (p play) Open(ctx context.Context, w *messages.WorkerInfo, _ *messages.InferRequest) (Stream, error) {
	return p(ctx, w)
}

// scene says one object after a while, and ends after the same while.
type scene struct {
	lasts time.Duration
	end   error // nil: complete
	said  bool
}

func (s *scene) Next(ctx context.Context) ([]byte, error) {
	select {
	case <-ctx.Done():
		return nil, ended(ctx)
	case <-time.After(s.lasts):
	}
	switch {
	case !s.said:
		s.said = true
		return []byte("{}"), nil
	case s.end != nil:
		return nil, s.end
	}
	return nil, io.EOF
}

func (*scene) Usage() messages.Usage { return usage }

func (*scene) Close() {}

// theatre is a cluster on the bus alone, in fake time.
func theatre(p play) *cluster { return assemble(RouteBus, p, nil) }

// ports is a cluster without a bus.
func ports(t *testing.T) *cluster {
	t.Helper()
	direct := NewDirect()
	t.Cleanup(direct.Close)
	return assemble(RouteDirect, nil, direct)
}

// ask has one request answered to its end.
func (c *cluster) ask(ctx context.Context) (messages.WorkerID, error) {
	a, err := c.Infer(ctx, request(true))
	if err != nil {
		return "", err
	}
	_, err = readAnswer(ctx, a)
	return a.Worker.ID, err
}

// slots is w with n slots.
func slots(w messages.WorkerInfo, n int) messages.WorkerInfo {
	w.SlotsTotal, w.Models = n, []messages.ModelInfo{{ID: "m", Slots: n}}
	return w
}

func (c *cluster) note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, s)
}

func (c *cluster) wantTold(t *testing.T, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.told, want) {
		t.Errorf("the registry was told %q, want %q", c.told, want)
	}
}

// fails is what the breaker of w has counted.
func (c *cluster) fails(w messages.WorkerInfo) int {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if l := c.d.life[w.Incarnation]; l != nil {
		return l.breaker.fails
	}
	return 0
}

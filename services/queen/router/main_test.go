package router

import (
	"context"
	"flag"
	"github.com/rbee-project/rbee/bus/bustest"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

func TestMain(m *testing.M) {
	// Tests of silence wait for seconds and compute nothing: as many as there are may run at once.
	_ = flag.Set("test.parallel", "64")
	bustest.VerifyNoLeaks(m)
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// worker is a ready one of two slots that serves model m.
func worker(id string) messages.WorkerInfo {
	return messages.WorkerInfo{ID: messages.WorkerID(id), Incarnation: "i-" + id, Status: messages.StatusReady, SlotsTotal: 2,
		Models: []messages.ModelInfo{{ID: "m", Slots: 2}}, ModelID: "m"}
}

func with(w messages.WorkerInfo, status messages.Status, used int) messages.WorkerInfo {
	w.Status, w.SlotsUsed = status, used
	return w
}

// beats is what the registry says of a beat; lost of a worker's end.
func beats(w messages.WorkerInfo) *registry.Change {
	c := &registry.Change{Worker: registry.View{WorkerInfo: w, Bus: registry.RouteUp}}
	if w.Port > 0 {
		c.Worker.Direct = registry.RouteUp
	}
	return c
}

func kind(c *registry.Change, kind string) *registry.Change { c.Kind = kind; return c }

func suspected(w messages.WorkerInfo) *registry.Change {
	c := kind(beats(w), registry.WorkerSuspect)
	c.Worker.Suspect = "silent"
	return c
}

func newDispatcher() *Dispatcher { return newDispatcherFor(RouteAuto) }

func newDispatcherFor(route string) *Dispatcher {
	return NewDispatcher(route, func() bool { return true }, func() {})
}

func lost(w messages.WorkerInfo) *registry.Change {
	c := kind(beats(w), registry.WorkerLost)
	c.Cause = "signal SIGKILL"
	return c
}

package queen

import (
	"context"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// fakeHive takes what a queen asks of a hive; its channels hand it to the test.
type fakeHive struct {
	c         *bus.Conn
	spawned   chan messages.SpawnRequest
	killed    chan messages.KillRequest
	watched   chan messages.WatchRequest
	cancelled chan messages.JobID
	gone      map[messages.WorkerID]bool // whose process is not there
	hang      chan struct{}              // a spawn is answered when it is closed; nil: at once
}

func (w *world) hive(t *testing.T) *fakeHive {
	t.Helper()
	return w.hiveWith(t, &fakeHive{})
}

// hiveWith runs h as hive h1, with model m and the engine.
func (w *world) hiveWith(t *testing.T, h *fakeHive) *fakeHive {
	t.Helper()
	h.c = w.s.ConnectLoose(t, bus.RoleHive, "h1")
	h.spawned, h.killed = make(chan messages.SpawnRequest, 64), make(chan messages.KillRequest, 64)
	h.watched, h.cancelled = make(chan messages.WatchRequest, 64), make(chan messages.JobID, 64)
	handlers := map[string]func(context.Context, *bus.Call) (any, error){
		messages.OpSpawn: bus.Handle(h.spawn),
		messages.OpKill: bus.Handle(func(_ context.Context, _ *bus.Call, r *messages.KillRequest) (*messages.Done, error) {
			h.killed <- *r
			return &messages.Done{OK: true}, nil
		}),
		messages.OpWatch: bus.Handle(func(_ context.Context, _ *bus.Call, r *messages.WatchRequest) (*messages.Done, error) {
			h.watched <- *r
			if h.gone[r.Worker] {
				return nil, messages.Errorf(messages.CodeNotFound, messages.OpWatch, "no such process")
			}
			return &messages.Done{OK: true}, nil
		}),
		messages.OpJobCancel: bus.Handle(func(_ context.Context, _ *bus.Call, r *messages.JobRef) (*messages.Done, error) {
			h.cancelled <- r.Job
			return &messages.Done{OK: true}, nil
		}),
		messages.OpModelList: bus.Handle(func(context.Context, *bus.Call, *messages.ModelListRequest) (*messages.ModelListReply, error) {
			return &messages.ModelListReply{Models: []messages.Model{{ID: "m"}}}, nil
		}),
		messages.OpLogs: bus.Handle(func(context.Context, *bus.Call, *messages.LogsRequest) (*messages.LogsReply, error) {
			return &messages.LogsReply{Text: "a log", Next: 5}, nil
		}),
	}
	var endpoints []bus.Endpoint
	for op, fn := range handlers {
		endpoints = append(endpoints, bus.Endpoint{Name: strings.ReplaceAll(op, ".", "-"), Subject: messages.HiveSubject("h1", op), Handle: fn})
	}
	svc, err := h.c.Serve(context.Background(), "rbee-hive", "dev", "fake", endpoints)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	h.beat(t, "first")
	w.until(t, "hive is known", func() bool { return len(w.q.registry.Hives()) == 1 })
	return h
}

func (h *fakeHive) spawn(ctx context.Context, _ *bus.Call, r *messages.SpawnRequest) (*messages.SpawnResult, error) {
	h.spawned <- *r
	if h.hang != nil {
		select {
		case <-h.hang:
		case <-ctx.Done():
		}
	}
	return &messages.SpawnResult{WorkerID: r.ID, PID: 4242, Port: 1, StartTime: 7, ModelID: "m"}, nil
}

// beat says what the hive's process has; each life has an incarnation of its own.
func (h *fakeHive) beat(t *testing.T, incarnation string) {
	t.Helper()
	b := &messages.HiveBeat{Hive: messages.HiveInfo{ID: "h1", Incarnation: incarnation, Models: []string{"m"}, Engines: []messages.Engine{{Name: defaultEngine}}}}
	if err := h.c.Publish(messages.HiveBeatSubject("h1"), b); err != nil {
		t.Error(err)
	}
}

func (h *fakeHive) exited(t *testing.T, id messages.WorkerID, pid int, stderr string) {
	t.Helper()
	e := &messages.WorkerExited{Worker: id, Hive: "h1", PID: pid, StartTime: 7, Code: 1, Stderr: stderr}
	if err := h.c.PublishJSON(messages.EventSubject("hive", "h1", "worker.exited"), e); err != nil {
		t.Error(err)
	}
}

// news is every event that queens tell, in their order.
func (w *world) news(t *testing.T) <-chan messages.Event {
	t.Helper()
	ch := make(chan messages.Event, 1024)
	stop, err := w.client.Subscribe(messages.EventSubject("queen", "*", ">"), func(m bus.Msg) {
		var e messages.Event
		if messages.Decode(m.Data, &e) == nil {
			ch <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := w.client.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return ch
}

// next is the next of these kinds.
func next(t *testing.T, news <-chan messages.Event, kinds ...string) messages.Event {
	t.Helper()
	for {
		e := recv(t, strings.Join(kinds, " or "), news)
		for _, k := range kinds {
			if e.Kind == k {
				return e
			}
		}
	}
}

// idle returns when the queen has asked the hives all that it had to ask.
func (w *world) idle(t *testing.T) {
	t.Helper()
	w.q.registry.Workers() // what was heard before has been added
	for ctx := deadline(t); ; {
		w.q.errands.mu.Lock()
		busy := w.q.errands.running > 0 || len(w.q.errands.tasks) > 0
		w.q.errands.mu.Unlock()
		if !busy {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("the errands do not end")
		}
		_ = w.q.conn.Flush(ctx)
	}
}

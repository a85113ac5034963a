package queen

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

func TestEveryOperationHasAHandler(t *testing.T) {
	w := begin(t)
	handlers, want := w.q.handlers(), 0
	subjects := map[string]bool{}
	for _, e := range w.q.endpoints() {
		if e.Handle == nil || e.Queue != messages.QueenQueue || strings.Contains(e.Name, ".") || subjects[e.Subject] {
			t.Errorf("endpoint %+v", e)
		}
		subjects[e.Subject] = true
		for _, payload := range []any{e.Request, e.Reply} {
			if payload == nil {
				continue
			}
			if s, err := bus.SchemaOf(payload); err != nil || len(s.Properties) == 0 {
				t.Errorf("%s: schema of %T: %v", e.Subject, payload, err)
			}
		}
	}
	for _, op := range messages.Operations() {
		if op.Party != messages.QueenReads && op.Party != messages.QueenDoes {
			continue
		}
		want++
		if handlers[op.Op] == nil {
			t.Errorf("nobody does %s", op.Op)
		}
	}
	if len(handlers) != want || len(subjects) != want {
		t.Errorf("%d handlers, %d subjects, %d operations", len(handlers), len(subjects), want)
	}
}

// takes has f answer op on the bus; the channel hands it over.
func (f *fakeWorker) takes(t *testing.T, op string, status messages.Status) <-chan string {
	t.Helper()
	asked := make(chan string, 8)
	stop, err := f.c.Subscribe(messages.WorkerSubject(f.info.ID, f.info.Incarnation, op), func(m bus.Msg) {
		asked <- op
		info := f.info
		info.Status = status
		_ = f.c.PublishRaw(m.Reply, "", messages.MustEncode(&info))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := f.c.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return asked
}

func TestDrainAndUndrain(t *testing.T) {
	t.Parallel()
	w := begin(t)
	f := w.ready(t, "w1")
	drained, undrained := f.takes(t, messages.OpDrain, messages.StatusDraining), f.takes(t, messages.OpUndrain, messages.StatusReady)
	for op, tc := range map[string]struct {
		asked <-chan string
		want  messages.Status
	}{messages.OpDrainAt: {drained, messages.StatusDraining}, messages.OpUndrainAt: {undrained, messages.StatusReady}} {
		t.Run(op, func(t *testing.T) {
			var info messages.WorkerInfo
			if err := w.do(t, op, &messages.WorkerRef{ID: "w1"}, &info); err != nil || info.ID != "w1" || info.Status != tc.want {
				t.Errorf("%+v, %v", info, err)
			}
			recv(t, "the worker is asked", tc.asked)
			for _, id := range []messages.WorkerID{"w9", "", "w.1", "*"} {
				wantCode(t, w.do(t, op, &messages.WorkerRef{ID: id}, nil), messages.CodeNotFound)
			}
			observer := w.s.ConnectLoose(t, bus.RoleObserver, "eve")
			wantCode(t, observer.Request(deadline(t), messages.DoSubject(observer.Caller, op), &messages.WorkerRef{ID: "w1"}, nil), messages.CodeDenied)
			if len(tc.asked) > 0 {
				t.Error("asked once more")
			}
		})
	}
	f.c.Close()
	began := time.Now()
	err := w.do(t, messages.OpDrainAt, &messages.WorkerRef{ID: "w1"}, nil)
	wantCode(t, err, messages.CodeUnavailable)
	if took := time.Since(began); took > soonIs {
		t.Errorf("a worker that is away: %v after %v", err, took)
	}
}

// crowd has n workers beat; their ids sort as their numbers.
func (w *world) crowd(t *testing.T, n int) {
	t.Helper()
	c := w.s.Connect(t, bus.RoleQueen, "crowd")
	for i := range n {
		id := messages.WorkerID(fmt.Sprintf("w%05d", i))
		b := &messages.Heartbeat{Seq: 1, Worker: messages.WorkerInfo{ID: id, Incarnation: string("i" + id), Models: []messages.ModelInfo{{ID: "m", Slots: 4}}, ModelID: "m",
			PID: i + 1, Status: messages.StatusReady, SlotsTotal: 4}}
		if err := c.Publish(messages.HeartbeatSubject(id), b); err != nil {
			t.Fatal(err)
		}
	}
	last := messages.WorkerID(fmt.Sprintf("w%05d", n-1))
	w.until(t, "the last is known", func() bool { _, ok := w.q.registry.Worker(last); return ok })
}

func TestWorkerListPages(t *testing.T) {
	t.Parallel()
	w := begin(t)
	const n = 5000
	w.crowd(t, n)
	for name, encode := range map[string]func(after messages.WorkerID) []byte{
		"program": func(after messages.WorkerID) []byte {
			return messages.MustEncode(&messages.WorkerListRequest{After: after})
		},
		"by hand": func(after messages.WorkerID) []byte {
			if after == "" {
				return nil
			}
			return []byte(`{"after":"` + string(after) + `"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ids []messages.WorkerID
			pages := 0
			for after := messages.WorkerID(""); ; {
				answer, err := w.client.RequestRaw(deadline(t), messages.QueenSubject(messages.OpWorkerList), encode(after))
				var r messages.WorkerListReply
				if err == nil {
					err = messages.Decode(answer, &r)
				}
				if err != nil || len(r.Workers) == 0 || len(answer) > messages.MaxPayload {
					t.Fatalf("page %d: %d workers, %v", pages, len(r.Workers), err)
				}
				for _, v := range r.Workers {
					ids = append(ids, v.ID)
				}
				pages++
				if after = r.Next; after == "" {
					break
				}
			}
			if len(ids) != n || pages < 2 {
				t.Fatalf("%d ids on %d pages", len(ids), pages)
			}
			for i, id := range ids {
				if want := messages.WorkerID(fmt.Sprintf("w%05d", i)); id != want {
					t.Fatalf("id %d is %s, want %s", i, id, want)
				}
			}
		})
	}
	var r messages.WorkerListReply
	if err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpWorkerList), &messages.WorkerListRequest{After: "w04998x"}, &r); err != nil ||
		len(r.Workers) != 1 || r.Next != "" {
		t.Errorf("behind an id that is gone: %d workers, %v", len(r.Workers), err)
	}
}

// healthIs asks until the queen's health is so.
func (w *world) healthIs(t *testing.T, status int, says string) {
	t.Helper()
	for ctx := deadline(t); ; {
		got, body := get(t, w.http+"/health")
		if got == status && strings.Contains(body, says) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("health: %d %s; want %d %s", got, body, status, says)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := begin(t)
	f := w.ready(t, "w1")
	w.healthIs(t, http.StatusOK, `"ok"`)
	js, stream := w.q.conn.JetStream(), "KV_"+messages.WorkersBucket
	s, err := js.Stream(deadline(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Sealed = true // it takes nothing, and cannot be mended
	if _, err := js.UpdateStream(deadline(t), cfg); err != nil {
		t.Fatal(err)
	}
	f.beat(t, messages.StatusDraining)
	w.healthIs(t, http.StatusOK, `"degraded"`)
	w.healthIs(t, http.StatusOK, messages.WorkersBucket)
	var r messages.StatusReply
	if err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpStatus), &messages.Versioned{}, &r); err != nil || !strings.HasPrefix(r.Health, "degraded: the store") {
		t.Errorf("%+v, %v", r, err)
	}
	f.beat(t, messages.StatusReady)
	w.until(t, "it is ready again", func() bool { v, _ := w.q.registry.Worker("w1"); return v.Status == messages.StatusReady })
	if status, body := w.chat(deadline(t)); status != http.StatusOK {
		t.Errorf("it does not serve meanwhile: %d %s", status, body)
	}
	if err := js.DeleteStream(deadline(t), stream); err != nil {
		t.Fatal(err)
	}
	w.healthIs(t, http.StatusOK, `"ok"`)
	kv, err := js.KeyValue(deadline(t), messages.WorkersBucket)
	if err != nil {
		t.Fatal(err)
	}
	for ctx := deadline(t); ; {
		_, err := kv.Get(ctx, "w1")
		if err == nil {
			break
		}
		if err != jetstream.ErrKeyNotFound { //nolint:errorlint // as the library gives it
			t.Fatalf("the bucket was not filled again: %v", err)
		}
	}
	w.s.Stop()
	w.healthIs(t, http.StatusServiceUnavailable, `"unavailable"`)
	w.s.Restart(t)
	w.healthIs(t, http.StatusOK, `"ok"`)
}

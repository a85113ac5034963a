package queen

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// job runs a spawn or an ensure as a client does and hands its outcome to the channel.
func (w *world) job(t *testing.T, op string, req messages.SpawnRequest) <-chan error {
	t.Helper()
	out := make(chan error, 1)
	ctx := deadline(t)
	go func() {
		var info messages.WorkerInfo
		err := w.client.RunJob(ctx, messages.DoSubject(w.client.Caller, op), req.Job, &req, &info, bus.Watcher{})
		if err == nil && (info.Status != messages.StatusReady || info.ModelID != "m") {
			t.Errorf("result %+v", info)
		}
		out <- err
	}()
	return out
}

// comesUp is what a spawned process does.
func comesUp(t *testing.T, w *world, id messages.WorkerID) *fakeWorker {
	t.Helper()
	f := newWorker(t, w.s, id, 4242)
	models := f.info.Models
	f.info.Models, f.info.Progress = nil, 0.5
	f.beat(t, messages.StatusStarting)
	f.info.Models, f.info.Progress = models, 0
	f.beat(t, messages.StatusReady)
	return f
}

func TestSpawn(t *testing.T) {
	w := begin(t)
	h := w.hive(t)
	out := w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "m"})
	r := recv(t, "a spawn", h.spawned)
	h.exited(t, "w1", 99, "an earlier life") // of another process: it says nothing of this one
	sign := func(c *bus.Conn, op string, id messages.WorkerID) error {
		_, key, err := bus.NewUserKey()
		if err != nil {
			t.Fatal(err)
		}
		var reply messages.SignReply
		return c.Request(deadline(t), messages.DoSubject(c.Caller, op), &messages.SignRequest{Worker: id, PublicKey: key}, &reply)
	}
	if err := sign(h.c, messages.OpSign, r.ID); err != nil {
		t.Errorf("the hive that was told: %v", err)
	}
	wantCode(t, sign(h.c, messages.OpSign, "w2"), messages.CodeDenied)
	wantCode(t, sign(w.s.Connect(t, bus.RoleHive, "h2"), messages.OpSign, r.ID), messages.CodeDenied)
	wantCode(t, sign(w.s.Connect(t, bus.RoleClient, "h1"), messages.OpSign, r.ID), messages.CodeDenied)
	bad := h.c.Request(deadline(t), messages.DoSubject(h.c.Caller, messages.OpSign), &messages.SignRequest{Worker: "w1", PublicKey: "X"}, nil)
	wantCode(t, bad, messages.CodeBadRequest)
	f := comesUp(t, w, r.ID)
	if err := recv(t, "the job's end", out); err != nil {
		t.Fatal(err)
	}
	wantCode(t, sign(h.c, messages.OpSign, r.ID), messages.CodeDenied) // it runs: nothing is left to sign
	if err := sign(f.c, messages.OpRenew, "w1"); err != nil {
		t.Errorf("renew: %v", err)
	}
	wantCode(t, sign(f.c, messages.OpRenew, "w2"), messages.CodeDenied)
	wantCode(t, sign(w.client, messages.OpRenew, "alice"), messages.CodeDenied)
	wantCode(t, recv(t, "a second w1", w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j2", ID: "w1", Model: "m"})), messages.CodeConflict)

	var past messages.JobEventsReply
	if err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpJobEvents), &messages.JobRef{Job: "j1"}, &past); err != nil {
		t.Fatal(err)
	}
	if n := len(past.Events); n < 3 || past.Events[n-1].State != messages.JobSucceeded || past.Events[0].Seq != 1 {
		t.Errorf("history %+v", past.Events)
	}
	if err := w.do(t, messages.OpStop, &messages.StopRequest{ID: "w1", GraceMillis: 1 << 62}, nil); err != nil {
		t.Error(err)
	}
	if k := recv(t, "a kill", h.killed); k.PID != 4242 || k.StartTime != 7 || k.GraceMillis != 600_000 {
		t.Errorf("killed %+v", k)
	}
}

func TestSpawnFails(t *testing.T) {
	w := begin(t)
	h := w.hive(t)
	out := w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "m"})
	recv(t, "a spawn", h.spawned)
	h.exited(t, "w1", 4242, "one\nggml: no such device\n")
	err := recv(t, "the job's end", out)
	wantCode(t, err, messages.CodeSpawnFailed)
	if err == nil || !strings.Contains(err.Error(), "ggml: no such device") {
		t.Errorf("got %v", err)
	}
	recv(t, "a kill of what may be left", h.killed)
	wantCode(t, recv(t, "no such hive", w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j2", Model: "m", Hive: "h9"})), messages.CodeNotFound)
}

func TestCancelledSpawnKills(t *testing.T) {
	w := begin(t)
	h := w.hive(t)
	out := w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "m"})
	recv(t, "a spawn", h.spawned)
	var done messages.Done
	if err := w.do(t, messages.OpJobCancel, &messages.JobRef{Job: "j1"}, &done); err != nil || !done.OK {
		t.Fatalf("%+v, %v", done, err)
	}
	wantCode(t, recv(t, "the job's end", out), messages.CodeCancelled)
	if k := recv(t, "a kill", h.killed); k.PID != 4242 || k.Worker != "w1" {
		t.Errorf("killed %+v", k)
	}
}

// TestEnsureSharesOneSpawn: many requests for a model that nobody serves start one worker.
func TestEnsureSharesOneSpawn(t *testing.T) {
	w := begin(t)
	h := w.hive(t)
	ctx := deadline(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if status, body := w.chat(ctx); status != 200 || !strings.HasSuffix(body, "[DONE]\n\n") {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	comesUp(t, w, recv(t, "a spawn", h.spawned).ID)
	wg.Wait()
	if len(h.spawned) > 0 {
		t.Errorf("%d more spawns", len(h.spawned))
	}
}

func TestEnsureWaitsForWhatStarts(t *testing.T) {
	for name, start := range map[string]func(w *world, h *fakeHive) messages.WorkerID{
		"spawn under way": func(w *world, h *fakeHive) messages.WorkerID {
			w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "m"})
			return recv(t, "a spawn", h.spawned).ID
		},
		"spawned under a path": func(w *world, h *fakeHive) messages.WorkerID {
			w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "/models/m.gguf"})
			id := recv(t, "a spawn", h.spawned).ID
			f := newWorker(t, w.s, id, 1)
			f.info.PID, f.info.Models = 4242, nil
			f.beat(t, messages.StatusStarting)
			w.until(t, "it starts", func() bool { _, ok := w.q.registry.Worker(id); return ok })
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t)
			h := w.hive(t)
			id := start(w, h)
			ctx, cancel := context.WithCancel(deadline(t))
			defer cancel()
			out := w.job(t, messages.OpEnsure, messages.SpawnRequest{Job: "j2", Model: "m"})
			status := make(chan int, 1)
			go func() { s, _ := w.chat(ctx); status <- s }()
			comesUp(t, w, id)
			if err := recv(t, "ensure's end", out); err != nil {
				t.Error(err)
			}
			if s := recv(t, "an answer", status); s != 200 {
				t.Errorf("status %d", s)
			}
			if len(h.spawned) > 0 {
				t.Errorf("a second spawn: %+v", <-h.spawned)
			}
		})
	}
}

// TestEnsureOutlivesWhoAskedFirst: whoever waits for the same model goes on when the first gives up.
func TestEnsureOutlivesWhoAskedFirst(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hive(t)
	first := w.job(t, messages.OpEnsure, messages.SpawnRequest{Job: "j1", Model: "m"})
	recv(t, "a spawn", h.spawned)
	second := w.job(t, messages.OpEnsure, messages.SpawnRequest{Job: "j2", Model: "m"})
	if err := w.do(t, messages.OpJobCancel, &messages.JobRef{Job: "j1"}, nil); err != nil {
		t.Fatal(err)
	}
	wantCode(t, recv(t, "the first's end", first), messages.CodeCancelled)
	comesUp(t, w, recv(t, "another spawn", h.spawned).ID)
	if err := recv(t, "the second's end", second); err != nil {
		t.Error(err)
	}
}

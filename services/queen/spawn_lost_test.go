package queen

import (
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// TestHiveDiesWhileAsked: the spawn's answer will never come, and nobody waits for it.
func TestHiveDiesWhileAsked(t *testing.T) {
	for name, die := range map[string]func(*testing.T, *fakeHive){
		"and stays away": func(_ *testing.T, h *fakeHive) { h.c.Close() },
		"and is back":    func(t *testing.T, h *fakeHive) { h.beat(t, "second") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := begin(t)
			h := w.hiveWith(t, &fakeHive{hang: make(chan struct{})})
			out := w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "m"})
			recv(t, "a spawn", h.spawned)
			began := time.Now()
			die(t, h)
			err := recv(t, "the job's end", out)
			wantCode(t, err, messages.CodeUnavailable)
			if took := time.Since(began); took > 9*time.Second || err == nil || !strings.Contains(err.Error(), "hive h1 is gone") {
				t.Errorf("after %v: %v", took, err)
			}
			if _, pending := w.q.spawns.jobOf("w1"); pending {
				t.Error("it still spawns")
			}
		})
	}
}

// TestWorkerLostWhileItLoads: its hive may tell why, for some seconds; then the spawn fails.
func TestWorkerLostWhileItLoads(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *world, *fakeHive, *fakeWorker){
		"its process is gone": func(t *testing.T, _ *world, h *fakeHive, _ *fakeWorker) { h.beat(t, "second") },
		"it says goodbye":     func(t *testing.T, _ *world, _ *fakeHive, f *fakeWorker) { f.beat(t, messages.StatusStopped) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := begin(t)
			h := w.hiveWith(t, &fakeHive{gone: map[messages.WorkerID]bool{"w1": true}})
			out := w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "m"})
			recv(t, "a spawn", h.spawned)
			f := newWorker(t, w.s, "w1", 4242)
			f.beat(t, messages.StatusStarting)
			w.jobIs(t, "j1", messages.JobStep)
			w.until(t, "it loads", func() bool { _, ok := w.q.registry.Worker("w1"); return ok })
			began := time.Now()
			lose(t, w, h, f)
			err := recv(t, "the job's end", out)
			wantCode(t, err, messages.CodeSpawnFailed)
			if took := time.Since(began); took > 12*time.Second || err == nil || !strings.Contains(err.Error(), "lost while it loaded") {
				t.Errorf("after %v: %v", took, err)
			}
			if k := recv(t, "a kill of what may be left", h.killed); k.PID != 4242 || k.StartTime != 7 {
				t.Errorf("%+v", k)
			}
		})
	}
}

// TestExitReportComesLate: it still says why.
func TestExitReportComesLate(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hiveWith(t, &fakeHive{gone: map[messages.WorkerID]bool{"w1": true}})
	news := w.news(t)
	out := w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "m"})
	recv(t, "a spawn", h.spawned)
	newWorker(t, w.s, "w1", 4242).beat(t, messages.StatusStarting)
	next(t, news, "worker.starting")
	h.beat(t, "second")
	next(t, news, "worker.lost")
	h.exited(t, "w1", 4242, "ggml: out of memory")
	err := recv(t, "the job's end", out)
	wantCode(t, err, messages.CodeSpawnFailed)
	if err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("got %v", err)
	}
}

// TestWorkerIsBackWhileItLoads: who was only suspect, or lost and then heard again, becomes ready.
func TestWorkerIsBackWhileItLoads(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hive(t)
	out := w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "m"})
	recv(t, "a spawn", h.spawned)
	f := newWorker(t, w.s, "w1", 4242)
	f.beat(t, messages.StatusStarting)
	w.until(t, "it loads", func() bool { _, ok := w.q.registry.Worker("w1"); return ok })
	w.q.suspect(&f.info, "a stall")
	w.until(t, "it is suspect, and answers", func() bool { v, ok := w.q.registry.Worker("w1"); return ok && v.Suspect == "" })
	f.beat(t, messages.StatusReady)
	if err := recv(t, "the job's end", out); err != nil {
		t.Error(err)
	}
}

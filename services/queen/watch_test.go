package queen

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

// watches is who h was asked to watch, n of them.
func (h *fakeHive) watches(t *testing.T, n int) []messages.WorkerID {
	t.Helper()
	var out []messages.WorkerID
	for range n {
		out = append(out, recv(t, "a watch", h.watched).Worker)
	}
	slices.Sort(out)
	return out
}

func TestFirstBeatIsWatched(t *testing.T) {
	w := begin(t)
	h := w.hive(t)
	f := w.ready(t, "w1")
	want := messages.WatchRequest{Versioned: messages.Versioned{V: messages.Major}, Worker: "w1", Incarnation: f.info.Incarnation, PID: 100, StartTime: 7}
	if r := recv(t, "a watch", h.watched); r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	f.beat(t, messages.StatusReady)
	f.beat(t, messages.StatusDraining)
	w.until(t, "it drains", func() bool { v, _ := w.q.registry.Worker("w1"); return v.Status == messages.StatusDraining })
	w.idle(t)
	if len(h.watched) > 0 {
		t.Errorf("watched again: %+v", <-h.watched)
	}
}

// TestHiveRestarts: a new life of a hive knows of no process, so it is asked to watch each of its workers,
// and what it does not find is lost.
func TestHiveRestarts(t *testing.T) {
	w := begin(t)
	h := w.hiveWith(t, &fakeHive{gone: map[messages.WorkerID]bool{}})
	w.ready(t, "w1")
	w.ready(t, "w2")
	other := newWorker(t, w.s, "w3", 100)
	other.info.Hive = "h2"
	other.beat(t, messages.StatusReady)
	w.until(t, "h2's worker is known", func() bool { _, ok := w.q.registry.Worker("w3"); return ok })
	h.watches(t, 2)
	w.idle(t)
	news := w.news(t)
	h.gone["w2"] = true
	h.beat(t, "first")
	h.beat(t, "second")
	if e := next(t, news, registry.HiveUp); e.Hive != "h1" || !strings.Contains(e.Cause, "restarted") {
		t.Errorf("%+v", e)
	}
	if got := h.watches(t, 2); !slices.Equal(got, []messages.WorkerID{"w1", "w2"}) {
		t.Errorf("watched %v", got)
	}
	if e := next(t, news, registry.WorkerLost); e.Worker != "w2" || !strings.Contains(e.Cause, "gone") {
		t.Errorf("%+v", e)
	}
	w.idle(t)
	if len(h.watched) > 0 {
		t.Errorf("one watch too many: %+v", <-h.watched)
	}
	var left []messages.WorkerID
	for _, v := range w.q.registry.Workers() {
		left = append(left, v.ID)
	}
	if !slices.Equal(left, []messages.WorkerID{"w1", "w3"}) {
		t.Errorf("left %v", left)
	}
	if _, body := get(t, w.http+"/metrics"); !strings.Contains(body, `rbee_worker_losses_total{cause="gone"} 1`) {
		t.Errorf("metrics: %.3000s", body)
	}
}

// TestFirstBeatIsOfAStranger: a worker that outlived its hive and its queen, and died unseen.
func TestFirstBeatIsOfAStranger(t *testing.T) {
	w := begin(t)
	w.hiveWith(t, &fakeHive{gone: map[messages.WorkerID]bool{"w1": true}})
	news := w.news(t)
	newWorker(t, w.s, "w1", 100).beat(t, messages.StatusReady)
	if e := next(t, news, registry.WorkerLost); e.Worker != "w1" || !strings.Contains(e.Cause, "gone") {
		t.Errorf("%+v", e)
	}
}

// TestSpawnIsNotWatched: the hive that spawns a worker watches it anyhow; another life of it does not.
func TestSpawnIsNotWatched(t *testing.T) {
	w := begin(t)
	h := w.hive(t)
	out := w.job(t, messages.OpSpawn, messages.SpawnRequest{Job: "j1", ID: "w1", Model: "m"})
	recv(t, "a spawn", h.spawned)
	f := newWorker(t, w.s, "w1", 4242)
	f.beat(t, messages.StatusStarting)
	w.until(t, "it starts", func() bool { _, ok := w.q.registry.Worker("w1"); return ok })
	w.idle(t)
	if len(h.watched) > 0 {
		t.Errorf("watched while it is spawned: %+v", <-h.watched)
	}
	h.beat(t, "second")
	if got := h.watches(t, 1); got[0] != "w1" {
		t.Errorf("watched %v", got)
	}
	f.beat(t, messages.StatusReady)
	if err := recv(t, "the job's end", out); err != nil {
		t.Error(err)
	}
}

// TestHiveConnectionEnds: suspect at once, up when it beats again, lost after some seconds when it does not.
func TestHiveConnectionEnds(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hive(t)
	w.ready(t, "w1")
	h.watches(t, 1)
	news := w.news(t)
	second := w.s.ConnectLoose(t, "hive", "h1")
	began := time.Now()
	second.Close()
	if e := next(t, news, registry.HiveSuspect, registry.HiveLost); e.Kind != registry.HiveSuspect || e.Hive != "h1" || time.Since(began) > soonIs {
		t.Errorf("after %v: %+v", time.Since(began), e)
	}
	h.beat(t, "first")
	if e := next(t, news, registry.HiveUp, registry.HiveLost); e.Kind != registry.HiveUp || e.Cause != "it beats again" {
		t.Errorf("%+v", e)
	}
	if got := h.watches(t, 1); got[0] != "w1" { // it may have missed an end meanwhile
		t.Errorf("watched %v", got)
	}
	began = time.Now()
	h.c.Close()
	next(t, news, registry.HiveSuspect)
	e := next(t, news, registry.HiveLost, registry.HiveUp)
	if took := time.Since(began); e.Kind != registry.HiveLost || took < 4*time.Second || took > 9*time.Second {
		t.Errorf("after %v: %+v", took, e)
	}
	if _, ok := w.q.registry.Worker("w1"); !ok {
		t.Error("its worker went with it")
	}
}

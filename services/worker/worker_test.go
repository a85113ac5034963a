package worker_test

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

func TestLifeInBeats(t *testing.T) {
	e := &slow{at: make(chan float64)}
	r := start(t, worker.Config{Hive: "h1"}, e, nil)
	var last messages.Heartbeat
	next := func(want messages.Status, progress float64) {
		t.Helper()
		last = r.beat(t, patience, func(h messages.Heartbeat) bool {
			if h.Seq <= last.Seq || (last.Seq > 0 && h.Worker.Incarnation != last.Worker.Incarnation) {
				t.Errorf("beat %d of %s after %d of %s", h.Seq, h.Worker.Incarnation, last.Seq, last.Worker.Incarnation)
			}
			last.Seq, last.Worker.Incarnation = h.Seq, h.Worker.Incarnation
			return h.Worker.Status == want && h.Worker.Progress == progress
		})
	}
	next(messages.StatusStarting, 0)
	if last.Seq != 1 || last.Worker.Hive != "h1" || last.Worker.ModelID != "fake" {
		t.Errorf("the first beat is %+v", last)
	}
	for _, f := range []float64{0.25, 0.5, 1} {
		give(t, e.at, f)
		next(messages.StatusStarting, f)
	}
	wantCode(t, "health while it loads", r.Health(), messages.CodeUnavailable)
	wantCode(t, "request while it loads", read(t, r.ask(t, chat("early", false, 1))).err, messages.CodeUnavailable)
	close(e.at)
	next(messages.StatusReady, 0)
	if err := r.Health(); err != nil || last.Worker.SlotsTotal != 2 || last.Worker.ContextLength != 4096 || len(last.Worker.Models) != 1 {
		t.Errorf("ready: health %v, %+v", err, last.Worker)
	}
	r.cancel()
	next(messages.StatusStopped, 0)
	if err := r.ended(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	flush(t, r.queen)
	if len(r.heard) != 0 {
		t.Errorf("%d beats after the goodbye", len(r.heard))
	}
}

func TestHeartbeatIsAskedFor(t *testing.T) {
	r := ready(t, worker.Config{}, &enginetest.Fake{})
	for range 4 {
		resp, err := http.Post(r.url+"/heartbeat", "", nil)
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
		r.beat(t, soon, func(messages.Heartbeat) bool { return true })
	}
}

func TestStopWhileLoadingEndsAtOnce(t *testing.T) {
	for name, stop := range map[string]func(*testing.T, *rig){
		"context": func(_ *testing.T, r *rig) { r.cancel() },
		"on the bus": func(t *testing.T, r *rig) {
			if err := r.queen.PublishRaw(r.subject(messages.OpWorkerStop), "", nil); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := &slow{at: make(chan float64)}
			r := start(t, worker.Config{}, e, nil)
			give(t, e.at, 0.5)
			r.beat(t, patience, func(h messages.Heartbeat) bool { return h.Worker.Progress == 0.5 })
			stop(t, r)
			began := time.Now()
			if err := r.ended(t); err != nil || time.Since(began) > soon {
				t.Errorf("Run gave %v after %v", err, time.Since(began))
			}
			r.beat(t, patience, func(h messages.Heartbeat) bool { return h.Worker.Status == messages.StatusStopped })
		})
	}
}

func TestLoadFails(t *testing.T) {
	bad := errors.New("no such model")
	r := start(t, worker.Config{}, &enginetest.Fake{LoadErr: bad}, nil)
	if err := r.ended(t); !errors.Is(err, bad) {
		t.Errorf("Run gave %v, want %v", err, bad)
	}
	r.beat(t, patience, func(h messages.Heartbeat) bool { return h.Worker.Status == messages.StatusStopped })
}

func TestNewRefusesBadID(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, bad := range []messages.WorkerID{"", "w.1", "w >"} {
		_, err := worker.New(worker.Config{ID: bad}, &enginetest.Fake{}, ln, nil, nil, slog.New(slog.DiscardHandler))
		wantCode(t, string(bad), err, messages.CodeBadRequest)
	}
}

func TestDrainFinishesWhatRuns(t *testing.T) {
	gate := make(chan struct{})
	r := ready(t, worker.Config{}, &enginetest.Fake{Gate: gate})
	onBus := r.ask(t, chat("bus", true, 2))
	give(t, gate, struct{}{})
	if _, err := onBus.Next(deadline(t)); err != nil {
		t.Fatal(err)
	}
	r.cancel()
	r.beat(t, patience, func(h messages.Heartbeat) bool { return h.Worker.Status == messages.StatusDraining })
	wantCode(t, "health", r.Health(), messages.CodeUnavailable)
	wantCode(t, "new on the bus", read(t, r.ask(t, chat("late", true, 1))).err, messages.CodeUnavailable)
	wantCode(t, "new over HTTP", readHTTP(t, r.post(t, deadline(t), chat("late", true, 1))).err, messages.CodeUnavailable)
	give(t, gate, struct{}{})
	if a := read(t, onBus); a.err != nil || a.usage.CompletionTokens != 2 {
		t.Errorf("the running answer: %+v", a)
	}
	if err := r.ended(t); err != nil {
		t.Error(err)
	}
}

func TestDrainTimeoutCutsOff(t *testing.T) {
	gate := make(chan struct{})
	r := ready(t, worker.Config{DrainTimeout: time.Millisecond}, &enginetest.Fake{Gate: gate})
	onBus := r.ask(t, chat("bus", true, 1000))
	give(t, gate, struct{}{})
	if _, err := onBus.Next(deadline(t)); err != nil {
		t.Fatal(err)
	}
	overHTTP := make(chan answer, 1)
	go func() { overHTTP <- readHTTP(t, r.post(t, t.Context(), chat("http", true, 1000))) }()
	await(t, "both run", func() bool { return r.Info().SlotsUsed == 2 })
	r.Stop()
	wantCode(t, "over HTTP", take(t, overHTTP).err, messages.CodeUnavailable)
	wantCode(t, "on the bus", read(t, onBus).err, messages.CodeUnavailable)
	if err := r.ended(t); err != nil {
		t.Error(err)
	}
}

func TestStopAndDrainOnTheBus(t *testing.T) {
	r := ready(t, worker.Config{}, &enginetest.Fake{})
	send := func(op string) {
		t.Helper()
		if err := r.queen.PublishRaw(r.subject(op), "", []byte("\xc1 not a message")); err != nil {
			t.Fatal(err)
		}
	}
	send(messages.OpDrain)
	r.beat(t, patience, func(h messages.Heartbeat) bool { return h.Worker.Status == messages.StatusDraining })
	wantCode(t, "while it drains", read(t, r.ask(t, chat("a", true, 1))).err, messages.CodeUnavailable)
	send(messages.OpWorkerStop)
	if err := r.ended(t); err != nil {
		t.Error(err)
	}
}

func TestOrphanEnds(t *testing.T) {
	r := ready(t, worker.Config{OrphanAfter: 200 * time.Millisecond}, &enginetest.Fake{})
	r.srv.Stop()
	if err := r.ended(t); err != nil {
		t.Error(err)
	}
}

func TestBeatsAtOnceAfterReconnect(t *testing.T) {
	srv := bustest.Start(t)
	r := &rig{srv: srv, queen: srv.Connect(t, bus.RoleQueen, "q")}
	r.hear(t)
	beats := srv.Connect(t, bus.RoleWorker, string(id))
	r.run(t, worker.Config{}, &enginetest.Fake{}, beats, srv.Connect(t, bus.RoleWorker, string(id)), nil)
	isReady := func(h messages.Heartbeat) bool { return h.Worker.Status == messages.StatusReady }
	r.beat(t, patience, isReady)
	for range 3 { // with one, the beat of every 5 s might be it
		if err := beats.Reconnect(); err != nil {
			t.Fatal(err)
		}
		r.beat(t, soon, isReady)
	}
}

func TestServesAfterServerRestart(t *testing.T) {
	r := ready(t, worker.Config{}, &enginetest.Fake{})
	before := r.Info().Incarnation
	r.srv.Restart(t)
	await(t, "the queen's connection", r.queen.Connected)
	await(t, "an answer on the bus", func() bool {
		a := read(t, r.ask(t, chat("again", false, 2)))
		return a.err == nil && a.usage.CompletionTokens == 2
	})
	seq := uint64(0)
	for len(r.heard) > 0 {
		seq = (<-r.heard).Seq
	}
	r.beat(t, patience, func(h messages.Heartbeat) bool { return h.Seq > seq && h.Worker.Incarnation == before })
}

func TestStartsBeforeTheServer(t *testing.T) {
	srv := bustest.Start(t)
	srv.Stop()
	var conns []*bus.Conn
	for range 2 {
		c, err := bus.Connect(deadline(t), bus.Config{URL: srv.URL, Credentials: srv.Credentials(t, bus.RoleWorker, string(id)), Wait: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		conns = append(conns, c)
	}
	r := &rig{srv: srv}
	r.run(t, worker.Config{}, &enginetest.Fake{}, conns[0], conns[1], nil)
	began := time.Now()
	await(t, "ready over HTTP", func() bool { return r.Health() == nil })
	if took := time.Since(began); took > soon {
		t.Errorf("ready after %v: the load waits for the bus", took)
	}
	srv.Restart(t)
	r.queen = srv.ConnectLoose(t, bus.RoleQueen, "q")
	r.hear(t)
	r.beat(t, patience, func(h messages.Heartbeat) bool { return h.Worker.Status == messages.StatusReady })
	await(t, "an answer on the bus", func() bool { return read(t, r.ask(t, chat("a", true, 2))).err == nil })
}

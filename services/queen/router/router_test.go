package router

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/metrics"
)

type cluster struct {
	*Router
	d       *Dispatcher
	s       *bustest.Server
	suspect atomic.Int32
	cut     atomic.Int32 // routes that were said not to answer
	opened  atomic.Int32 // breakers
	offline atomic.Bool
	mu      sync.Mutex
	told    []string // what the registry was told, as in "suspect a", "direct of a"
}

// assemble is a cluster without a server.
func assemble(how string, bus, direct Transport) *cluster {
	c := &cluster{}
	c.d = NewDispatcher(how, func() bool { return !c.offline.Load() }, func() { c.opened.Add(1) })
	c.Router = New(Config{Dispatcher: c.d, Bus: bus, Direct: direct,
		Suspect: func(w *messages.WorkerInfo, _ string) {
			c.suspect.Add(1)
			c.note("suspect " + string(w.ID))
		},
		Unreachable: func(w *messages.WorkerInfo, route, _ string) {
			c.cut.Add(1)
			c.note(route + " of " + string(w.ID))
		},
		Metrics: metrics.New(func() map[string]float64 { return nil }), Log: slog.New(slog.DiscardHandler)})
	return c
}

func start(t *testing.T, how string) *cluster {
	t.Helper()
	return startOn(t, bustest.Start(t), how)
}

// startOn is start for tests that share a server: two of one time have different workers.
func startOn(t *testing.T, s *bustest.Server, how string) *cluster {
	t.Helper()
	direct := NewDirect()
	t.Cleanup(direct.Close)
	c := assemble(how, Bus{s.Connect(t, bus.RoleQueen, "q")}, direct)
	c.s = s
	return c
}

func (c *cluster) bus(t *testing.T, id string, do script) messages.WorkerInfo {
	w := busWorker(t, c.s, id, do)
	c.d.Changed(beats(w))
	return w
}

func (c *cluster) http(t *testing.T, id string, do script) messages.WorkerInfo {
	w := httpWorker(t, id, do)
	c.d.Changed(beats(w))
	return w
}

func readAnswer(ctx context.Context, a *Answer) (n int, err error) {
	defer a.Close()
	for ; ; n++ {
		if _, err = a.Next(ctx); err != nil {
			return n, err
		}
	}
}

func counted(n *atomic.Int32, do script) script {
	return func(ctx context.Context, req *messages.InferRequest, say func(string)) error {
		n.Add(1)
		return do(ctx, req, say)
	}
}

func fails(err error) script {
	return func(context.Context, *messages.InferRequest, func(string)) error { return err }
}

var errGone = messages.Errorf(messages.CodeUnavailable, "infer", "loading")

func TestAnotherAnswersInvisibly(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t)
	for name, first := range map[string]func(*cluster, *testing.T) messages.WorkerInfo{
		"dies, bus":    func(c *cluster, t *testing.T) messages.WorkerInfo { return c.bus(t, "a", fails(errDie)) },
		"dies, direct": func(c *cluster, t *testing.T) messages.WorkerInfo { return c.http(t, "a", fails(errDie)) },
		"never there": func(c *cluster, t *testing.T) messages.WorkerInfo {
			w := worker("a")
			w.Host, w.Port = "127.0.0.1", 1
			c.d.Changed(beats(w))
			return w
		},
		"unavailable": func(c *cluster, t *testing.T) messages.WorkerInfo { return c.bus(t, "a", fails(errGone)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := startOn(t, s, RouteAuto)
			first(c, t)
			c.bus(t, "b", say(5))
			a, err := c.Infer(deadline(t), request(true))
			if err != nil {
				t.Fatal(err)
			}
			n, err := readAnswer(deadline(t), a)
			if n != 5 || !errors.Is(err, io.EOF) || a.Worker.ID != "b" || a.Usage() != usage {
				t.Errorf("%d objects of %s, %v", n, a.Worker.ID, err)
			}
			if c.Retries.Load() != 1 {
				t.Errorf("retries %d", c.Retries.Load())
			}
			if running, waiting, _ := c.d.Counts(); running+waiting != 0 {
				t.Errorf("running %d, waiting %d", running, waiting)
			}
		})
	}
}

// TestSuspicion: a route that breaks or that nobody listens on is said to, and the worker is not suspect for it.
func TestSuspicion(t *testing.T) {
	c := start(t, RouteAuto)
	c.http(t, "a", func(_ context.Context, _ *messages.InferRequest, say func(string)) error { say("{"); return errDie })
	_, err := c.Infer(deadline(t), request(false))
	if err == nil || errors.Is(err, io.EOF) || c.suspect.Load() != 0 || c.cut.Load() == 0 {
		t.Errorf("direct: %v, %d suspects, %d routes", err, c.suspect.Load(), c.cut.Load())
	}
	c = start(t, RouteAuto)
	c.d.Changed(beats(worker("a")))
	_, err = c.Infer(deadline(t), request(true))
	wantCode(t, err, messages.CodeUnavailable)
	if c.suspect.Load() != 0 || c.cut.Load() != 1 || c.Retries.Load() != 0 {
		t.Errorf("bus: %d suspects, %d routes, %d retries", c.suspect.Load(), c.cut.Load(), c.Retries.Load())
	}
}

func TestRefusedDirectGoesByBus(t *testing.T) {
	c := start(t, RouteAuto)
	w := busWorker(t, c.s, "a", say(2))
	w.Host, w.Port = "127.0.0.1", 1
	c.d.Changed(beats(w))
	a, err := c.Infer(deadline(t), request(true))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := readAnswer(deadline(t), a); n != 2 || !errors.Is(err, io.EOF) || a.Route != RouteBus || c.Retries.Load() != 0 {
		t.Errorf("%d, %v, route %s, retries %d", n, err, a.Route, c.Retries.Load())
	}
}

func TestBusyIsNoTry(t *testing.T) {
	t.Parallel()
	c := start(t, RouteBus)
	var asked atomic.Int32
	c.bus(t, "a", func(ctx context.Context, req *messages.InferRequest, s func(string)) error {
		if asked.Add(1) <= 5 {
			return messages.Errorf(messages.CodeBusy, "infer", "full")
		}
		return say(1)(ctx, req, s)
	})
	a, err := c.Infer(deadline(t), request(true))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := readAnswer(deadline(t), a); n != 1 || !errors.Is(err, io.EOF) || c.Retries.Load() != 0 || asked.Load() != 6 {
		t.Errorf("%d, %v, retries %d, asked %d", n, err, c.Retries.Load(), asked.Load())
	}
}

func TestBusyUntilTheDeadline(t *testing.T) {
	c := start(t, RouteBus)
	c.bus(t, "a", fails(messages.Errorf(messages.CodeBusy, "infer", "full")))
	req := request(true)
	req.DeadlineMillis = 300
	_, err := c.Infer(deadline(t), req)
	wantCode(t, err, messages.CodeBusy)
}

func TestAtMostThreeTries(t *testing.T) {
	c := start(t, RouteBus)
	var asked atomic.Int32
	for _, id := range []string{"a", "b", "c", "d"} {
		c.bus(t, id, counted(&asked, fails(errGone)))
	}
	_, err := c.Infer(deadline(t), request(true))
	wantCode(t, err, messages.CodeUnavailable)
	if asked.Load() != 3 {
		t.Errorf("asked %d", asked.Load())
	}
}

func TestWhatCannotSucceedIsNotRetried(t *testing.T) {
	c := start(t, RouteAuto)
	var asked atomic.Int32
	refuse := counted(&asked, fails(messages.Errorf(messages.CodeContextFull, "infer", "too long")))
	c.http(t, "a", refuse)
	c.bus(t, "b", refuse)
	_, err := c.Infer(deadline(t), request(true))
	wantCode(t, err, messages.CodeContextFull)
	if asked.Load() != 1 {
		t.Errorf("asked %d", asked.Load())
	}
}

func TestDeathAfterTheFirstTokenIsAnError(t *testing.T) {
	t.Parallel()
	srv := bustest.Start(t)
	for name, add := range map[string]func(*cluster, *testing.T, string, script) messages.WorkerInfo{"bus": (*cluster).bus, "direct": (*cluster).http} {
		t.Run(name, func(t *testing.T) {
			c := startOn(t, srv, RouteAuto)
			read := make(chan struct{})
			dies := func(_ context.Context, _ *messages.InferRequest, s func(string)) error {
				s("{}")
				<-read
				return errDie
			}
			w := add(c, t, "a", dies)
			a, err := c.Infer(deadline(t), request(true))
			if err != nil {
				t.Fatal(err)
			}
			close(read)
			if n, err := readAnswer(deadline(t), a); n != 1 || errors.Is(err, io.EOF) || c.fails(w) != 1 {
				t.Errorf("%d objects, %v; the breaker counts %d", n, err, c.fails(w))
			}
			c.wantTold(t, name+" of a")
		})
		t.Run(name+", by the registry's word", func(t *testing.T) {
			c := startOn(t, srv, RouteAuto)
			told := make(chan struct{}, 1)
			w := add(c, t, "a", untilCancelled(false, told))
			a, err := c.Infer(deadline(t), request(true))
			if err != nil {
				t.Fatal(err)
			}
			c.d.Changed(lost(w))
			n, err := readAnswer(deadline(t), a)
			if wantCode(t, err, messages.CodeUnavailable); n != 1 {
				t.Errorf("%d objects", n)
			}
			<-told
		})
	}
}

// TestLateFramesTouchNothing: the first worker goes on talking after it was given up.
func TestLateFramesTouchNothing(t *testing.T) {
	c := start(t, RouteBus)
	began, late := make(chan struct{}, 1), make(chan struct{})
	w := c.bus(t, "a", func(_ context.Context, _ *messages.InferRequest, say func(string)) error {
		began <- struct{}{}
		<-late
		for range 50 {
			say(`{"of":"a"}`)
		}
		return nil
	})
	go func() { <-began; c.d.Changed(lost(w)) }()
	c.d.Changed(beats(with(worker("b"), messages.StatusStarting, 0)))
	b := busWorker(t, c.s, "b", func(_ context.Context, _ *messages.InferRequest, say func(string)) error {
		close(late)
		for range 50 {
			say(`{"of":"b"}`)
		}
		return nil
	})
	c.d.Changed(beats(with(b, messages.StatusReady, 1))) // more loaded: a is first
	a, err := c.Infer(deadline(t), request(true))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for n := 0; ; n++ {
		o, err := a.Next(deadline(t))
		if errors.Is(err, io.EOF) && n == 50 {
			return
		}
		if err != nil || string(o) != `{"of":"b"}` {
			t.Fatalf("object %d: %s, %v", n, o, err)
		}
	}
}

func TestUnknownModel(t *testing.T) {
	c := start(t, RouteAuto)
	_, err := c.Infer(deadline(t), request(true))
	wantCode(t, err, messages.CodeNoWorker)
	c.cfg.Ensure = func(context.Context, string) error {
		return messages.Errorf(messages.CodeModelUnknown, "infer", "unknown")
	}
	_, err = c.Infer(deadline(t), request(true))
	wantCode(t, err, messages.CodeModelUnknown)
	c.cfg.Ensure = func(context.Context, string) error { c.bus(t, "a", say(1)); return nil }
	a, err := c.Infer(deadline(t), request(true))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := readAnswer(deadline(t), a); n != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestCancelledRequest(t *testing.T) {
	c := start(t, RouteAuto)
	told := make(chan struct{}, 1)
	began := make(chan struct{}, 1)
	c.bus(t, "a", func(ctx context.Context, req *messages.InferRequest, s func(string)) error {
		began <- struct{}{}
		return untilCancelled(true, told)(ctx, req, s)
	})
	ctx, cancel := context.WithCancel(deadline(t))
	go func() { <-began; cancel() }()
	_, err := c.Infer(ctx, request(true))
	wantCode(t, err, messages.CodeCancelled)
	<-told
}

func TestEmptyAnswerIsComplete(t *testing.T) {
	c := start(t, RouteAuto)
	c.bus(t, "a", say(0))
	a, err := c.Infer(deadline(t), request(true))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := readAnswer(deadline(t), a); n != 0 || !errors.Is(err, io.EOF) || a.Usage() != usage {
		t.Errorf("%d, %v", n, err)
	}
}

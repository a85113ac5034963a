// Package worker is one process that serves models on one device: an engine behind the worker
// contract, over HTTP and over the bus, and the beats that tell the queen of it.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/contract"
	"github.com/rbee-project/rbee/services/worker/engine"
	"golang.org/x/sync/errgroup"
)

// Config of a worker.
type Config struct {
	ID     messages.WorkerID
	Hive   messages.HiveID // that spawned it, or ""
	Model  string          // public name, known before the model is loaded
	Device string
	// OrphanAfter is how long it lives without a bus; 0: for ever.
	OrphanAfter time.Duration
	// DrainTimeout is how long it finishes what it has when it is asked to stop; 0: 30 s.
	DrainTimeout time.Duration
}

// Worker is a worker that may not have started. Its engine's methods and its own are safe for
// concurrent use.
type Worker struct {
	cfg         Config
	engine      engine.Engine
	ln          net.Listener
	beats, bulk *bus.Conn // nil without a bus: the HTTP contract alone
	log         *slog.Logger
	incarnation string
	host        string
	port        int
	startTime   uint64

	mu       sync.Mutex
	status   messages.Status
	progress float64
	paused   bool // it takes nothing new until its credentials are renewed
	drained  bool // it takes nothing new until it is told to

	running    sync.WaitGroup
	inFlight   atomic.Int64
	seq        uint64 // of beats; the beat loop's own, then goodbye's
	wake       chan struct{}
	stop       chan struct{} // closed when somebody asked it to stop
	stopOnce   sync.Once
	renewAfter time.Duration
}

// New checks cfg and returns a Worker that has not started. ln is its HTTP port, which Run closes.
// beats and bulk are two connections of the worker's credentials: the server cuts a slow
// connection, so streams must not share the one that carries the beats. Both may be nil.
func New(cfg Config, e engine.Engine, ln net.Listener, beats, bulk *bus.Conn, log *slog.Logger) (*Worker, error) {
	if err := messages.CheckID("worker id", string(cfg.ID)); err != nil {
		return nil, err
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 30 * time.Second
	}
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("worker address: %w", err)
	}
	w := &Worker{cfg: cfg, engine: e, ln: ln, beats: beats, bulk: bulk, log: log, incarnation: messages.NewID("i-"), host: host,
		startTime: ownStartTime(), status: messages.StatusStarting, wake: make(chan struct{}, 1), stop: make(chan struct{}),
		renewAfter: bus.RenewAfter}
	w.port, _ = strconv.Atoi(port)
	return w, nil
}

// Run loads the model and serves until ctx ends or somebody asks it to stop; then it finishes what
// it has. nil after a clean stop. Every goroutine has ended when it returns.
func (w *Worker) Run(ctx context.Context) error {
	defer w.ln.Close()
	defer func() {
		if err := w.engine.Close(); err != nil {
			w.log.Warn("close the engine", "error", err)
		}
	}()
	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stopping := messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "worker %s is stopping", w.cfg.ID)
	defer end(stopping)
	g, gctx := errgroup.WithContext(work)
	g.Go(func() error { return contract.Serve(gctx, w.ln, w, w.log) })
	leave := func() {}
	if w.beats != nil {
		var err error
		if leave, err = w.listen(work); err != nil {
			end(stopping)
			_ = g.Wait()
			return err
		}
		g.Go(func() error { w.beat(work); return nil })
		g.Go(func() error { w.watchBus(work); return nil })
	}
	load := make(chan error, 1)
	loadCtx, cancelLoad := context.WithCancel(work)
	defer cancelLoad()
	go func() { load <- w.load(loadCtx); close(load) }()
	err := w.wait(ctx, gctx, load)
	cancelLoad()
	for range load { // the engine must not be closed while it loads
	}
	if err == nil {
		w.drain()
	}
	end(stopping)
	leave()
	if err2 := g.Wait(); err == nil {
		err = err2
	}
	w.running.Wait()
	w.goodbye() // after the last frame: the queen forgets the worker's requests with it
	return err
}

func (w *Worker) wait(ctx, gctx context.Context, load <-chan error) error {
	loading := load
	for {
		select {
		case err := <-loading:
			if err != nil {
				return err
			}
			loading = nil
		case <-ctx.Done():
			return nil
		case <-w.stop:
			return nil
		case <-gctx.Done():
			return nil
		}
	}
}

func (w *Worker) load(ctx context.Context) error {
	began := time.Now()
	err := w.engine.Load(ctx, func(f float64) {
		w.mu.Lock()
		w.progress = f
		w.mu.Unlock()
		w.BeatNow()
	})
	if err != nil {
		return err
	}
	w.setStatus(messages.StatusReady)
	w.log.Info("model loaded", "model", w.cfg.Model, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// drain finishes what runs, DrainTimeout at most, and takes nothing new.
func (w *Worker) drain() {
	w.setStatus(messages.StatusDraining)
	done := make(chan struct{})
	go func() { w.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(w.cfg.DrainTimeout):
		w.log.Warn("requests cut off", "running", w.inFlight.Load())
	}
}

// Stop asks the worker to drain and end.
func (w *Worker) Stop() { w.stopOnce.Do(func() { close(w.stop) }) }

// life is the order of what a worker calls itself; [Worker.Info] makes ready busy.
var life = []messages.Status{messages.StatusStarting, messages.StatusReady, messages.StatusDraining, messages.StatusStopped}

// setStatus moves forward only: a worker that drains does not become ready.
func (w *Worker) setStatus(s messages.Status) {
	w.mu.Lock()
	if slices.Index(life, s) > slices.Index(life, w.status) {
		w.status = s
	}
	w.mu.Unlock()
	w.BeatNow()
}

// Drain has the worker take nothing new, and Undrain take requests again; what it has goes on.
func (w *Worker) Drain() { w.setDrained(true) }

// Undrain ends a [Worker.Drain]. A worker that stops goes on stopping.
func (w *Worker) Undrain() { w.setDrained(false) }

func (w *Worker) setDrained(d bool) {
	w.mu.Lock()
	w.drained = d
	w.mu.Unlock()
	w.BeatNow()
}

// statusNow is where the worker is in its life; while it is drained it does not say ready. w.mu is held.
func (w *Worker) statusNow() messages.Status {
	if w.drained && w.status == messages.StatusReady {
		return messages.StatusDraining
	}
	return w.status
}

// Health is nil when the worker can serve, else it says why not.
func (w *Worker) Health() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.statusNow() {
	case messages.StatusStarting:
		return messages.Errorf(messages.CodeUnavailable, "health", "loading %s, %.0f%%", w.cfg.Model, 100*w.progress)
	case messages.StatusDraining, messages.StatusStopped:
		if w.status == messages.StatusReady {
			return messages.Errorf(messages.CodeUnavailable, "health", "the worker is drained")
		}
		return messages.Errorf(messages.CodeUnavailable, "health", "the worker is stopping")
	default:
		return w.engine.Health()
	}
}

// Info is what the worker is and does now.
func (w *Worker) Info() messages.WorkerInfo {
	e, s := w.engine.Info(), w.engine.Stats()
	w.mu.Lock()
	status, progress := w.statusNow(), w.progress
	w.mu.Unlock()
	i := messages.WorkerInfo{ID: w.cfg.ID, Incarnation: w.incarnation, Hive: w.cfg.Hive, Models: []messages.ModelInfo{}, ModelID: w.cfg.Model,
		Device: e.Device, Host: w.host, Port: w.port, PID: os.Getpid(), StartTime: w.startTime, Status: status,
		Implementation: e.Implementation, Version: e.Version, SlotsUsed: s.SlotsUsed, TokensPerSecond: s.TokensPerSecond, Steps: s.Steps}
	for _, m := range e.Models {
		i.Models = append(i.Models, messages.ModelInfo{ID: m.ID, Loaded: m.Loaded, ContextLength: m.ContextLength, Slots: m.Slots, Capabilities: m.Capabilities})
		i.SlotsTotal += m.Slots
	}
	if len(e.Models) > 0 {
		i.ModelID, i.ContextLength = e.Models[0].ID, e.Models[0].ContextLength
	} else {
		i.Models = append(i.Models, messages.ModelInfo{ID: w.cfg.Model})
	}
	if i.Device == "" {
		i.Device = w.cfg.Device
	}
	if status == messages.StatusStarting {
		i.Progress = progress
	}
	if status == messages.StatusReady && i.SlotsTotal > 0 && i.SlotsUsed >= i.SlotsTotal {
		i.Status = messages.StatusBusy
	}
	return i
}

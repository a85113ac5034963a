package llamacpp

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// Implementation is the engine's name in [engine.Info].
const Implementation = "llama-cpp"

// Engine serves one model. It implements [engine.Engine].
type Engine struct {
	cfg  Config
	wake chan struct{} // holds one token when the loop has something to look at

	steps, tokens atomic.Uint64
	stepBegan     atomic.Int64 // Unix nanoseconds; 0 between steps

	mu         sync.Mutex
	phase      phase
	cancelLoad context.CancelFunc
	ended      chan struct{} // closed when the loop has freed everything
	info       engine.Info
	session    *session // nil unless phase is ready
	readers    sync.WaitGroup
	taken      int // slots that requests have
	arrivals   []*job
	errands    []errand
	rate       rate
}

var _ engine.Engine = (*Engine)(nil)

type phase int

const (
	fresh phase = iota
	loadingModel
	ready
	failed
	closed
)

// New checks cfg and returns an Engine that has loaded nothing: no goroutine, no I/O.
func New(cfg Config) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Engine{
		cfg:  cfg,
		wake: make(chan struct{}, 1),
		info: engine.Info{Implementation: Implementation},
	}, nil
}

// Load brings the model up. See [engine.Engine].
func (e *Engine) Load(ctx context.Context, progress func(float64)) error {
	if progress == nil {
		progress = func(float64) {}
	}
	loadCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.mu.Lock()
	if e.phase != fresh {
		e.mu.Unlock()
		return messages.Errorf(messages.CodeConflict, "llamacpp.load", "the engine was loaded or closed before")
	}
	e.phase, e.cancelLoad, e.ended = loadingModel, cancel, make(chan struct{})
	e.mu.Unlock()
	loaded := make(chan error, 1)
	go e.work(loadCtx, progress, loaded)
	err := <-loaded
	if err == nil {
		return nil
	}
	<-e.ended
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case loadCtx.Err() != nil: // Close
		return errClosed()
	default:
		return err
	}
}

// work is the engine's one goroutine: it loads, decodes and frees.
func (e *Engine) work(ctx context.Context, progress func(float64), loaded chan<- error) {
	defer close(e.ended)
	defer logNoMore(e.cfg.Log)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, version, err := openSession(ctx, e.cfg, progress)
	if err == nil {
		err = e.open(s, version)
	} else {
		e.setPhase(failed)
	}
	loaded <- err
	if err != nil {
		return
	}
	newLoop(e, s).run()
	e.stepBegan.Store(0)
	e.readers.Wait()
	s.close()
}

func (e *Engine) setPhase(p phase) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase != closed {
		e.phase = p
	}
}

// open lets requests in.
func (e *Engine) open(s *session, version string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == closed {
		s.close()
		return errClosed()
	}
	e.phase, e.session = ready, s
	e.info.Version, e.info.Device = version, s.place.name
	e.info.Models = []engine.Model{{
		ID: e.cfg.PublicName, Loaded: true, ContextLength: s.slotTokens, Slots: e.cfg.Slots, Capabilities: s.capabilities(),
	}}
	return nil
}

// Info says what is served.
func (e *Engine) Info() engine.Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := e.info
	info.Models = slices.Clone(info.Models)
	return info
}

// Stats is the load now.
func (e *Engine) Stats() engine.Stats {
	st := engine.Stats{Steps: e.steps.Load(), Tokens: e.tokens.Load()}
	e.mu.Lock()
	defer e.mu.Unlock()
	st.SlotsUsed = e.taken
	if st.SlotsUsed > 0 {
		st.TokensPerSecond = e.rate.perSecond(time.Now())
	}
	return st
}

// count adds generated tokens to the statistics.
func (e *Engine) count(now time.Time, tokens int) {
	if tokens == 0 {
		return
	}
	e.tokens.Add(uint64(tokens))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rate.add(now, tokens)
}

// Close ends what runs and frees everything. It waits for at most one step, and for prompts that are
// being written or cut up.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.phase, e.session = closed, nil
	ended := e.ended
	if e.cancelLoad != nil {
		e.cancelLoad()
	}
	e.mu.Unlock()
	e.poke()
	if ended != nil {
		<-ended
	}
	return nil
}

// poke makes the loop look around.
func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// takeArrivals gives the loop what is new. open is false once the engine closes.
func (e *Engine) takeArrivals() (arrivals []*job, errands []errand, open bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	arrivals, errands = e.arrivals, e.errands
	e.arrivals, e.errands = nil, nil
	return arrivals, errands, e.phase != closed
}

// stalledAfter is how long one step may take before the engine says that it makes no progress.
const stalledAfter = time.Minute

// Health is nil unless a step has taken a minute.
func (e *Engine) Health() error { return e.healthAt(time.Now()) }

func (e *Engine) healthAt(now time.Time) error {
	began := e.stepBegan.Load()
	if began == 0 {
		return nil
	}
	if took := now.Sub(time.Unix(0, began)); took >= stalledAfter {
		return messages.Errorf(messages.CodeStalled, "llamacpp.health", "llama.cpp makes no progress: one step has taken %s", took.Round(time.Second)).
			WithHint("a smaller model, fewer threads than free cores, or a restart of the worker")
	}
	return nil
}

func errClosed() error {
	return messages.Errorf(messages.CodeUnavailable, "llamacpp.infer", "the engine is closing")
}

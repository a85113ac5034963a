// Package router brings a request to a worker: it picks the least loaded one, holds requests while
// every slot is busy, and tries elsewhere until the first token. Two routes, the bus and the
// worker's HTTP port, stand behind one Stream.
package router

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/metrics"
)

const (
	// DefaultDeadline is how long a request waits for a slot.
	DefaultDeadline = 60 * time.Second
	maxDeadline     = time.Hour
	// maxTries is how many workers may fail one request before its first token.
	maxTries = 3
)

// Routes that [Config.Route] takes.
const (
	RouteAuto   = "auto" // direct where the worker's address answers, else bus
	RouteBus    = "bus"
	RouteDirect = "direct"
)

// Config of a Router.
type Config struct {
	Dispatcher  *Dispatcher
	Bus, Direct Transport
	// Ensure makes sure that somebody serves the model, or says why nobody can. It is called when
	// nobody does, and may take as long as a model loads.
	Ensure func(ctx context.Context, model string) error
	// Suspect tells the registry that a worker took a request and fell silent.
	Suspect func(w *messages.WorkerInfo, cause string)
	// Unreachable tells it that one route, [RouteBus] or [RouteDirect], does not answer.
	Unreachable func(w *messages.WorkerInfo, route, cause string)
	Metrics     *metrics.Metrics
	Log         *slog.Logger
}

// Router answers requests. It is safe for concurrent use.
type Router struct {
	cfg     Config
	budget  *budget
	Retries atomic.Uint64 // requests that another worker took over before the first token
}

// New returns a Router.
func New(cfg Config) *Router { return &Router{cfg: cfg, budget: newBudget(time.Now())} }

// Infer brings req to a worker and returns once the first object is there. Until then a worker that
// fails, vanishes or refuses is invisible: at most two others are tried, as long as the budget of
// retries lasts.
func (r *Router) Infer(ctx context.Context, req *messages.InferRequest) (*Answer, error) {
	if err := req.Check(); err != nil {
		return nil, err
	}
	limit := DefaultDeadline
	if req.DeadlineMillis > 0 {
		limit = time.Duration(min(req.DeadlineMillis, maxDeadline.Milliseconds())) * time.Millisecond
	}
	began := time.Now()
	t := tries{failed: map[string]Ways{}, end: began.Add(limit)}
	r.budget.request(began)
	for {
		asked := time.Now()
		lease, err := r.acquire(ctx, req.Model, &t)
		if err != nil {
			return nil, err
		}
		r.cfg.Metrics.Queued(time.Since(asked))
		a, ways, err := r.try(ctx, lease, req)
		if err == nil {
			lease.Works()
			r.cfg.Metrics.FirstToken(time.Since(began))
			if t.n > 0 {
				r.Retries.Add(1)
			}
			return a, nil
		}
		lease.Release(outcomeOf(ctx, err))
		if err := r.again(ctx, req, lease, ways, err, &t); err != nil {
			return nil, err
		}
	}
}

// tries is what one request has behind it.
type tries struct {
	n      int
	failed map[string]Ways // by incarnation
	end    time.Time       // of waiting for a slot
	last   error
}

// again is nil if the request may be tried again, else what its client is told.
func (r *Router) again(ctx context.Context, req *messages.InferRequest, lease *Lease, ways Ways, err error, t *tries) error {
	code := messages.CodeOf(err)
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case code == messages.CodeBusy:
		return nil // neither a failure of the worker nor a try
	case !code.Retryable():
		return err
	}
	t.failed[lease.Worker.Incarnation] |= ways
	t.last = err
	if t.n++; t.n >= maxTries {
		return err
	}
	if !r.budget.retry(time.Now()) {
		return messages.Errorf(code, messages.OpInfer, "%w, and too many requests are being retried", err)
	}
	r.cfg.Metrics.Retried(code)
	r.cfg.Log.Warn("request tried again", "request", req.ID, "worker", lease.Worker.ID, "error", err)
	return nil
}

// outcomeOf is what a failed try says of the worker.
func outcomeOf(ctx context.Context, err error) Outcome {
	switch messages.CodeOf(err) {
	case messages.CodeBusy:
		return Busy
	case messages.CodeInternal, messages.CodeStreamBroken, messages.CodeStalled:
		if ctx.Err() != nil {
			return neither
		}
		return Failed
	case messages.CodeUnavailable:
		if ctx.Err() == nil && unreachable(err) {
			return Failed
		}
		return neither // it drains, or it has left the registry
	case messages.CodeCancelled, messages.CodeTimeout, messages.CodeSlowConsumer:
		return neither
	default:
		return Succeeded // it works, and refuses what cannot be done
	}
}

// acquire waits for a slot; when nobody serves the model it has a worker started, once. The time that
// it takes is added to the request's.
func (r *Router) acquire(ctx context.Context, model string, t *tries) (*Lease, error) {
	lease, err := r.wait(ctx, model, t)
	if messages.CodeOf(err) != messages.CodeNoWorker || len(t.failed) > 0 {
		if t.last != nil && messages.CodeOf(err) == messages.CodeNoWorker {
			err = t.last
		}
		return lease, err
	}
	if r.cfg.Ensure == nil || !time.Now().Before(t.end) {
		return nil, err
	}
	began := time.Now()
	if err := r.cfg.Ensure(ctx, model); err != nil {
		return nil, err
	}
	t.end = t.end.Add(time.Since(began))
	return r.wait(ctx, model, t)
}

func (r *Router) wait(ctx context.Context, model string, t *tries) (*Lease, error) {
	ctx, cancel := context.WithDeadline(ctx, t.end)
	defer cancel()
	return r.cfg.Dispatcher.Acquire(ctx, model, t.failed)
}

// try sends the request to one worker and waits for the first object; an answer may be complete
// without one. ways are the routes that failed.
func (r *Router) try(ctx context.Context, lease *Lease, req *messages.InferRequest) (a *Answer, ways Ways, err error) {
	ctx, cancel := merge(ctx, lease.Ctx)
	defer cancel(nil)
	stream, way, err := r.open(ctx, lease, req)
	var first []byte
	if err == nil {
		first, err = stream.Next(ctx)
	}
	if err == nil || errors.Is(err, io.EOF) {
		return &Answer{Worker: lease.Worker, Route: nameOf(way), router: r, stream: stream, lease: lease, first: first, at: time.Now()}, 0, nil
	}
	if stream != nil {
		stream.Close()
	}
	if lease.Ctx.Err() != nil {
		return nil, anyWay, context.Cause(lease.Ctx)
	}
	return nil, r.blame(ctx, &lease.Worker, way, err) | lease.bad, err
}

// open takes the direct route where it may, else the bus; and the bus where a port turns out not to
// answer.
func (r *Router) open(ctx context.Context, lease *Lease, req *messages.InferRequest) (Stream, Ways, error) {
	if lease.Ways&WayDirect != 0 {
		s, err := r.cfg.Direct.Open(ctx, &lease.Worker, req)
		if err == nil || !unreachable(err) || lease.Ways&WayBus == 0 || ctx.Err() != nil {
			return s, WayDirect, err
		}
		lease.bad = r.blame(ctx, &lease.Worker, WayDirect, err)
	}
	s, err := r.cfg.Bus.Open(ctx, &lease.Worker, req)
	return s, WayBus, err
}

// blame tells the registry what a failure says of the worker, and returns the ways that this request
// does not try again: a worker that answers, but will not take it, is not asked by another.
func (r *Router) blame(ctx context.Context, w *messages.WorkerInfo, way Ways, err error) Ways {
	switch {
	case ctx.Err() != nil:
	case messages.CodeOf(err) == messages.CodeStalled:
		r.cfg.Suspect(w, err.Error())
	case unreachable(err):
		r.cfg.Unreachable(w, nameOf(way), messages.AsError(err, messages.OpInfer).Message)
		return way
	}
	return anyWay
}

func nameOf(w Ways) string {
	if w == WayDirect {
		return RouteDirect
	}
	return RouteBus
}

// ended says why ctx is over, with a code.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		return messages.Errorf(messages.CodeTimeout, messages.OpInfer, "the deadline passed")
	case errors.Is(cause, context.Canceled):
		return messages.Errorf(messages.CodeCancelled, messages.OpInfer, "the client is gone")
	}
	return messages.AsError(cause, messages.OpInfer)
}

// merge ends when either does, with its cause.
func merge(a, b context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(a)
	stop := context.AfterFunc(b, func() { cancel(context.Cause(b)) })
	return ctx, func(err error) { stop(); cancel(err) }
}

package router

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/rbee-project/rbee/messages"
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
	Route       string // [RouteAuto] when empty
	// Ensure makes sure that somebody serves the model, or says why nobody can. It is called when
	// nobody does, and may take as long as a model loads.
	Ensure func(ctx context.Context, model string) error
	// Suspect tells the registry that a worker did not answer.
	Suspect func(w *messages.WorkerInfo, cause string)
	Log     *slog.Logger
}

// Router answers requests. It is safe for concurrent use.
type Router struct {
	cfg     Config
	Retries atomic.Uint64 // requests that another worker took over before the first token
}

// New returns a Router.
func New(cfg Config) *Router { return &Router{cfg: cfg} }

// Answer is a request that a worker answers: its first token exists.
type Answer struct {
	Worker messages.WorkerInfo
	Route  string
	stream Stream
	lease  *Lease
	first  []byte
}

// Infer brings req to a worker and returns once the first object is there. Until then a worker that
// fails, vanishes or refuses is invisible: at most two others are tried.
func (r *Router) Infer(ctx context.Context, req *messages.InferRequest) (*Answer, error) {
	if err := req.Check(); err != nil {
		return nil, err
	}
	limit := DefaultDeadline
	if req.DeadlineMillis > 0 {
		limit = time.Duration(min(req.DeadlineMillis, maxDeadline.Milliseconds())) * time.Millisecond
	}
	failed := map[string]bool{}
	end := time.Now().Add(limit)
	var last error
	for tries := 0; tries < maxTries; {
		lease, err := r.acquire(ctx, req.Model, &end, failed)
		if err != nil {
			if last != nil && messages.CodeOf(err) == messages.CodeNoWorker {
				err = last
			}
			return nil, err
		}
		a, err := r.try(ctx, lease, req)
		if err == nil {
			if tries > 0 {
				r.Retries.Add(1)
			}
			return a, nil
		}
		code := messages.CodeOf(err)
		lease.Release(code == messages.CodeBusy)
		switch {
		case ctx.Err() != nil:
			return nil, ended(ctx)
		case code == messages.CodeBusy:
			continue // neither a failure of the worker nor a try
		case !code.Retryable():
			return nil, err
		}
		r.cfg.Log.Warn("request tried elsewhere", "request", req.ID, "worker", lease.Worker.ID, "error", err)
		failed[lease.Worker.Incarnation] = true
		last = err
		tries++
	}
	return nil, last
}

// acquire waits for a slot until end; when nobody serves the model it has a worker started, once. The
// time that it takes is added to end.
func (r *Router) acquire(ctx context.Context, model string, end *time.Time, failed map[string]bool) (*Lease, error) {
	lease, err := r.wait(ctx, model, *end, failed)
	if messages.CodeOf(err) != messages.CodeNoWorker || r.cfg.Ensure == nil || len(failed) > 0 {
		return lease, err
	}
	began := time.Now()
	if err := r.cfg.Ensure(ctx, model); err != nil {
		return nil, err
	}
	*end = end.Add(time.Since(began))
	return r.wait(ctx, model, *end, failed)
}

func (r *Router) wait(ctx context.Context, model string, end time.Time, failed map[string]bool) (*Lease, error) {
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	return r.cfg.Dispatcher.Acquire(ctx, model, failed)
}

// try sends the request to one worker and waits for the first object; an answer may be complete
// without one. A fault of the direct route says nothing of the worker: if it is gone, the next request
// falls back to the bus and learns it there.
func (r *Router) try(ctx context.Context, lease *Lease, req *messages.InferRequest) (*Answer, error) {
	ctx, cancel := merge(ctx, lease.Ctx)
	defer cancel(nil)
	stream, route, err := r.open(ctx, &lease.Worker, req)
	if err != nil {
		return nil, err
	}
	first, err := stream.Next(ctx)
	if err != nil && !errors.Is(err, io.EOF) {
		stream.Close()
		if lease.Ctx.Err() != nil {
			err = context.Cause(lease.Ctx)
		}
		if code := messages.CodeOf(err); route == RouteBus && (code == messages.CodeUnavailable || code == messages.CodeStreamBroken) {
			r.cfg.Suspect(&lease.Worker, err.Error())
		}
		return nil, err
	}
	return &Answer{Worker: lease.Worker, Route: route, stream: stream, lease: lease, first: first}, nil
}

// open takes the direct route where it may and works, else the bus.
func (r *Router) open(ctx context.Context, w *messages.WorkerInfo, req *messages.InferRequest) (Stream, string, error) {
	if r.cfg.Route != RouteBus && w.Port > 0 {
		s, err := r.cfg.Direct.Open(ctx, w, req)
		if err == nil {
			return s, RouteDirect, nil
		}
		if r.cfg.Route == RouteDirect || messages.CodeOf(err) != messages.CodeUnavailable || ctx.Err() != nil {
			return nil, RouteDirect, err
		}
	}
	if r.cfg.Route == RouteDirect {
		return nil, RouteDirect, messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "worker %s has no HTTP port", w.ID)
	}
	s, err := r.cfg.Bus.Open(ctx, w, req)
	return s, RouteBus, err
}

// Next is the next object of the answer; see [Stream]. It fails as soon as the worker leaves the
// registry.
func (a *Answer) Next(ctx context.Context) ([]byte, error) {
	if o := a.first; o != nil {
		a.first = nil
		return o, nil
	}
	ctx, cancel := merge(ctx, a.lease.Ctx)
	defer cancel(nil)
	return a.stream.Next(ctx)
}

// Usage is there once Next has returned io.EOF.
func (a *Answer) Usage() messages.Usage { return a.stream.Usage() }

// Close ends the request at the worker, if it is not complete, and frees its slot.
func (a *Answer) Close() {
	a.stream.Close()
	a.lease.Release(false)
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

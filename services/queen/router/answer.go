package router

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// Answer is a request that a worker answers: its first token exists. One goroutine uses it.
type Answer struct {
	Worker messages.WorkerInfo
	Route  string
	router *Router
	stream Stream
	lease  *Lease
	first  []byte
	at     time.Time // of the last object
	over   error     // how the stream ended
	closed bool
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
	o, err := a.stream.Next(ctx)
	now := time.Now()
	switch {
	case err == nil:
		a.router.cfg.Metrics.NextToken(now.Sub(a.at))
		a.at = now
	case a.over != nil:
	case errors.Is(err, io.EOF):
		a.over = err
		a.router.cfg.Metrics.Answered(a.stream.Usage())
	default:
		if ctx.Err() != nil {
			err = ended(ctx) // with a code: a client that left says nothing of the worker
		}
		a.over = err
		way := WayBus
		if a.Route == RouteDirect {
			way = WayDirect
		}
		a.router.blame(ctx, &a.Worker, way, err)
	}
	return o, err
}

// Usage is there once Next has returned io.EOF.
func (a *Answer) Usage() messages.Usage { return a.stream.Usage() }

// Close ends the request at the worker, if it is not complete, and frees its slot.
func (a *Answer) Close() {
	if a.closed {
		return
	}
	a.closed = true
	a.stream.Close()
	switch {
	case a.over == nil:
		a.lease.Release(neither)
	case errors.Is(a.over, io.EOF):
		a.lease.Release(Succeeded)
	default:
		a.lease.Release(outcomeOf(context.Background(), a.over))
	}
}

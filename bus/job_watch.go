package bus

import (
	"context"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// silentAfter is how long a watcher hears nothing before it says so.
const silentAfter = 10 * time.Second

// Watcher is told what a job does. Every field may be nil.
type Watcher struct {
	Event  func(messages.JobEvent)
	Tick   func(messages.JobTick)
	Silent func(since time.Duration) // nothing heard for this long; the job may still run
}

// RunJob asks for an operation that goes on as job id and waits for its end: it listens before it
// asks, so that nothing is missed. result, a pointer or nil, gets what the job gives. The error is
// the job's own, or the request's.
func (c *Conn) RunJob(ctx context.Context, subject string, id messages.JobID, req, result any, w Watcher) error {
	if err := messages.CheckID("job id", string(id)); err != nil {
		return err
	}
	in := make(chan any, 256)
	send := func(v any) {
		select {
		case in <- v:
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopEvents, err := c.Subscribe("rbee.job.*."+string(id), func(m Msg) {
		var e messages.JobEvent
		if messages.Decode(m.Data, &e) == nil && e.Job == id {
			send(e)
		}
	})
	if err != nil {
		return err
	}
	defer stopEvents()
	stopTicks, err := c.Subscribe("rbee.tick.*."+string(id), func(m Msg) {
		var t messages.JobTick
		if messages.Decode(m.Data, &t) == nil && t.Job == id {
			send(t)
		}
	})
	if err != nil {
		return err
	}
	defer stopTicks()
	var accepted messages.Accepted
	if err := c.Request(ctx, subject, req, &accepted); err != nil {
		return err
	}
	last, err := c.watch(ctx, id, in, w)
	if err != nil {
		return err
	}
	if last.Error != nil {
		return last.Error
	}
	return ResultOf(last, result)
}

// watch reads until the terminal event. After a silence it looks into the stored history, in case
// the end passed while the connection was down.
func (c *Conn) watch(ctx context.Context, id messages.JobID, in <-chan any, w Watcher) (*messages.JobEvent, error) {
	seen := 0
	event := func(e messages.JobEvent) bool {
		if e.Seq <= seen {
			return false
		}
		seen = e.Seq
		if w.Event != nil {
			w.Event(e)
		}
		return e.State.Terminal()
	}
	heard := time.Now()
	silent := time.NewTimer(silentAfter)
	defer silent.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, messages.AsError(context.Cause(ctx), "job")
		case v := <-in:
			heard = time.Now()
			silent.Reset(silentAfter)
			switch v := v.(type) {
			case messages.JobEvent:
				if event(v) {
					return &v, nil
				}
			case messages.JobTick:
				if w.Tick != nil {
					w.Tick(v)
				}
			}
		case <-silent.C:
			silent.Reset(silentAfter)
			if w.Silent != nil {
				w.Silent(time.Since(heard))
			}
			var past messages.JobEventsReply
			if c.Request(ctx, messages.QueenSubject(messages.OpJobEvents), &messages.JobRef{Job: id}, &past) == nil {
				for _, e := range past.Events {
					if event(e) {
						return &e, nil
					}
				}
			}
		}
	}
}

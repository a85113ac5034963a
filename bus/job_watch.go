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
	f, err := c.follow(ctx, id, w)
	if err != nil {
		return err
	}
	defer f.stop()
	var accepted messages.Accepted
	if err := c.Request(ctx, subject, req, &accepted); err != nil {
		return err
	}
	if accepted.Known {
		f.lookBack()
	}
	return f.end(ctx, result)
}

// WatchJob replays what a job did and follows it to its end, from any machine. The error is the job's
// own, or [messages.CodeNotFound] for a job that nobody knows.
func (c *Conn) WatchJob(ctx context.Context, id messages.JobID, result any, w Watcher) error {
	f, err := c.follow(ctx, id, w)
	if err != nil {
		return err
	}
	defer f.stop()
	if err := c.Request(ctx, messages.QueenSubject(messages.OpJobGet), &messages.JobRef{Job: id}, nil); err != nil {
		return err
	}
	f.lookBack()
	return f.end(ctx, result)
}

// follower listens to one job.
type follower struct {
	conn *Conn
	id   messages.JobID
	in   chan any      // JobEvent or JobTick
	back chan struct{} // the history is to be read
	w    Watcher
	seen int // number of the last event that was told
	stop func()
}

func (c *Conn) follow(ctx context.Context, id messages.JobID, w Watcher) (*follower, error) {
	if err := messages.CheckID("job id", string(id)); err != nil {
		return nil, err
	}
	f := &follower{conn: c, id: id, in: make(chan any, 256), back: make(chan struct{}, 1), w: w}
	ctx, cancel := context.WithCancel(ctx)
	send := func(v any) {
		select {
		case f.in <- v:
		case <-ctx.Done():
		}
	}
	stopEvents, err := c.Subscribe(AnyJobSubject(id), func(m Msg) {
		var e messages.JobEvent
		if messages.Decode(m.Data, &e) == nil && e.Job == id {
			send(e)
		}
	})
	if err != nil {
		cancel()
		return nil, err
	}
	stopTicks, err := c.Subscribe(messages.TickSubject("*", id), func(m Msg) {
		var t messages.JobTick
		if messages.Decode(m.Data, &t) == nil && t.Job == id {
			send(t)
		}
	})
	if err != nil {
		cancel()
		stopEvents()
		return nil, err
	}
	stopBack := c.OnReconnect(f.lookBack)
	f.stop = func() { cancel(); stopBack(); stopTicks(); stopEvents() }
	return f, nil
}

// lookBack has the history read: what was missed while the connection was down, or before we listened.
func (f *follower) lookBack() {
	select {
	case f.back <- struct{}{}:
	default:
	}
}

// end follows until the terminal event, and gives its result.
func (f *follower) end(ctx context.Context, result any) error {
	last, err := f.watch(ctx)
	if err != nil {
		return err
	}
	if last.Error != nil {
		return last.Error
	}
	return ResultOf(last, result)
}

// watch reads until the terminal event. After a silence it looks into the stored history.
func (f *follower) watch(ctx context.Context) (*messages.JobEvent, error) {
	heard := time.Now()
	silent := time.NewTimer(silentAfter)
	defer silent.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, messages.AsError(context.Cause(ctx), "job")
		case v := <-f.in:
			heard = time.Now()
			silent.Reset(silentAfter)
			if e := f.take(v); e != nil {
				return e, nil
			}
		case <-f.back:
			if e := f.history(ctx); e != nil {
				return e, nil
			}
		case <-silent.C:
			silent.Reset(silentAfter)
			if f.w.Silent != nil {
				f.w.Silent(time.Since(heard))
			}
			if e := f.history(ctx); e != nil {
				return e, nil
			}
		}
	}
}

// take tells what came in; it returns the terminal event.
func (f *follower) take(v any) *messages.JobEvent {
	switch v := v.(type) {
	case messages.JobEvent:
		if v.Seq <= f.seen && !v.State.Terminal() { // an end that the queen wrote may not know our last steps
			return nil
		}
		f.seen = v.Seq
		if f.w.Event != nil {
			f.w.Event(v)
		}
		if v.State.Terminal() {
			return &v
		}
	case messages.JobTick:
		if f.w.Tick != nil {
			f.w.Tick(v)
		}
	}
	return nil
}

// history reads the stored events; a queen that does not answer is asked again after the next silence.
func (f *follower) history(ctx context.Context) *messages.JobEvent {
	for after := uint64(0); ; {
		var past messages.JobEventsReply
		err := f.conn.Request(ctx, messages.QueenSubject(messages.OpJobEvents), &messages.JobRef{Job: f.id, After: after}, &past)
		if err != nil {
			return nil
		}
		for _, e := range past.Events {
			if end := f.take(e); end != nil {
				return end
			}
		}
		if past.Next == 0 {
			return nil
		}
		after = past.Next
	}
}

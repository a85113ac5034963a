package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/messages"
)

// AnyJobSubject is every executor's subject of one job.
func AnyJobSubject(id messages.JobID) string { return messages.JobSubject("*", id) }

// begin stores the first event, which only the first of all executors can. It is false if the id was
// used before.
func (job *Job) begin(text string) bool {
	first := job.event(messages.JobEvent{State: messages.JobStarted, Text: text})
	err := job.store(first, publishTry, jetstream.WithExpectLastSequenceForSubject(0, AnyJobSubject(job.ID)))
	if wrongLast(err) {
		return false
	}
	if err != nil {
		if maybeStored(err) {
			job.doubt = first
		}
		job.jobs.conn.log.Warn("job event not stored", "job", job.ID, "state", messages.JobStarted, "error", err)
	}
	return true
}

// publish stores an event behind our last one. If somebody else has written since, the queen took us
// for dead and has ended the job: then it ends here too. It outlives the job's own context: a cancelled
// job says that it was cancelled. Who listens hears it in any case.
func (job *Job) publish(e messages.JobEvent) {
	ev := job.event(e)
	if job.ousted {
		return
	}
	limit := publishTry
	if e.State.Terminal() {
		limit = publishRetry
	}
	err := job.behind(ev, limit)
	if wrongLast(err) && job.doubt != nil {
		// It may be our own event that is there, whose ack did not come: the server knows its id.
		if err = job.behind(job.doubt, publishTry); err == nil {
			err = job.behind(ev, limit)
		}
	}
	switch {
	case err == nil:
		job.doubt = nil
		return
	case wrongLast(err):
		job.ousted = true
		job.cancel(messages.Errorf(messages.CodeCancelled, "job", "it was ended elsewhere"))
	case maybeStored(err) && job.doubt == nil:
		job.doubt = ev
	}
	job.jobs.conn.log.Warn("job event not stored", "job", job.ID, "state", ev.State, "error", err)
}

// behind stores ev if our last event is still the job's last.
func (job *Job) behind(ev *messages.JobEvent, limit time.Duration) error {
	var opts []jetstream.PublishOpt
	if job.last > 0 {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(job.last))
	}
	return job.store(ev, limit, opts...)
}

// maybeStored says whether the event may be in the stream although its ack did not come.
func maybeStored(err error) bool {
	return apiCode(err) == 0 && !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, jetstream.ErrNoStreamResponse) &&
		!errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrReconnectBufExceeded) && !errors.Is(err, nats.ErrDisconnected)
}

// event fills in what every event of the job has.
func (job *Job) event(e messages.JobEvent) *messages.JobEvent {
	job.seq++
	e.Job, e.Executor, e.Op, e.Seq, e.At = job.ID, job.jobs.conn.Caller, job.op, job.seq, time.Now().UTC()
	if job.seq == 1 {
		job.startedAt = e.At
	}
	e.StartedAt = job.startedAt
	e.Text = messages.Shown(e.Text)
	if e.Error != nil {
		shown := *e.Error
		shown.Message, shown.Hint = messages.Shown(shown.Message), messages.Shown(shown.Hint)
		e.Error = &shown
	}
	return &e
}

// store publishes with an ack, again and again within limit: core publishes are lost while a stream's
// leader changes. Only a terminal event is tried again: the work must not wait. Who listens hears every
// try, and knows it by its number.
func (job *Job) store(e *messages.JobEvent, limit time.Duration, opts ...jetstream.PublishOpt) error {
	data, err := messages.Encode(messages.JSON, e)
	if err != nil {
		return err
	}
	opts = append(opts, jetstream.WithMsgID(fmt.Sprintf("%s.%s.%d", job.jobs.conn.Caller, job.ID, e.Seq)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(job.jobs.ctx), limit)
	defer cancel()
	// When we stop, the bus perhaps does too.
	defer context.AfterFunc(job.jobs.ctx, func() { time.AfterFunc(time.Second, cancel) })()
	for {
		wait := publishTry
		if job.jobs.badFrom.Load() != 0 && !e.State.Terminal() {
			wait = publishBad // work must not wait for a store that is known to be broken
		}
		try, done := context.WithTimeout(ctx, wait)
		ack, err := job.jobs.conn.js.Publish(try, messages.JobSubject(job.jobs.conn.Caller, job.ID), data, opts...)
		done()
		switch {
		case wrongLast(err):
			job.jobs.stored(nil) // it works
		case job.jobs.ctx.Err() == nil:
			job.jobs.stored(err)
		}
		switch {
		case err == nil:
			job.last = ack.Sequence
			return nil
		case wrongLast(err), !e.State.Terminal():
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// wrongLast says that the subject's last message is not the one that was expected.
func wrongLast(err error) bool {
	return apiCode(err) == jetstream.JSErrCodeStreamWrongLastSequence
}

func apiCode(err error) jetstream.ErrorCode {
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		return e.ErrorCode
	}
	return 0
}

// EndJob writes the terminal event of a job whose executor is gone, behind its event number lastSeq,
// which the stream holds as number last. It fails if the executor has written since, or another queen
// was faster: then nothing is written.
func (c *Conn) EndJob(ctx context.Context, e *messages.JobEvent, last uint64) error {
	e.At = time.Now().UTC()
	data, err := messages.Encode(messages.JSON, e)
	if err != nil {
		return err
	}
	_, err = c.js.Publish(ctx, messages.JobSubject(e.Executor, e.Job), data, jetstream.WithExpectLastSequencePerSubject(last))
	if wrongLast(err) {
		return messages.Errorf(messages.CodeConflict, "job", "job %s has gone on", e.Job)
	}
	if err != nil {
		return messages.Errorf(messages.CodeUnavailable, "job", "%w", err)
	}
	return nil
}

package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/messages"
)

const (
	tickEvery    = 2 * time.Second  // a job's keep-alive
	publishRetry = 30 * time.Second // how long a job's event is tried
	jobsKept     = 1024             // finished jobs whose ids are remembered
)

// Jobs executes jobs for one queen or hive: steps and exactly one terminal event each.
type Jobs struct {
	conn   *Conn
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	running  map[messages.JobID]context.CancelCauseFunc
	finished []messages.JobID
	known    map[messages.JobID]bool
}

// NewJobs returns an executor whose jobs end with ctx.
func (c *Conn) NewJobs(ctx context.Context) *Jobs {
	j := &Jobs{conn: c, running: map[messages.JobID]context.CancelCauseFunc{}, known: map[messages.JobID]bool{}}
	j.ctx, j.cancel = context.WithCancel(ctx)
	return j
}

// Close cancels what runs and waits for it.
func (j *Jobs) Close() {
	j.cancel()
	j.wg.Wait()
}

// Job is one that runs. Its methods are for the goroutine that executes it, Tick for any.
type Job struct {
	ID   messages.JobID
	jobs *Jobs
	op   string
	seq  int

	mu   sync.Mutex
	tick messages.JobTick
}

// Start runs fn as job id on a goroutine of its own, once: a second call with the same id changes
// nothing and gets the same answer. fn's result, a pointer to a payload, goes into the terminal event.
func (j *Jobs) Start(id messages.JobID, op string, fn func(ctx context.Context, job *Job) (any, error)) (*messages.Accepted, error) {
	if err := messages.CheckID("job id", string(id)); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	accepted := &messages.Accepted{Job: id, Executor: j.conn.Caller}
	if j.known[id] {
		return accepted, nil
	}
	if j.ctx.Err() != nil {
		return nil, messages.Errorf(messages.CodeUnavailable, op, "%s is stopping", j.conn.Caller)
	}
	ctx, cancel := context.WithCancelCause(j.ctx)
	j.known[id], j.running[id] = true, cancel
	job := &Job{ID: id, jobs: j, op: op, tick: messages.JobTick{Job: id}}
	j.wg.Go(func() {
		defer j.forget(id, cancel)
		job.run(ctx, fn)
	})
	return accepted, nil
}

// Cancel ends job id if it runs.
func (j *Jobs) Cancel(id messages.JobID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	cancel, ok := j.running[id]
	if ok {
		cancel(messages.Errorf(messages.CodeCancelled, "job", "cancelled on request"))
	}
	return ok
}

func (j *Jobs) forget(id messages.JobID, cancel context.CancelCauseFunc) {
	cancel(nil)
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.running, id)
	if j.finished = append(j.finished, id); len(j.finished) > jobsKept {
		delete(j.known, j.finished[0])
		j.finished = j.finished[1:]
	}
}

func (job *Job) run(ctx context.Context, fn func(context.Context, *Job) (any, error)) {
	stop := job.keepTicking(ctx)
	result, err := fn(ctx, job)
	stop()
	e := messages.JobEvent{State: messages.JobSucceeded}
	if err != nil {
		if ctx.Err() != nil && messages.CodeOf(context.Cause(ctx)) == messages.CodeCancelled {
			err = context.Cause(ctx)
		}
		e.Error = messages.AsError(err, job.op)
		e.State, e.Text = messages.JobFailed, e.Error.Error()
		if e.Error.Code == messages.CodeCancelled {
			e.State = messages.JobCancelled
		}
	} else if result != nil {
		e.Result, err = messages.Encode(messages.JSON, result)
		if err != nil {
			e.State, e.Error = messages.JobFailed, messages.AsError(err, job.op)
		}
	}
	job.publish(e)
}

// Step says what the job does now.
func (job *Job) Step(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	job.Tick(text, 0, 0, "")
	job.publish(messages.JobEvent{State: messages.JobStep, Text: text})
}

// Tick says how far the job is: done of total, in unit "B" or "%".
func (job *Job) Tick(text string, done, total int64, unit string) {
	job.mu.Lock()
	job.tick.Text, job.tick.Done, job.tick.Total, job.tick.Unit = text, done, total, unit
	job.mu.Unlock()
	job.sendTick()
}

func (job *Job) sendTick() {
	job.mu.Lock()
	t := job.tick
	job.mu.Unlock()
	_ = job.jobs.conn.PublishJSON(messages.TickSubject(job.jobs.conn.Caller, job.ID), &t)
}

func (job *Job) keepTicking(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(tickEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				job.sendTick()
			}
		}
	}()
	return func() { cancel(); <-done }
}

// publish stores an event with an ack, for 30 s: core publishes are lost while a stream's leader
// changes. It outlives the job's own context: a cancelled job says that it was cancelled.
func (job *Job) publish(e messages.JobEvent) {
	job.seq++
	e.Job, e.Executor, e.Op, e.Seq, e.At = job.ID, job.jobs.conn.Caller, job.op, job.seq, time.Now().UTC()
	data, err := messages.Encode(messages.JSON, &e)
	if err != nil {
		job.jobs.conn.log.Error("job event", "job", job.ID, "error", err)
		return
	}
	limit := publishRetry
	if job.jobs.ctx.Err() != nil {
		limit = time.Second // we are stopping, the bus perhaps too
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(job.jobs.ctx), limit)
	defer cancel()
	subject := messages.JobSubject(job.jobs.conn.Caller, job.ID)
	for {
		try, done := context.WithTimeout(ctx, 5*time.Second)
		_, err = job.jobs.conn.js.Publish(try, subject, data, jetstream.WithMsgID(fmt.Sprintf("%s.%d", job.ID, job.seq)))
		done()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			job.jobs.conn.log.Warn("job event not stored", "job", job.ID, "state", e.State, "error", err)
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ResultOf decodes the result of a succeeded job into v.
func ResultOf(e *messages.JobEvent, v any) error {
	if v == nil || len(e.Result) == 0 {
		return nil
	}
	return json.Unmarshal(e.Result, v)
}

package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const (
	tickEvery    = 2 * time.Second        // a job's keep-alive
	publishTry   = 5 * time.Second        // for one try to store an event
	publishBad   = 100 * time.Millisecond // the same, of a store that does not answer
	publishRetry = 30 * time.Second       // how long a terminal event is tried
	jobsKept     = 1024                   // finished jobs whose ids are remembered
)

// Jobs executes jobs for one queen or hive: a first event, steps, and exactly one terminal event each.
type Jobs struct {
	conn   *Conn
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	onStore func(error)
	badFrom atomic.Int64 // when the store began to refuse, in Unix ns; 0 if it does not

	mu       sync.Mutex
	running  map[messages.JobID]context.CancelCauseFunc
	finished []messages.JobID
	known    map[messages.JobID]bool
}

// NewJobs returns an executor whose jobs end with ctx.
func (c *Conn) NewJobs(ctx context.Context) *Jobs {
	j := &Jobs{conn: c, running: map[messages.JobID]context.CancelCauseFunc{}, known: map[messages.JobID]bool{}}
	j.ctx, j.cancel = context.WithCancelCause(ctx)
	return j
}

// OnStore has fn told, before the first job, of every attempt to store an event: nil if it was stored.
func (j *Jobs) OnStore(fn func(error)) { j.onStore = fn }

// CheckStore stores an event that belongs to no job, to learn whether the store works again.
func (j *Jobs) CheckStore(ctx context.Context) error {
	_, err := j.conn.js.Publish(ctx, messages.JobSubject(j.conn.Caller, "store-check"), []byte("{}"))
	j.stored(err)
	return err
}

// stored notes how an attempt went.
func (j *Jobs) stored(err error) {
	if err == nil {
		j.badFrom.Store(0)
	} else {
		j.badFrom.CompareAndSwap(0, time.Now().UnixNano())
	}
	if j.onStore != nil {
		j.onStore(err)
	}
}

// Close cancels what runs and waits for it.
func (j *Jobs) Close() {
	j.cancel(messages.Errorf(messages.CodeUnavailable, "job", "%s is stopping", j.conn.Caller))
	j.wg.Wait()
}

// Job is one that runs. Its methods are for the goroutine that executes it, Tick for any.
type Job struct {
	ID     messages.JobID
	jobs   *Jobs
	op     string
	cancel context.CancelCauseFunc

	startedAt time.Time
	seq       int
	last      uint64             // the stream's number of our last event; 0 when it is not known
	ousted    bool               // somebody else has ended the job: nothing more is said
	doubt     *messages.JobEvent // our last event, if its ack did not come

	mu   sync.Mutex
	tick messages.JobTick
}

// Start runs fn as job id on a goroutine of its own, once: a second call with the same id starts
// nothing and says so, on whatever executor it is made. text says what the job is for. fn's result, a
// pointer to a payload, goes into the terminal event. A store that does not work does not keep a job
// from running.
func (j *Jobs) Start(id messages.JobID, op, text string, fn func(ctx context.Context, job *Job) (any, error)) (*messages.Accepted, error) {
	if err := messages.CheckID("job id", string(id)); err != nil {
		return nil, err
	}
	job, ctx, err := j.admit(id, op)
	switch {
	case err != nil:
		return nil, err
	case job == nil:
		return &messages.Accepted{Job: id, Executor: j.conn.Caller, Known: true}, nil
	case !job.begin(text): // whose it is, its events say
		j.forget(job)
		j.wg.Done()
		return &messages.Accepted{Job: id, Known: true}, nil
	}
	go func() {
		defer j.wg.Done()
		defer j.forget(job)
		job.run(ctx, fn)
	}()
	return &messages.Accepted{Job: id, Executor: j.conn.Caller}, nil
}

// admit takes the id; the job is nil if it is taken already, or with an error. A job that it returns is
// counted in j.wg.
func (j *Jobs) admit(id messages.JobID, op string) (*Job, context.Context, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.known[id] {
		return nil, nil, nil
	}
	if j.ctx.Err() != nil {
		return nil, nil, messages.Errorf(messages.CodeUnavailable, op, "%s is stopping", j.conn.Caller)
	}
	ctx, cancel := context.WithCancelCause(j.ctx)
	j.known[id], j.running[id] = true, cancel
	j.wg.Add(1)
	return &Job{ID: id, jobs: j, op: op, cancel: cancel, tick: messages.JobTick{Job: id}}, ctx, nil
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

func (j *Jobs) forget(job *Job) {
	job.cancel(nil)
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.running, job.ID)
	if j.finished = append(j.finished, job.ID); len(j.finished) > jobsKept {
		delete(j.known, j.finished[0])
		j.finished = j.finished[1:]
	}
}

func (job *Job) run(ctx context.Context, fn func(context.Context, *Job) (any, error)) {
	stop := job.keepTicking(context.WithoutCancel(ctx)) // cancelled or not, it is at work until it returns
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

// Step says what the job does now. As of all that a job tells, only what [messages.Shown] leaves is told.
func (job *Job) Step(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	job.Tick(text, 0, 0, "")
	job.publish(messages.JobEvent{State: messages.JobStep, Text: text})
}

// Tick says how far the job is: done of total, in unit "B" or "%".
func (job *Job) Tick(text string, done, total int64, unit string) {
	text = messages.Shown(text)
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

// ResultOf decodes the result of a succeeded job into v.
func ResultOf(e *messages.JobEvent, v any) error {
	if v == nil || len(e.Result) == 0 {
		return nil
	}
	return json.Unmarshal(e.Result, v)
}

package jobs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// tickEvery is how often silence is looked for; a tick that is lateTick late means that this process
// was stopped.
const (
	tickEvery = time.Second
	lateTick  = 3 * time.Second
)

// Keeper owns a Table: one goroutine, Run, touches it. It is safe for concurrent use.
type Keeper struct {
	conn  *bus.Conn
	log   *slog.Logger
	ended func(op string, state messages.JobState)
	cmds  chan func(*Table)
	done  chan struct{}
	began time.Time
	life  context.Context // of Run, for what its goroutine begins
	ends  sync.WaitGroup  // terminal events that are being written
}

// NewKeeper returns a Keeper; ended is told once of each job that ends.
func NewKeeper(conn *bus.Conn, log *slog.Logger, ended func(op string, state messages.JobState)) *Keeper {
	return &Keeper{conn: conn, log: log, ended: ended, cmds: make(chan func(*Table), 1024), done: make(chan struct{}), began: time.Now()}
}

// Run listens, and ends the jobs of executors that are gone, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	defer k.ends.Wait()
	defer close(k.done)
	k.life = ctx
	stop, err := k.listen(ctx)
	if err != nil {
		return err
	}
	defer stop()
	t := NewTable()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	last, reader := time.Now(), newReader(k)
	defer reader.stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case cmd := <-k.cmds:
			cmd(t)
		case now := <-tick.C:
			if !k.conn.Connected() || now.Sub(last) > tickEvery+lateTick {
				t.Restart(now)
			}
			last = now
			reader.keep(ctx)
			k.finish(t.Orphans(now))
		}
	}
}

func (k *Keeper) do(cmd func(*Table)) {
	select {
	case k.cmds <- cmd:
	case <-k.done:
	}
}

// listen hears what is said live: ticks, and events that a store in trouble may not keep.
func (k *Keeper) listen(ctx context.Context) (stop func(), err error) {
	stopTicks, err := k.conn.Subscribe("rbee.tick.>", func(m bus.Msg) {
		var tick messages.JobTick
		executor := messages.Caller(messages.SubjectToken(m.Subject, 2))
		if messages.Decode(m.Data, &tick) == nil && string(tick.Job) == messages.SubjectToken(m.Subject, 3) {
			k.do(func(t *Table) { t.Tick(executor, &tick, time.Now()) })
		}
	})
	if err != nil {
		return nil, err
	}
	stopEvents, err := k.conn.Subscribe(messages.JobWildcard, func(m bus.Msg) { k.take(m.Subject, m.Data, 0) })
	if err != nil {
		stopTicks()
		return nil, err
	}
	stopBack := k.conn.OnReconnect(func() { k.do(func(t *Table) { t.Restart(time.Now()) }) })
	return func() { stopBack(); stopEvents(); stopTicks() }, ctx.Err()
}

// take believes an executor only about jobs of its own.
func (k *Keeper) take(subject string, data []byte, number uint64) {
	e := &messages.JobEvent{}
	if messages.Decode(data, e) != nil || string(e.Executor) != messages.SubjectToken(subject, 2) ||
		string(e.Job) != messages.SubjectToken(subject, 3) {
		return
	}
	k.do(func(t *Table) {
		if t.Event(e, number, time.Now()) && e.At.After(k.began) { // not what ended before us
			k.ended(e.Op, e.State)
		}
	})
}

// Lost ends the open jobs of an executor that is known to be gone.
func (k *Keeper) Lost(executor messages.Caller, cause string) {
	k.do(func(t *Table) { k.finish(t.Lost(executor, cause, time.Now())) })
}

// finish writes the ends, each on a goroutine: the store may be slow. Who was faster wins.
func (k *Keeper) finish(all []Orphan) {
	for _, o := range all {
		k.ends.Go(func() {
			ctx, cancel := context.WithTimeout(k.life, 5*time.Second)
			defer cancel()
			if err := k.conn.EndJob(ctx, &o.End, o.Last); err != nil {
				k.log.Warn("job not ended", "job", o.End.Job, "error", err)
				return
			}
			k.log.Info("job ended for its executor", "job", o.End.Job, "executor", o.End.Executor, "state", o.End.State)
		})
	}
}

// List is the open jobs and the last that ended.
func (k *Keeper) List() []messages.JobInfo { return ask(k, (*Table).List) }

// Open is how many run.
func (k *Keeper) Open() int { return ask(k, (*Table).Open) }

// Get is one job.
func (k *Keeper) Get(id messages.JobID) (messages.JobInfo, bool) {
	type found struct {
		i  messages.JobInfo
		ok bool
	}
	f := ask(k, func(t *Table) found { i, ok := t.Get(id); return found{i, ok} })
	return f.i, f.ok
}

func ask[T any](k *Keeper, cmd func(*Table) T) (v T) {
	got := make(chan T, 1)
	k.do(func(t *Table) { got <- cmd(t) })
	select {
	case v = <-got:
	case <-k.done:
	}
	return v
}

// reader reads the stream: each job's last event, then what follows. A consumer may be blind after the
// server or its stream came back, without an error, so it is made anew after each reconnect.
type reader struct {
	k       *Keeper
	current jetstream.ConsumeContext
	stale   chan struct{}
	unhook  func()
	retry   time.Time
}

func newReader(k *Keeper) *reader {
	r := &reader{k: k, stale: make(chan struct{}, 1)}
	r.spoil()
	r.unhook = k.conn.OnReconnect(r.spoil)
	return r
}

func (r *reader) spoil() {
	select {
	case r.stale <- struct{}{}:
	default:
	}
}

// keep makes the consumer if there is none, or a stale one. It waits for the server at most 2 s.
func (r *reader) keep(ctx context.Context) {
	select {
	case <-r.stale:
		r.end()
	default:
	}
	if r.current != nil || !r.k.conn.Connected() || time.Now().Before(r.retry) {
		return
	}
	r.retry = time.Now().Add(5 * time.Second)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := r.k.conn.JetStream().OrderedConsumer(ctx, messages.JobsStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{messages.JobWildcard}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy})
	if err == nil {
		r.current, err = c.Consume(func(m jetstream.Msg) {
			if meta, err := m.Metadata(); err == nil {
				r.k.take(m.Subject(), m.Data(), meta.Sequence.Stream)
			}
		})
	}
	if err != nil {
		r.k.log.Warn("jobs cannot be read from the store; trying again", "error", err)
	}
}

func (r *reader) end() {
	if r.current != nil {
		go r.current.Stop() // it waits for a consumer that is being made anew, for as long as the store is away
		r.current = nil
	}
}

func (r *reader) stop() { r.unhook(); r.end() }

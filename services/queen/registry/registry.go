package registry

import (
	"context"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// tickEvery is how often silence is looked for. A tick that is lateTick late means that this
// process was stopped, so every clock starts anew.
const (
	tickEvery = time.Second
	lateTick  = 3 * time.Second
)

// Registry owns a Table: one goroutine, Run, touches it. It is safe for concurrent use.
type Registry struct {
	cmds     chan func(*Table)
	done     chan struct{}
	onChange func([]Change)
	online   func() bool
}

// New returns a Registry; onChange is called on its goroutine with what happened, in order, and must
// not block. online says whether the queen's own connection is up: silence counts only then.
func New(online func() bool, onChange func([]Change)) *Registry {
	return &Registry{cmds: make(chan func(*Table), 1024), done: make(chan struct{}), onChange: onChange, online: online}
}

// Run owns the table until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	defer close(r.done)
	t := NewTable()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case cmd := <-r.cmds:
			cmd(t)
		case <-tick.C:
			now := time.Now()
			if !r.online() || now.Sub(last) > tickEvery+lateTick {
				t.Restart(now)
			}
			last = now
			r.emit(t.Tick(now))
		}
	}
}

func (r *Registry) emit(c []Change) {
	if len(c) > 0 {
		r.onChange(c)
	}
}

func (r *Registry) send(cmd func(*Table)) {
	select {
	case r.cmds <- cmd:
	case <-r.done:
	}
}

// ask runs cmd on the owner's goroutine and waits for it.
func ask[T any](r *Registry, cmd func(*Table) T) T {
	got := make(chan T, 1)
	r.send(func(t *Table) { got <- cmd(t) })
	select {
	case v := <-got:
		return v
	case <-r.done:
		var zero T
		return zero
	}
}

// Beat, Exited, Suspect and HiveBeat pass on what was heard; see [Table].
func (r *Registry) Beat(b *messages.Heartbeat) {
	now := time.Now()
	r.send(func(t *Table) { r.emit(t.Beat(b, now)) })
}

// HiveBeat takes a hive's inventory.
func (r *Registry) HiveBeat(b *messages.HiveBeat) {
	now := time.Now()
	r.send(func(t *Table) { r.emit(t.HiveBeat(b, now)) })
}

// Exited takes a hive's report of a process that ended.
func (r *Registry) Exited(e *messages.WorkerExited, cause string) {
	now := time.Now()
	r.send(func(t *Table) { r.emit(t.Exited(e, cause, now)) })
}

// Suspect keeps one life of a worker from being picked until it beats.
func (r *Registry) Suspect(id messages.WorkerID, incarnation, cause string) {
	r.send(func(t *Table) { r.emit(t.Suspect(id, incarnation, cause)) })
}

// Restart starts every clock anew.
func (r *Registry) Restart() {
	now := time.Now()
	r.send(func(t *Table) { t.Restart(now) })
}

// Workers is everybody, sorted by id.
func (r *Registry) Workers() []View { return ask(r, (*Table).Workers) }

// Worker is one, if it lives.
func (r *Registry) Worker(id messages.WorkerID) (View, bool) {
	type found struct {
		v  View
		ok bool
	}
	f := ask(r, func(t *Table) found { v, ok := t.Worker(id); return found{v, ok} })
	return f.v, f.ok
}

// Hives is every hive, sorted by id.
func (r *Registry) Hives() []messages.HiveInfo { return ask(r, (*Table).Hives) }

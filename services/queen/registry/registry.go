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

// Registry owns a Table: one goroutine, Run, touches it. It is safe for concurrent use. Its methods
// of the same names as [Table]'s pass on what was heard.
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
	c := clock{last: time.Now(), was: true}
	for {
		select {
		case <-ctx.Done():
			return nil
		case cmd := <-r.cmds:
			cmd(t)
		case <-tick.C:
			r.emit(c.tick(t, time.Now(), r.online()))
		}
	}
}

// clock decides what a tick means.
type clock struct {
	last time.Time
	was  bool // online at the last tick
}

// tick ages the table, unless the queen itself was away: offline, or stopped.
func (c *clock) tick(t *Table, now time.Time, online bool) []Change {
	late := now.Sub(c.last) > tickEvery+lateTick
	back := online && !c.was
	c.last, c.was = now, online
	switch {
	case !online:
		return nil
	case late || back:
		return append(t.Restart(now), t.Tick(now)...)
	default:
		return t.Tick(now)
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

// tell passes a signal on with the time of its receipt.
func (r *Registry) tell(fn func(t *Table, now time.Time) []Change) {
	now := time.Now()
	r.send(func(t *Table) { r.emit(fn(t, now)) })
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

// Beat takes a checked heartbeat.
func (r *Registry) Beat(b *messages.Heartbeat) {
	r.tell(func(t *Table, now time.Time) []Change { return t.Beat(b, now) })
}

// HiveBeat takes a hive's inventory.
func (r *Registry) HiveBeat(b *messages.HiveBeat) {
	r.tell(func(t *Table, now time.Time) []Change { return t.HiveBeat(b, now) })
}

// Exited takes a hive's report of a process that ended.
func (r *Registry) Exited(e *messages.WorkerExited, cause string) {
	r.tell(func(t *Table, now time.Time) []Change { return t.Exited(e, cause, now) })
}

// Gone takes a hive's word that it has no such process.
func (r *Registry) Gone(e *messages.WorkerExited) {
	r.tell(func(t *Table, now time.Time) []Change { return t.Gone(e, now) })
}

// Suspect keeps one life of a worker from being picked until it beats or answers.
func (r *Registry) Suspect(id messages.WorkerID, incarnation, cause string) {
	r.tell(func(t *Table, now time.Time) []Change { return t.Suspect(id, incarnation, cause, now) })
}

// Failed takes a request's word that one route to a worker does not answer.
func (r *Registry) Failed(id messages.WorkerID, incarnation, route, cause string) {
	r.tell(func(t *Table, now time.Time) []Change { return t.Failed(id, incarnation, route, cause, now) })
}

// Probed takes the outcome of a probe.
func (r *Registry) Probed(p Probed) {
	r.tell(func(t *Table, now time.Time) []Change { return t.Probed(p, now) })
}

// Disconnected takes the server's word that a connection of a worker has ended.
func (r *Registry) Disconnected(id messages.WorkerID, reason string) {
	r.tell(func(t *Table, now time.Time) []Change { return t.Disconnected(id, reason, now) })
}

// HiveDisconnected takes the server's word that a hive's connection has ended.
func (r *Registry) HiveDisconnected(id messages.HiveID, reason string) {
	r.tell(func(t *Table, now time.Time) []Change { return t.HiveDisconnected(id, reason, now) })
}

// Restart starts every clock anew.
func (r *Registry) Restart() { r.tell((*Table).Restart) }

// Workers is everybody, sorted by id.
func (r *Registry) Workers() []View { return ask(r, (*Table).Workers) }

// Page is at most n workers behind an id, sorted by id.
func (r *Registry) Page(after messages.WorkerID, n int) []View {
	return ask(r, func(t *Table) []View { return t.Page(after, n) })
}

// IDs is everybody's id, sorted.
func (r *Registry) IDs() []string {
	return ask(r, func(t *Table) []string {
		out := make([]string, 0, t.Count())
		for _, id := range t.IDs() {
			out = append(out, string(id))
		}
		return out
	})
}

// Count is how many workers there are.
func (r *Registry) Count() int { return ask(r, (*Table).Count) }

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

// HivesHere are the hives whose connection stands, as far as we know.
func (r *Registry) HivesHere() []messages.HiveInfo { return ask(r, (*Table).HivesHere) }

// BusSuspect says why the bus is suspect, "" if it is not.
func (r *Registry) BusSuspect() string { return ask(r, (*Table).BusSuspect) }

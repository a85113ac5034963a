package router

import (
	"context"
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

const (
	// MaxWaiting is how many requests wait for a slot of one model; more are refused.
	MaxWaiting = 256
	// busyFor is how long a worker that said busy is not asked again, unless it beats.
	busyFor = 200 * time.Millisecond
)

// Dispatcher owns what runs where and who waits. What it knows of workers it is told by Changed. It is
// safe for concurrent use.
type Dispatcher struct {
	route  string
	online func() bool
	opened func() // told when a breaker opens

	mu      sync.Mutex
	serving map[string]map[messages.WorkerID]*registry.View // by model
	life    map[string]*life                                // by incarnation
	waiting map[string][]*waiter                            // by model
}

// life is our own view of one incarnation of a worker.
type life struct {
	running map[*Lease]bool
	picks   uint64
	busy    time.Time // until
	breaker breaker
}

type waiter struct {
	failed map[string]Ways
	got    chan *Lease // buffered, one
}

// Lease is a slot of a worker, by our count. Release it.
type Lease struct {
	Worker messages.WorkerInfo
	// Ways are the routes that may be tried.
	Ways Ways
	// Ctx ends, with [messages.CodeUnavailable] as its cause, when the worker leaves the registry.
	Ctx    context.Context
	cancel context.CancelCauseFunc
	d      *Dispatcher
	model  string
	trial  bool // it tries a worker that kept failing
	bad    Ways // that failed in this try, though another went on
}

// NewDispatcher knows no worker yet. route is [RouteAuto], …; online says whether the queen's own
// connection to the bus is up, opened is told of breakers that open.
func NewDispatcher(route string, online func() bool, opened func()) *Dispatcher {
	return &Dispatcher{route: route, online: online, opened: opened, serving: map[string]map[messages.WorkerID]*registry.View{},
		life: map[string]*life{}, waiting: map[string][]*waiter{}}
}

// Acquire waits for a slot of model, first come first served, until ctx ends. failed holds the
// incarnations where this request failed before, and how. Errors: [messages.CodeNoWorker] when nobody
// serves the model, [messages.CodeBusy] when too many wait, or ctx ends first.
func (d *Dispatcher) Acquire(ctx context.Context, model string, failed map[string]Ways) (*Lease, error) {
	d.mu.Lock()
	if len(d.waiting[model]) >= MaxWaiting {
		d.mu.Unlock()
		return nil, messages.Errorf(messages.CodeBusy, messages.OpInfer, "%d requests wait for %s already", MaxWaiting, model).
			WithHint("try again later, or start another worker")
	}
	w := &waiter{failed: failed, got: make(chan *Lease, 1)}
	d.waiting[model] = append(d.waiting[model], w)
	d.serve(model)
	d.mu.Unlock()
	select {
	case l := <-w.got:
		return w.answer(l, model)
	default:
	}
	select {
	case l := <-w.got:
		return w.answer(l, model)
	case <-ctx.Done():
		answers := d.giveUp(model, w)
		switch {
		case ctx.Err() != context.DeadlineExceeded:
			return nil, ended(ctx)
		case !answers:
			return nil, messages.Errorf(messages.CodeNoWorker, messages.OpInfer, "no worker of %s answers", model).
				WithHint("rbee worker list shows them, rbee events what happened")
		}
		return nil, messages.Errorf(messages.CodeBusy, messages.OpInfer, "no slot of %s became free in time", model).
			WithHint("try again later, or start another worker")
	}
}

func (w *waiter) answer(l *Lease, model string) (*Lease, error) {
	if l == nil {
		return nil, messages.Errorf(messages.CodeNoWorker, messages.OpInfer, "no worker serves %s", model)
	}
	return l, nil
}

// giveUp takes a waiter out of the line; a slot that it got meanwhile goes to the next. It says whether
// any worker of the model can be reached.
func (d *Dispatcher) giveUp(model string, w *waiter) (answers bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.serving[model] {
		l := d.life[v.Incarnation]
		answers = answers || usable(v, d.route, d.online()) != 0 && (l == nil || l.breaker.allows(time.Now()))
	}
	line := d.waiting[model]
	for i := range line {
		if line[i] == w {
			d.setLine(model, append(line[:i:i], line[i+1:]...))
			return answers
		}
	}
	if l := <-w.got; l != nil {
		d.release(l, neither)
		d.serve(model)
	}
	return answers
}

func (d *Dispatcher) setLine(model string, line []*waiter) {
	if len(line) == 0 {
		delete(d.waiting, model)
	} else {
		d.waiting[model] = line
	}
}

// pick takes a slot if one is free; served says whether anybody serves the model at all. Where this
// request failed by one way it is tried by the other, if nobody else serves the model.
func (d *Dispatcher) pick(model string, failed map[string]Ways) (lease *Lease, served bool) {
	now, online := time.Now(), d.online()
	var cs []Candidate
	var of []*registry.View
	others := false
	for _, v := range d.serving[model] {
		ways, was := usable(v, d.route, online), failed[v.Incarnation]
		c := Candidate{ID: v.ID, Incarnation: v.Incarnation, Slots: v.SlotsTotal, Used: v.SlotsUsed, Free: ways != 0,
			Failed: was != 0 && ways&^was == 0, Again: was != 0 && ways&^was != 0}
		if l := d.life[v.Incarnation]; l != nil {
			c.Running, c.Picks, c.Busy = len(l.running), l.picks, now.Before(l.busy)
			c.Shaky, c.Broken = l.breaker.fails > 0, !l.breaker.allows(now)
		}
		drains := v.Status == messages.StatusDraining
		served = served || (!c.Failed && !drains)
		others = others || (was == 0 && c.Free && !c.Broken)
		cs, of = append(cs, c), append(of, v)
	}
	for i := range cs {
		cs[i].Failed = cs[i].Failed || cs[i].Again && others
	}
	best := Pick(cs)
	if best < 0 {
		return nil, served
	}
	return d.lease(of[best].WorkerInfo, model, usable(of[best], d.route, online)&^failed[of[best].Incarnation]), true
}

func (d *Dispatcher) lease(w messages.WorkerInfo, model string, ways Ways) *Lease {
	l := d.life[w.Incarnation]
	if l == nil {
		l = &life{running: map[*Lease]bool{}}
		d.life[w.Incarnation] = l
	}
	lease := &Lease{Worker: w, Ways: ways, d: d, model: model}
	lease.Ctx, lease.cancel = context.WithCancelCause(context.Background())
	l.running[lease] = true
	l.picks++
	lease.trial = l.breaker.began()
	return lease
}

// Outcome is what a request says of the worker it was at.
type Outcome int

// A worker that refuses a bad request works; one that was cancelled, or that drains, says nothing.
const (
	neither Outcome = iota
	Succeeded
	Busy // it refused for want of a slot
	Failed
)

// Works says that the worker has answered: others may be sent there, before this answer is complete.
func (l *Lease) Works() {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if life := l.d.life[l.Worker.Incarnation]; life != nil && life.breaker.fails >= breakAfter {
		life.breaker.answered()
		l.d.serve(l.model)
	}
}

// Release gives the slot back. It may be called once.
func (l *Lease) Release(o Outcome) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.d.release(l, o)
	l.d.serve(l.model)
}

func (d *Dispatcher) release(l *Lease, o Outcome) {
	l.cancel(nil)
	life := d.life[l.Worker.Incarnation]
	if life == nil {
		return
	}
	delete(life.running, l)
	if l.trial && (o == Busy || o == neither) {
		life.breaker.neither()
	}
	switch now := time.Now(); o {
	case Succeeded:
		life.breaker.succeeded()
	case Failed:
		if open := life.breaker.failed(now); open > 0 {
			d.opened()
			time.AfterFunc(open, func() { d.Wake(l.model) })
		}
	case Busy:
		life.busy = now.Add(busyFor)
		time.AfterFunc(busyFor, func() { d.Wake(l.model) })
	}
}

// Wake looks whether those who wait for model can have a slot now.
func (d *Dispatcher) Wake(model string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serve(model)
}

// serve goes along the line. Who failed at some worker waits for another one and holds up nobody
// behind; once nothing is free for somebody who failed nowhere, nothing is for the rest.
func (d *Dispatcher) serve(model string) {
	line := d.waiting[model]
	var left []*waiter
	for i, w := range line {
		lease, served := d.pick(model, w.failed)
		if lease == nil && served {
			left = append(left, w)
			if len(w.failed) == 0 {
				left = append(left, line[i+1:]...)
				break
			}
			continue
		}
		w.got <- lease
	}
	d.setLine(model, left)
}

// Changed takes a change of the registry: a worker that is gone ends its requests as retryable, any
// other change may have freed a slot.
func (d *Dispatcher) Changed(c *registry.Change) {
	if c.Worker.ID == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := c.Kind == registry.WorkerLost || c.Kind == registry.WorkerStopped
	touched := d.learn(&c.Worker, gone)
	switch {
	case gone:
		if l := d.life[c.Worker.Incarnation]; l != nil {
			for lease := range l.running {
				lease.cancel(messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "worker %s is gone: %s", c.Worker.ID, c.Cause))
			}
			delete(d.life, c.Worker.Incarnation)
		}
	default:
		if l := d.life[c.Worker.Incarnation]; l != nil && c.Worker.SlotsUsed < c.Worker.SlotsTotal {
			l.busy = time.Time{}
		}
	}
	for _, model := range touched {
		d.serve(model)
	}
}

// learn keeps the index by model; a worker that is gone, or serves a model no more, leaves it. It
// returns the models that are concerned: those it serves and those it served.
func (d *Dispatcher) learn(v *registry.View, gone bool) (touched []string) {
	for model, workers := range d.serving {
		if workers[v.ID] != nil && (gone || !v.Serves(model)) {
			touched = append(touched, model)
			if delete(workers, v.ID); len(workers) == 0 {
				delete(d.serving, model)
			}
		}
	}
	for i := range v.Models {
		if model := v.Models[i].ID; !gone {
			if d.serving[model] == nil {
				d.serving[model] = map[messages.WorkerID]*registry.View{}
			}
			d.serving[model][v.ID] = v
			touched = append(touched, model)
		}
	}
	return touched
}

// Serves says whether any worker has the model, starting ones included.
func (d *Dispatcher) Serves(model string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.serving[model]) > 0
}

// Counts is how many requests run at workers, how many wait, and how many workers are set aside because
// requests keep failing there.
func (d *Dispatcher) Counts() (running, waiting, broken int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.life {
		running += len(l.running)
		if l.breaker.fails >= breakAfter {
			broken++
		}
	}
	for _, line := range d.waiting {
		waiting += len(line)
	}
	return running, waiting, broken
}

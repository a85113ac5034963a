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
}

type waiter struct {
	failed map[string]bool
	got    chan *Lease // buffered, one
}

// Lease is a slot of a worker, by our count. Release it.
type Lease struct {
	Worker messages.WorkerInfo
	// Ctx ends, with [messages.CodeUnavailable] as its cause, when the worker leaves the registry.
	Ctx    context.Context
	cancel context.CancelCauseFunc
	d      *Dispatcher
	model  string
}

// NewDispatcher knows no worker yet.
func NewDispatcher() *Dispatcher {
	return &Dispatcher{serving: map[string]map[messages.WorkerID]*registry.View{}, life: map[string]*life{}, waiting: map[string][]*waiter{}}
}

// Acquire waits for a slot of model, first come first served, until ctx ends. failed holds the
// incarnations where this request failed before. Errors: [messages.CodeNoWorker] when nobody
// serves the model, [messages.CodeBusy] when too many wait, or ctx ends first.
func (d *Dispatcher) Acquire(ctx context.Context, model string, failed map[string]bool) (*Lease, error) {
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
		d.giveUp(model, w)
		if ctx.Err() == context.DeadlineExceeded {
			return nil, messages.Errorf(messages.CodeBusy, messages.OpInfer, "no slot of %s became free in time", model).
				WithHint("try again later, or start another worker")
		}
		return nil, ended(ctx)
	}
}

func (w *waiter) answer(l *Lease, model string) (*Lease, error) {
	if l == nil {
		return nil, messages.Errorf(messages.CodeNoWorker, messages.OpInfer, "no worker serves %s", model)
	}
	return l, nil
}

// giveUp takes a waiter out of the line; a slot that it got meanwhile goes to the next.
func (d *Dispatcher) giveUp(model string, w *waiter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := d.waiting[model]
	for i := range line {
		if line[i] == w {
			d.setLine(model, append(line[:i:i], line[i+1:]...))
			return
		}
	}
	if l := <-w.got; l != nil {
		d.release(l)
		d.serve(model)
	}
}

func (d *Dispatcher) setLine(model string, line []*waiter) {
	if len(line) == 0 {
		delete(d.waiting, model)
	} else {
		d.waiting[model] = line
	}
}

// pick takes a slot if one is free; served says whether anybody serves the model at all.
func (d *Dispatcher) pick(model string, failed map[string]bool) (lease *Lease, served bool) {
	now := time.Now()
	var cs []Candidate
	var of []*registry.View
	for _, v := range d.serving[model] {
		c := Candidate{ID: v.ID, Incarnation: v.Incarnation, Slots: v.SlotsTotal, Used: v.SlotsUsed, Failed: failed[v.Incarnation],
			Free: !v.Suspect && (v.Status == messages.StatusReady || v.Status == messages.StatusBusy)}
		if l := d.life[v.Incarnation]; l != nil {
			c.Running, c.Picks, c.Busy = len(l.running), l.picks, now.Before(l.busy)
		}
		served = served || (!c.Failed && v.Status != messages.StatusDraining)
		cs, of = append(cs, c), append(of, v)
	}
	best := Pick(cs)
	if best < 0 {
		return nil, served
	}
	return d.lease(of[best].WorkerInfo, model), true
}

func (d *Dispatcher) lease(w messages.WorkerInfo, model string) *Lease {
	l := d.life[w.Incarnation]
	if l == nil {
		l = &life{running: map[*Lease]bool{}}
		d.life[w.Incarnation] = l
	}
	lease := &Lease{Worker: w, d: d, model: model}
	lease.Ctx, lease.cancel = context.WithCancelCause(context.Background())
	l.running[lease] = true
	l.picks++
	return lease
}

// Release gives the slot back; busy says that the worker refused for want of one.
func (l *Lease) Release(busy bool) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.d.release(l)
	if life := l.d.life[l.Worker.Incarnation]; life != nil && busy {
		life.busy = time.Now().Add(busyFor)
		time.AfterFunc(busyFor, func() { l.d.Wake(l.model) })
	}
	l.d.serve(l.model)
}

func (d *Dispatcher) release(l *Lease) {
	l.cancel(nil)
	if life := d.life[l.Worker.Incarnation]; life != nil {
		delete(life.running, l)
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
func (d *Dispatcher) Changed(c registry.Change) {
	if c.Worker.ID == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := c.Kind == registry.WorkerLost || c.Kind == registry.WorkerStopped
	touched := d.learn(&registry.View{WorkerInfo: c.Worker, Suspect: c.Kind == registry.WorkerSuspect}, gone)
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

// Counts is how many requests run at workers and how many wait.
func (d *Dispatcher) Counts() (running, waiting int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.life {
		running += len(l.running)
	}
	for _, line := range d.waiting {
		waiting += len(line)
	}
	return running, waiting
}

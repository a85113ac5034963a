package queen

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

const (
	probeFor   = 2 * time.Second // for a worker's answer
	watchFor   = 5 * time.Second // for a hive's
	watchAgain = 5 * time.Second
	atOnce     = 64      // questions that are out together
	mostTasks  = 100_000 // that wait
)

// pool does tasks on at most atOnce goroutines. What is added after close is not done.
type pool struct {
	mu      sync.Mutex
	tasks   []func()
	running int
	closed  bool
	wg      sync.WaitGroup
}

// add never waits.
func (p *pool) add(task func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.tasks) >= mostTasks {
		return // what is in doubt is asked again
	}
	p.tasks = append(p.tasks, task)
	if p.running < atOnce {
		p.running++
		p.wg.Go(p.work)
	}
}

func (p *pool) work() {
	for {
		p.mu.Lock()
		if p.closed || len(p.tasks) == 0 {
			p.running--
			p.mu.Unlock()
			return
		}
		task := p.tasks[0]
		p.tasks = p.tasks[1:]
		p.mu.Unlock()
		task()
	}
}

// close drops what waits and returns when the rest is done.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wg.Wait()
}

// probe asks one life of a worker by the routes that are in doubt, and tells the registry.
func (q *Queen) probe(p registry.Probe) {
	ctx, cancel := context.WithTimeout(q.life, probeFor)
	defer cancel()
	r := registry.Probed{ID: p.ID, Incarnation: p.Incarnation, Host: p.Host, Port: p.Port}
	var wg sync.WaitGroup
	if p.Bus {
		wg.Go(func() { r.Bus = q.probeBus(ctx, &p) })
	}
	if p.Direct {
		wg.Go(func() { r.Direct = q.probeDirect(ctx, &p) })
	}
	wg.Wait()
	q.registry.Probed(r)
}

func (q *Queen) probeBus(ctx context.Context, p *registry.Probe) registry.Reply {
	err := q.askWorker(ctx, p.ID, p.Incarnation, messages.OpInfo, nil)
	switch {
	case err == nil:
		return registry.Answered
	case errors.Is(err, bus.ErrNobody):
		return registry.Refused
	case !q.conn.Connected():
		return registry.NotAsked
	default:
		return registry.NoReply
	}
}

// probeDirect believes only the life that was asked for: behind an address from another machine's point
// of view, or a port that was given away, may be anybody.
func (q *Queen) probeDirect(ctx context.Context, p *registry.Probe) registry.Reply {
	info, err := q.direct.Info(ctx, &messages.WorkerInfo{ID: p.ID, Host: p.Host, Port: p.Port})
	switch {
	case err == nil && info.ID == p.ID && info.Incarnation == p.Incarnation:
		return registry.Answered
	case err == nil, errors.Is(err, syscall.ECONNREFUSED):
		return registry.Refused
	default:
		return registry.NoReply
	}
}

// askWorker has one life of a worker do op; answer may be nil.
func (q *Queen) askWorker(ctx context.Context, id messages.WorkerID, incarnation, op string, answer *messages.WorkerInfo) error {
	reply := messages.ReplySubject(string(q.conn.Caller), id, messages.NewID(""))
	var to any
	if answer != nil {
		to = answer
	}
	return q.conn.RequestAt(ctx, messages.WorkerSubject(id, incarnation, op), reply, &messages.Versioned{}, to)
}

// watch has the worker's hive watch its process: it may not be the life of the hive that spawned it. A
// worker whose first beat comes while this queen spawns it is watched already.
func (q *Queen) watch(w *messages.WorkerInfo, first bool) {
	if _, spawning := q.spawns.jobOf(w.ID); spawning && first {
		return
	}
	ctx, cancel := context.WithTimeout(q.life, watchFor)
	defer cancel()
	err := q.conn.Request(ctx, messages.HiveSubject(w.Hive, messages.OpWatch),
		&messages.WatchRequest{Worker: w.ID, Incarnation: w.Incarnation, PID: w.PID, StartTime: w.StartTime}, nil)
	switch messages.CodeOf(err) {
	case "":
	case messages.CodeNotFound:
		q.registry.Gone(&messages.WorkerExited{Worker: w.ID, Incarnation: w.Incarnation, Hive: w.Hive, PID: w.PID, StartTime: w.StartTime})
	default: // a hive that is away is asked when it is back
		q.log.Debug("worker not watched", "worker", w.ID, "hive", w.Hive, "error", err)
		if now, ok := q.registry.Worker(w.ID); ok && now.Incarnation == w.Incarnation && q.knowsHive(w.Hive) {
			time.AfterFunc(watchAgain, func() { q.errands.add(func() { q.watch(w, false) }) })
		}
	}
}

package queen

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

// changed runs on the registry's goroutine: it must not wait. Routing, buckets, events, probes and
// watches follow from what changed.
func (q *Queen) changed(cs []registry.Change) {
	for i := range cs {
		c := &cs[i]
		q.dispatcher.Changed(c)
		q.mirror(c)
		if c.Probe != nil {
			q.probes.add(func() { q.probe(*c.Probe) })
		}
		if c.Watch {
			q.errands.add(func() { q.watch(&c.Worker.WorkerInfo, c.Kind != "") })
		}
		if c.Kind != "" {
			q.announce(c)
		}
	}
	q.heard.poke()
}

// announce tells the world, the log and the metrics.
func (q *Queen) announce(c *registry.Change) {
	e := &messages.Event{Kind: c.Kind, Worker: c.Worker.ID, Hive: c.Hive, Model: c.Worker.ModelID, Cause: c.Cause, At: time.Now().UTC()}
	if c.Worker.ID != "" {
		info := c.Worker.WorkerInfo
		e.Hive, e.Info = info.Hive, &info
	}
	_ = q.conn.PublishJSON(messages.EventSubject("queen", q.cfg.Name, c.Kind), e) // the bus is down: the log has it
	q.log.Info(c.Kind, "worker", e.Worker, "hive", e.Hive, "model", e.Model, "cause", e.Cause)
	switch c.Kind {
	case registry.WorkerLost:
		q.metrics.Lost(string(c.Loss))
	case registry.WorkerSuspect:
		q.metrics.Suspected(string(c.Doubt))
	case registry.HiveLost:
		hive, cause := c.Hive, c.Cause
		q.errands.add(func() { q.keeper.Lost(bus.RoleHive.Caller(string(hive)), cause) })
	}
}

func (q *Queen) mirror(c *registry.Change) {
	switch {
	case c.Kind == registry.WorkerLost || c.Kind == registry.WorkerStopped:
		q.workers.Delete(string(c.Worker.ID))
	case c.Kind == registry.HiveLost:
		q.hives.Delete(string(c.Hive))
	case c.Inventory != nil:
		put(q.hives, string(c.Hive), c.Inventory)
	case c.Identity:
		info := c.Worker.WorkerInfo
		info.SlotsUsed, info.TokensPerSecond, info.Steps, info.Progress = 0, 0, 0, 0 // not stored: they change with every request
		put(q.workers, string(info.ID), info)
	}
}

func put(m *bus.Mirror, key string, v any) {
	if data, err := json.Marshal(v); err == nil {
		m.Put(key, data)
	}
}

// topic wakes everybody who waits for a change.
type topic struct {
	mu sync.Mutex
	ch chan struct{}
}

func newTopic() *topic { return &topic{ch: make(chan struct{})} }

func (t *topic) wait() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ch
}

func (t *topic) poke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.ch)
	t.ch = make(chan struct{})
}

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
	case c.Kind == registry.HiveLost, c.Inventory != nil:
		q.hives.Touch(string(c.Hive))
	case c.Identity:
		q.workers.Touch(string(c.Worker.ID))
	}
}

// workerSource is what rbee_workers shows: the registry, without what changes with every request.
func (q *Queen) workerSource() bus.Source {
	return bus.Source{
		Keys: func() []string { return q.registry.IDs() },
		Value: func(key string) ([]byte, bool) {
			w, ok := q.registry.Worker(messages.WorkerID(key))
			if !ok {
				return nil, false
			}
			info := w.WorkerInfo
			info.SlotsUsed, info.TokensPerSecond, info.Steps, info.Progress = 0, 0, 0, 0
			data, err := json.Marshal(info)
			return data, err == nil
		},
	}
}

func (q *Queen) hiveSource() bus.Source {
	return bus.Source{
		Keys: func() (keys []string) {
			for _, h := range q.registry.Hives() {
				keys = append(keys, string(h.ID))
			}
			return keys
		},
		Value: func(key string) ([]byte, bool) {
			h, err := q.hiveGet(q.life, nil, &messages.HiveRef{ID: messages.HiveID(key)})
			if err != nil {
				return nil, false
			}
			data, err := json.Marshal(h)
			return data, err == nil
		},
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

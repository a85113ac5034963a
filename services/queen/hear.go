package queen

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

// listen subscribes what the queen hears and registers what it answers.
func (q *Queen) listen(ctx context.Context) (leave func(), err error) {
	var stops []func()
	leave = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	for subject, fn := range map[string]func(bus.Msg){
		messages.HeartbeatWildcard:                          q.hearBeat,
		messages.HiveBeatWildcard:                           q.hearHive,
		messages.WorkerExitWildcard:                         q.hearExit,
		messages.DoSubject("*", messages.OpInferCtl) + ".*": q.relay.control,
	} {
		stop, err := q.conn.Subscribe(subject, fn)
		if err != nil {
			leave()
			return nil, err
		}
		stops = append(stops, stop)
	}
	stops = append(stops, q.conn.OnReconnect(q.registry.Restart))
	svc, err := q.conn.Serve(ctx, "rbee-queen", q.cfg.Version, "orchestrates workers and hives", q.endpoints())
	if err != nil {
		leave()
		return nil, err
	}
	stops = append(stops, svc.Stop)
	return leave, nil
}

// hearBeat takes only a well-formed beat of the subject's own worker, without a reply.
func (q *Queen) hearBeat(m bus.Msg) {
	var b messages.Heartbeat
	id := messages.SubjectToken(m.Subject, 2)
	if m.Reply != "" || messages.FormatOf(m.Data) != messages.Msgpack || messages.Decode(m.Data, &b) != nil || b.Check(id) != nil || !shown(&b.Worker) {
		q.dropped.Add(1)
		return
	}
	q.registry.Beat(&b)
}

// shown says whether a worker can be shown: JSON has no NaN, and one worker's long texts must not push
// a list over the limit of a message.
func shown(w *messages.WorkerInfo) bool {
	for _, f := range []float64{w.Progress, w.TokensPerSecond} {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	long := func(m messages.ModelInfo) bool { return len(m.ID) > 512 }
	return max(len(w.Device), len(w.Implementation), len(w.Version), len(w.Status)) <= 256 && !slices.ContainsFunc(w.Models, long)
}

func (q *Queen) hearHive(m bus.Msg) {
	var b messages.HiveBeat
	id := messages.SubjectToken(m.Subject, 2)
	if m.Reply != "" || messages.Decode(m.Data, &b) != nil || string(b.Hive.ID) != id || !messages.ValidID(id) {
		q.dropped.Add(1)
		return
	}
	q.registry.HiveBeat(&b)
}

// hearExit believes a hive only about workers of its own.
func (q *Queen) hearExit(m bus.Msg) {
	var e messages.WorkerExited
	hive := messages.HiveID(messages.SubjectToken(m.Subject, 3))
	if m.Reply != "" || messages.Decode(m.Data, &e) != nil || e.Hive != hive || messages.CheckID("worker id", string(e.Worker)) != nil {
		q.dropped.Add(1)
		return
	}
	cause := exitCause(&e)
	if w, ok := q.registry.Worker(e.Worker); !ok || w.Hive == hive {
		q.registry.Exited(&e, cause)
	}
	q.spawns.exited(&e, cause)
}

// exitCause says how a process ended: "signal SIGKILL after 12s, stderr: …".
func exitCause(e *messages.WorkerExited) string {
	s := fmt.Sprintf("exit %d", e.Code)
	if e.Signal != "" {
		s = "signal " + e.Signal
	}
	s += " after " + (time.Duration(e.RanMillis) * time.Millisecond).Round(100*time.Millisecond).String()
	if tail := strings.TrimSpace(e.Stderr); tail != "" {
		s += ", stderr: " + lastLines(tail, 3)
	}
	return s
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// event is what the queen publishes of a change.
type event struct {
	messages.Versioned
	Kind   string              `json:"kind"`
	Worker messages.WorkerID   `json:"worker,omitempty"`
	Hive   messages.HiveID     `json:"hive,omitempty"`
	Model  string              `json:"model,omitempty"`
	Cause  string              `json:"cause,omitempty"`
	At     time.Time           `json:"at"`
	Info   messages.WorkerInfo `json:"info,omitzero"`
}

// changed runs on the registry's goroutine: it must not wait. KV and events follow from what changed.
func (q *Queen) changed(cs []registry.Change) {
	for _, c := range cs {
		q.dispatcher.Changed(c)
		q.mirror(c)
		if c.Kind == "" {
			continue
		}
		e := event{Kind: c.Kind, Worker: c.Worker.ID, Hive: c.Hive, Model: c.Worker.ModelID, Cause: c.Cause, At: time.Now().UTC(), Info: c.Worker}
		_ = q.conn.PublishJSON(messages.EventSubject("queen", q.cfg.Name, c.Kind), &e)
		q.log.Info(c.Kind, "worker", c.Worker.ID, "hive", c.Hive, "model", c.Worker.ModelID, "cause", c.Cause)
	}
	q.heard.poke()
}

func (q *Queen) mirror(c registry.Change) {
	switch {
	case c.Kind == registry.WorkerLost || c.Kind == registry.WorkerStopped:
		q.workers.Delete(string(c.Worker.ID))
	case c.Kind == registry.HiveLost:
		q.hives.Delete(string(c.Hive))
	case c.Inventory != nil:
		put(q.hives, string(c.Hive), c.Inventory)
	case c.Identity:
		info := c.Worker
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

// Package registry knows the live workers and hives. Table decides, as a pure function of what was
// heard and when; Registry owns one Table on a goroutine of its own.
package registry

import (
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/rbee-project/rbee/messages"
)

type worker struct {
	info    messages.WorkerInfo
	seq     uint64
	heard   time.Time // its last beat or answer
	suspect string    // cause, or ""
	silent  bool      // suspect for its silence alone
	cut     bool      // the server told that its connection ended; not heard since
	stored  time.Time
	restore time.Duration

	bus, direct RouteState
	directWas   bool // its port has answered: the address is its own
	probing     bool
	due         time.Time // of the next probe, should one be needed
	probes      int       // that failed in a row
}

func (w *worker) view() View {
	return View{WorkerInfo: w.info, Suspect: w.suspect, Bus: w.bus, Direct: w.direct}
}

// death is a life that ended.
type death struct {
	id          messages.WorkerID
	incarnation string
}

// life is one incarnation and when it last beat.
type life struct {
	incarnation string
	at          time.Time
}

// Table is not safe for concurrent use. Every method takes the time of receipt; the sender's clock
// is never used.
type Table struct {
	workers map[messages.WorkerID]*worker
	hives   map[messages.HiveID]*hive
	dead    map[death]time.Time        // lives that ended: their late beats change nothing
	last    map[messages.WorkerID]life // the latest of each id
	mass    string                     // why the bus is suspect, or ""
	order   []messages.WorkerID        // the ids, sorted; nil when it must be made anew
}

// A KV key is written again although nothing changed after 2 to 4 minutes: the bucket forgets after 10.
// Each id has a time of its own, so that workers that came together are not written together.
const (
	restoreFirst = 2 * time.Minute
	restore      = 4 * time.Minute
)

func restoreAfter(id string) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return restoreFirst + time.Duration(h.Sum32())*time.Millisecond%(restore-restoreFirst)
}

// deadKept is how long an ended incarnation, and the last of an id, is remembered.
const deadKept = 10 * time.Minute

// NewTable is empty.
func NewTable() *Table {
	return &Table{workers: map[messages.WorkerID]*worker{}, hives: map[messages.HiveID]*hive{}, dead: map[death]time.Time{},
		last: map[messages.WorkerID]life{}}
}

// Beat takes a checked heartbeat. A beat of an incarnation that ended, or older than the last one,
// changes nothing.
func (t *Table) Beat(b *messages.Heartbeat, now time.Time) []Change {
	in := b.Worker
	this := death{in.ID, in.Incarnation}
	if _, ended := t.dead[this]; ended {
		t.dead[this] = now // remembered as long as it talks
		return nil
	}
	w := t.workers[in.ID]
	var out []Change
	// A life that only fell silent may be back, but not once another has taken its id.
	if before, known := t.last[in.ID]; known && before.incarnation != in.Incarnation {
		t.dead[death{in.ID, before.incarnation}] = now
	}
	t.last[in.ID] = life{in.Incarnation, now}
	if w != nil && w.info.Incarnation != in.Incarnation {
		out = append(out, t.lose(w, LossReplaced, "replaced by a new process of the same id"))
		w = nil
	}
	if w != nil && b.Seq <= w.seq {
		return out
	}
	if in.Status == messages.StatusStopped {
		t.dead[this] = now
		if w != nil {
			w.info = in
			out = append(out, t.end(w, WorkerStopped, "it stopped"))
		}
		return out
	}
	fresh := w == nil
	if fresh {
		w = &worker{bus: RouteUp, due: now, restore: restoreAfter(string(in.ID))}
		t.workers[in.ID] = w
		t.order = nil
	}
	return append(out, t.take(w, b, fresh, now))
}

// take lets a living worker's beat in.
func (t *Table) take(w *worker, b *messages.Heartbeat, fresh bool, now time.Time) Change {
	old, wasSuspect := w.info, w.suspect != ""
	w.info, w.seq = b.Worker, b.Seq
	if old.Host != w.info.Host || old.Port != w.info.Port {
		w.direct, w.directWas, w.due = RouteUnknown, false, now
	}
	w.alive(now)
	c := Change{Kind: kindOf(w.info.Status), Identity: identityChanged(&old, &w.info) || now.Sub(w.stored) >= w.restore,
		Watch: fresh && w.info.Hive != ""}
	if phase(old.Status) == phase(w.info.Status) && !wasSuspect {
		c.Kind = ""
	}
	if wasSuspect {
		c.Cause = "it beats again"
		w.due = now // what is in doubt is asked at once
	}
	if c.Identity {
		w.stored = now
	}
	c.Probe = w.probe(now)
	c.Worker = w.view()
	return c
}

// alive takes a sign of life.
func (w *worker) alive(now time.Time) {
	if now.After(w.heard) { // a beat may have waited while the clocks were started anew
		w.heard = now
	}
	w.suspect, w.silent, w.cut = "", false, false
}

// Exited takes a hive's report. It ends the worker only if the process is the one that is known. A
// report may overtake the last beats, which come by another connection.
func (t *Table) Exited(e *messages.WorkerExited, cause string, now time.Time) []Change {
	return t.gone(e, LossExit, cause, now)
}

// Gone is a hive's word that it has no such process.
func (t *Table) Gone(e *messages.WorkerExited, now time.Time) []Change {
	return t.gone(e, LossGone, "its process is gone", now)
}

func (t *Table) gone(e *messages.WorkerExited, why Loss, cause string, now time.Time) []Change {
	w := t.workers[e.Worker]
	if e.Incarnation != "" && (w == nil || w.info.Incarnation != e.Incarnation) {
		t.dead[death{e.Worker, e.Incarnation}] = now
	}
	if w == nil || w.info.PID != e.PID || w.info.StartTime != e.StartTime {
		return nil
	}
	t.dead[death{w.info.ID, w.info.Incarnation}] = now
	return []Change{t.lose(w, why, cause)}
}

// Suspect keeps one life of a worker from being picked until it beats or answers.
func (t *Table) Suspect(id messages.WorkerID, incarnation, cause string, now time.Time) []Change {
	w := t.workers[id]
	if w == nil || w.info.Incarnation != incarnation {
		return nil
	}
	return w.doubt(DoubtRequest, cause, now)
}

// doubt makes w suspect, and has it asked at once.
func (w *worker) doubt(why Doubt, cause string, now time.Time) []Change {
	if w.suspect != "" {
		w.silent = false
		return nil
	}
	w.suspect, w.due = cause, now
	c := Change{Kind: WorkerSuspect, Doubt: why, Cause: cause, Probe: w.probe(now)}
	c.Worker = w.view()
	return []Change{c}
}

// Disconnected takes the server's word that a connection of worker id has ended. It may be back at
// once, so the worker is suspect, not lost.
func (t *Table) Disconnected(id messages.WorkerID, reason string, now time.Time) []Change {
	w := t.workers[id]
	if w == nil {
		return nil
	}
	w.cut = true
	return w.doubt(DoubtDisconnect, "its connection ended: "+reason, now)
}

// Workers is everybody, sorted by id.
func (t *Table) Workers() []View { return t.Page("", len(t.workers)) }

// Page is at most n workers behind an id, sorted by id.
func (t *Table) Page(after messages.WorkerID, n int) []View {
	ids := t.IDs()
	from, there := slices.BinarySearch(ids, after)
	if there {
		from++
	}
	ids = ids[from:min(len(ids), from+n)]
	out := make([]View, 0, len(ids))
	for _, id := range ids {
		out = append(out, t.workers[id].view())
	}
	return out
}

// IDs is everybody's id, sorted. It is shared: who wants to change it copies it.
func (t *Table) IDs() []messages.WorkerID {
	if t.order == nil {
		t.order = slices.Sorted(maps.Keys(t.workers))
	}
	return t.order
}

// Count is how many there are.
func (t *Table) Count() int { return len(t.workers) }

// Worker is one, if it lives.
func (t *Table) Worker(id messages.WorkerID) (View, bool) {
	w := t.workers[id]
	if w == nil {
		return View{}, false
	}
	return w.view(), true
}

func (t *Table) end(w *worker, kind, cause string) Change {
	delete(t.workers, w.info.ID)
	t.order = nil
	return Change{Kind: kind, Worker: w.view(), Cause: cause, Identity: true}
}

func (t *Table) lose(w *worker, why Loss, cause string) Change {
	c := t.end(w, WorkerLost, cause)
	c.Loss = why
	return c
}

// phase folds ready and busy: a worker changes between them with every request.
func phase(s messages.Status) messages.Status {
	if s == messages.StatusBusy {
		return messages.StatusReady
	}
	return s
}

func kindOf(s messages.Status) string {
	switch phase(s) {
	case messages.StatusReady:
		return WorkerReady
	case messages.StatusDraining:
		return WorkerDraining
	default:
		return WorkerStarting
	}
}

func identityChanged(a, b *messages.WorkerInfo) bool {
	return a.Incarnation != b.Incarnation || a.Host != b.Host || a.Port != b.Port || phase(a.Status) != phase(b.Status) ||
		a.PID != b.PID || a.ModelID != b.ModelID || !slices.EqualFunc(a.Models, b.Models, sameModel)
}

func sameModel(a, b messages.ModelInfo) bool {
	return a.ID == b.ID && a.Loaded == b.Loaded && a.ContextLength == b.ContextLength && a.Slots == b.Slots &&
		slices.Equal(a.Capabilities, b.Capabilities)
}

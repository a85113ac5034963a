// Package registry knows the live workers and hives. Table decides, as a pure function of what was
// heard and when; Registry owns one Table on a goroutine of its own.
package registry

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// Kinds of [Change], and of the events that the queen makes of them.
const (
	WorkerStarting = "worker.starting"
	WorkerReady    = "worker.ready"
	WorkerDraining = "worker.draining"
	WorkerSuspect  = "worker.suspect"
	WorkerLost     = "worker.lost"    // fell silent, or its process ended
	WorkerStopped  = "worker.stopped" // said goodbye
	HiveUp         = "hive.up"
	HiveLost       = "hive.lost"
)

// Change is something that happened to a worker or a hive, with its cause.
type Change struct {
	Kind   string
	Worker messages.WorkerInfo // for worker kinds
	Hive   messages.HiveID     // for hive kinds
	// Inventory is set when the hive's KV key should be written.
	Inventory *messages.HiveInfo
	Cause     string
	// Identity is true when address, model, status or process changed: what the KV bucket holds.
	Identity bool
}

// View is a worker as routing sees it.
type View struct {
	messages.WorkerInfo
	Suspect bool // not picked until it beats
}

type worker struct {
	info    messages.WorkerInfo
	seq     uint64
	heard   time.Time
	suspect string // cause, or ""
	stored  time.Time
}

type hive struct {
	info   messages.HiveInfo
	heard  time.Time
	stored time.Time
}

// Table is not safe for concurrent use. Every method takes the time of receipt; the sender's clock
// is never used.
type Table struct {
	workers map[messages.WorkerID]*worker
	hives   map[messages.HiveID]*hive
	dead    map[string]time.Time // incarnations that ended: their late beats change nothing
}

// restore is how often a worker's KV key is written again although nothing changed: the bucket
// forgets after 10 minutes.
const restore = 4 * time.Minute

// deadKept is how long an ended incarnation is remembered.
const deadKept = 10 * time.Minute

// NewTable is empty.
func NewTable() *Table {
	return &Table{workers: map[messages.WorkerID]*worker{}, hives: map[messages.HiveID]*hive{}, dead: map[string]time.Time{}}
}

// Beat takes a checked heartbeat. A beat of an incarnation that ended, or older than the last one,
// changes nothing.
func (t *Table) Beat(b *messages.Heartbeat, now time.Time) []Change {
	in := b.Worker
	if _, ended := t.dead[in.Incarnation]; ended {
		t.dead[in.Incarnation] = now // remembered as long as it talks
		return nil
	}
	w := t.workers[in.ID]
	var out []Change
	if w != nil && w.info.Incarnation != in.Incarnation {
		t.dead[w.info.Incarnation] = now
		out = append(out, t.end(w, WorkerLost, "replaced by a new process of the same id"))
		w = nil
	}
	if w != nil && b.Seq <= w.seq {
		return out
	}
	if in.Status == messages.StatusStopped {
		t.dead[in.Incarnation] = now
		if w != nil {
			w.info = in
			out = append(out, t.end(w, WorkerStopped, "it stopped"))
		}
		return out
	}
	if w == nil {
		w = &worker{}
		t.workers[in.ID] = w
	}
	old, wasSuspect := w.info, w.suspect != ""
	w.info, w.seq, w.heard, w.suspect = in, b.Seq, now, ""
	c := Change{Worker: in, Kind: kindOf(in.Status), Identity: identityChanged(&old, &in) || now.Sub(w.stored) >= restore}
	if phase(old.Status) == phase(in.Status) && !wasSuspect {
		c.Kind = ""
	}
	if wasSuspect {
		c.Cause = "it beats again"
	}
	if c.Identity {
		w.stored = now
	}
	return append(out, c)
}

// Exited takes a hive's report. It ends the worker only if the process is the one that is known. A
// report may overtake the last beats, which come by another connection.
func (t *Table) Exited(e *messages.WorkerExited, cause string, now time.Time) []Change {
	w := t.workers[e.Worker]
	if w == nil && e.Incarnation != "" {
		t.dead[e.Incarnation] = now
	}
	if w == nil || w.info.PID != e.PID || w.info.StartTime != e.StartTime {
		return nil
	}
	t.dead[w.info.Incarnation] = now
	return []Change{t.end(w, WorkerLost, cause)}
}

// Suspect keeps one life of a worker from being picked until it beats.
func (t *Table) Suspect(id messages.WorkerID, incarnation, cause string) []Change {
	w := t.workers[id]
	if w == nil || w.info.Incarnation != incarnation || w.suspect != "" {
		return nil
	}
	w.suspect = cause
	return []Change{{Kind: WorkerSuspect, Worker: w.info, Cause: cause}}
}

// HiveBeat takes a hive's inventory.
func (t *Table) HiveBeat(b *messages.HiveBeat, now time.Time) []Change {
	h := t.hives[b.Hive.ID]
	c := Change{Hive: b.Hive.ID}
	if h == nil {
		h = &hive{}
		t.hives[b.Hive.ID] = h
		c.Kind = HiveUp
	}
	old := h.info
	h.info, h.heard = b.Hive, now
	if !slices.Equal(old.Models, b.Hive.Models) || !slices.Equal(old.Engines, b.Hive.Engines) || now.Sub(h.stored) >= restore {
		h.stored, c.Inventory = now, &b.Hive
	}
	return []Change{c}
}

// Tick ages everything: silence of [messages.SuspectAfter] makes suspect, of [messages.LostAfter]
// lost. Who only fell silent is not remembered as dead: a machine that slept beats again.
func (t *Table) Tick(now time.Time) []Change {
	var out []Change
	for _, w := range t.sorted() {
		switch silent := now.Sub(w.heard); {
		case silent >= messages.LostAfter:
			out = append(out, t.end(w, WorkerLost, "silent for "+silent.Round(time.Second).String()))
		case silent >= messages.SuspectAfter:
			out = append(out, t.Suspect(w.info.ID, w.info.Incarnation, "silent for "+silent.Round(time.Second).String())...)
		}
	}
	for id, h := range t.hives {
		if now.Sub(h.heard) >= messages.LostAfter {
			delete(t.hives, id)
			out = append(out, Change{Kind: HiveLost, Hive: id, Cause: "silent"})
		}
	}
	maps.DeleteFunc(t.dead, func(_ string, at time.Time) bool { return now.Sub(at) > deadKept })
	return out
}

// Restart starts every clock anew: after the queen's own connection was down, silence says nothing.
func (t *Table) Restart(now time.Time) {
	for _, w := range t.workers {
		w.heard = now
	}
	for _, h := range t.hives {
		h.heard = now
	}
}

// Workers is everybody, sorted by id.
func (t *Table) Workers() []View {
	out := make([]View, 0, len(t.workers))
	for _, w := range t.sorted() {
		out = append(out, View{WorkerInfo: w.info, Suspect: w.suspect != ""})
	}
	return out
}

// Worker is one, if it lives.
func (t *Table) Worker(id messages.WorkerID) (View, bool) {
	w := t.workers[id]
	if w == nil {
		return View{}, false
	}
	return View{WorkerInfo: w.info, Suspect: w.suspect != ""}, true
}

// Hives is every hive, sorted by id.
func (t *Table) Hives() []messages.HiveInfo {
	out := make([]messages.HiveInfo, 0, len(t.hives))
	for _, h := range t.hives {
		out = append(out, h.info)
	}
	slices.SortFunc(out, func(a, b messages.HiveInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (t *Table) sorted() []*worker {
	return slices.SortedFunc(maps.Values(t.workers), func(a, b *worker) int { return cmp.Compare(a.info.ID, b.info.ID) })
}

func (t *Table) end(w *worker, kind, cause string) Change {
	delete(t.workers, w.info.ID)
	return Change{Kind: kind, Worker: w.info, Cause: cause, Identity: true}
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
		a.PID != b.PID || a.ModelID != b.ModelID || !slices.Equal(a.Models, b.Models)
}

package registry

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// world is one table, and what the rules say must be so of worker w1: life a, or b that takes its id. Life
// z died before.
type world struct {
	table *Table
	now   time.Time
	skew  time.Duration // of the senders' clocks
	seq   uint64        // of a's last beat

	who         string // the life that lives, or ""
	heard       time.Time
	dead        map[string]bool
	suspect     bool
	bus, direct RouteState
	directWas   bool
	out         bool     // a probe is out
	ends        []string // that the last signal must bring
	last        string   // that beat, of lives that are not dead
}

func (w *world) beat(inc string, seq uint64, status messages.Status) []Change {
	b := beat(inc, seq, status)
	b.SentAt = w.now.Add(w.skew)
	b.Worker.Port = 8080
	if inc != "a" {
		b.Worker.PID = 200
	}
	return w.table.Beat(b, w.now)
}

func (w *world) end(kind string, why Loss) {
	w.ends = append(w.ends, w.who+" "+kind+" "+string(why))
	w.who, w.out = "", false
}

// beats is what a beat that is not late must bring.
func (w *world) beats(inc string) {
	if w.dead[inc] {
		return
	}
	if w.last != "" && w.last != inc {
		w.dead[w.last] = true
	}
	w.last = inc
	if w.who != inc {
		if w.who != "" {
			w.dead[w.who] = true
			w.end(WorkerLost, LossReplaced)
		}
		w.who, w.bus, w.direct, w.directWas, w.out = inc, RouteUp, RouteUnknown, false, false
	}
	w.heard, w.suspect = w.now, false
}

func (w *world) probed(bus, direct Reply) []Change {
	return w.table.Probed(Probed{ID: "w1", Incarnation: "a", Host: "", Port: 8080, Bus: bus, Direct: direct}, w.now)
}

func (w *world) aged() {
	switch silent := w.now.Sub(w.heard); {
	case w.who != "" && silent >= messages.LostAfter:
		w.end(WorkerLost, LossSilence)
	case silent >= messages.SuspectAfter:
		w.suspect = true
	}
}

// signal is one thing that can be heard, and what it must do by the rules.
type signal struct {
	name string
	wait time.Duration // before it
	do   func(*world) []Change
	rule func(*world)
}

// ofA is a rule for signals that concern life a only while it lives.
func ofA(rule func(*world)) func(*world) {
	return func(w *world) {
		if w.who == "a" {
			rule(w)
		}
	}
}

func nothing(*world) {}

func doubted(w *world) { w.suspect = true }

var signals = []signal{
	{"beat", time.Second, func(w *world) []Change { w.seq++; return w.beat("a", w.seq, ready) }, func(w *world) { w.beats("a") }},
	{"older beat", time.Second, func(w *world) []Change { return w.beat("a", 1, draining) }, func(w *world) {
		if w.who != "a" {
			w.beats("a")
		}
	}},
	{"beat of the dead", time.Second, func(w *world) []Change { return w.beat("z", 1000, ready) }, nothing},
	{"beat of a new life", time.Second, func(w *world) []Change { return w.beat("b", uint64(w.now.Unix()), ready) }, func(w *world) { w.beats("b") }},
	{"goodbye", time.Second, func(w *world) []Change { w.seq++; return w.beat("a", w.seq, stopped) }, func(w *world) {
		w.dead["a"] = true
		ofA(func(w *world) { w.end(WorkerStopped, "") })(w)
	}},
	{"exit report", time.Second, func(w *world) []Change { return w.table.Exited(exited(100, 7, "a"), "exit 1", w.now) }, func(w *world) {
		w.dead["a"] = true
		ofA(func(w *world) { w.end(WorkerLost, LossExit) })(w)
	}},
	{"disconnect", time.Second, func(w *world) []Change { return w.table.Disconnected("w1", "stale", w.now) }, doubted},
	{"answer by bus", time.Second, func(w *world) []Change { return w.probed(Answered, NoReply) }, ofA(func(w *world) {
		w.bus, w.direct = RouteUp, after(w.direct, NoReply)
		w.out, w.suspect, w.heard = false, false, w.now
	})},
	{"answer by direct", time.Second, func(w *world) []Change { return w.probed(NoReply, Answered) }, ofA(func(w *world) {
		w.bus, w.direct, w.directWas = after(w.bus, NoReply), RouteUp, true
		w.out, w.suspect, w.heard = false, false, w.now
	})},
	{"refused on both", time.Second, func(w *world) []Change { return w.probed(Refused, Refused) }, ofA(func(w *world) {
		w.bus, w.direct, w.out = RouteDown, RouteDown, false
		if w.directWas {
			w.end(WorkerLost, LossRefused)
		}
	})},
	{"no reply", time.Second, func(w *world) []Change { return w.probed(NoReply, NoReply) }, ofA(func(w *world) {
		w.bus, w.direct, w.out = after(w.bus, NoReply), after(w.direct, NoReply), false
	})},
	{"12 s", messages.SuspectAfter, func(w *world) []Change { return w.table.Tick(w.now) }, (*world).aged},
	{"20 s", messages.LostAfter, func(w *world) []Change { return w.table.Tick(w.now) }, (*world).aged},
	{"bus failed", time.Second, func(w *world) []Change { return w.table.Failed("w1", "a", ByBus, "no answer", w.now) }, ofA(func(w *world) { w.bus = RouteDown })},
	{"direct failed", time.Second, func(w *world) []Change { return w.table.Failed("w1", "a", ByDirect, "no answer", w.now) }, ofA(func(w *world) { w.direct = RouteDown })},
	{"stall", time.Second, func(w *world) []Change { return w.table.Suspect("w1", "a", "no answer", w.now) }, ofA(doubted)},
}

// newWorld has life a; asked says that its port has answered.
func newWorld(asked bool, skew time.Duration) *world {
	w := &world{table: NewTable(), now: epoch, skew: skew, seq: 5, dead: map[string]bool{"z": true}}
	w.table.Exited(exited(300, 7, "z"), "exit 1", w.now)
	w.beat("a", w.seq, ready)
	w.beats("a")
	w.out = true
	if asked {
		w.probed(NotAsked, Answered)
		w.direct, w.directWas, w.out = RouteUp, true, false
	}
	return w
}

// hear lets s happen and returns what is wrong then.
func (w *world) hear(s signal) (got []Change, wrong []string) {
	wasDead := map[string]bool{}
	for inc := range w.dead {
		wasDead[inc] = true
	}
	w.now = w.now.Add(s.wait)
	w.ends = nil
	got = s.do(w)
	s.rule(w)
	var ends []string
	for _, c := range got {
		wrong = append(wrong, w.checkChange(c, wasDead)...)
		if c.Kind == WorkerLost || c.Kind == WorkerStopped {
			ends = append(ends, c.Worker.Incarnation+" "+c.Kind+" "+string(c.Loss))
		}
	}
	if !slices.Equal(ends, w.ends) {
		wrong = append(wrong, "ended: "+strings.Join(ends, ", ")+"; by the rules: "+strings.Join(w.ends, ", "))
	}
	return got, append(wrong, w.checkView()...)
}

func (w *world) checkChange(c Change, wasDead map[string]bool) (wrong []string) {
	lost, ended := c.Kind == WorkerLost, c.Kind == WorkerLost || c.Kind == WorkerStopped
	for what, bad := range map[string]bool{
		"a change of the dead":   wasDead[c.Worker.Incarnation],
		"no cause":               c.Cause == "" && (ended || c.Kind == WorkerSuspect || c.Kind == WorkerUnreachable || c.Kind == WorkerReachable),
		"loss and kind disagree": lost != (c.Loss != ""),
		"doubt and kind differ":  (c.Kind == WorkerSuspect) != (c.Doubt != ""),
		"the bucket keeps it":    ended && !c.Identity,
		"the dead are asked":     ended && c.Probe != nil,
	} {
		if bad {
			wrong = append(wrong, c.Kind+": "+what)
		}
	}
	p := c.Probe
	if p == nil {
		return wrong
	}
	for what, bad := range map[string]bool{
		"while one is out":        w.out,
		"of a life that is not":   p.Incarnation != w.who || p.ID != "w1" || p.Port != 8080,
		"of nothing":              !p.Bus && !p.Direct,
		"of the bus, no doubt":    p.Bus && !w.suspect && w.bus == RouteUp,
		"of direct, no doubt":     p.Direct && !w.suspect && w.bus == RouteUp && w.direct == RouteUp,
		"leaves out what is down": w.bus != RouteUp && !p.Bus || w.direct != RouteUp && !p.Direct,
	} {
		if bad {
			wrong = append(wrong, "probe "+what)
		}
	}
	w.out = true
	return wrong
}

func (w *world) checkView() (wrong []string) {
	v, lives := w.table.Worker("w1")
	if all := w.table.Workers(); lives != (len(all) == 1) || lives && all[0].Suspect != v.Suspect {
		wrong = append(wrong, "Workers and Worker disagree")
	}
	if v.Incarnation != w.who || lives != (w.who != "") {
		return append(wrong, "lives: "+v.Incarnation+"; by the rules: "+w.who)
	}
	if lives && (v.Suspect != "") != w.suspect {
		wrong = append(wrong, "suspect: "+v.Suspect)
	}
	if lives && (v.Bus != w.bus || v.Direct != w.direct) {
		wrong = append(wrong, "routes differ")
	}
	return wrong
}

// everyOrder calls fn with every sequence of n signals.
func everyOrder(n int, fn func([]signal) bool) {
	var pick func(seq []signal) bool
	pick = func(seq []signal) bool {
		if len(seq) == n {
			return fn(seq)
		}
		for _, s := range signals {
			if !pick(append(seq, s)) {
				return false
			}
		}
		return true
	}
	pick(make([]signal, 0, n))
}

func namesOf(seq []signal) string {
	var out []string
	for _, s := range seq {
		out = append(out, s.name)
	}
	return strings.Join(out, ", ")
}

func TestEveryOrderOfSignals(t *testing.T) {
	const tooMany = 10
	for name, asked := range map[string]bool{"its port has answered": true, "its port has not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed := 0
			everyOrder(4, func(seq []signal) bool {
				w := newWorld(asked, 0)
				for i, s := range seq {
					if _, wrong := w.hear(s); len(wrong) > 0 {
						t.Errorf("%s: %q", namesOf(seq[:i+1]), wrong)
						failed++
						break
					}
				}
				return failed < tooMany
			})
		})
	}
}

// TestTheSendersClockIsNotUsed: the same is heard, whatever the workers think the time is.
func TestTheSendersClockIsNotUsed(t *testing.T) {
	run := func(seq []signal, skew time.Duration) (all [][]Change) {
		w := newWorld(true, skew)
		for _, s := range seq {
			got, _ := w.hear(s)
			all = append(all, got)
		}
		return all
	}
	everyOrder(3, func(seq []signal) bool {
		want := run(seq, 0)
		for _, skew := range []time.Duration{-time.Hour, time.Hour} {
			if got := run(seq, skew); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %v off: %+v, want %+v", namesOf(seq), skew, got, want)
				return false
			}
		}
		return true
	})
}

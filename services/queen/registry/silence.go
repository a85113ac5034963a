package registry

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// Mass silence.
const (
	massWindow = 10 * time.Second // who falls silent within it may have one cause
	massLimit  = 10 * time.Minute // after it the silent are lost all the same
)

// Tick ages everything: silence of [messages.SuspectAfter] makes suspect, of [messages.LostAfter]
// lost, unless so many fell silent at once that the bus is suspect. Who only fell silent is not
// remembered as dead: a machine that slept beats again.
func (t *Table) Tick(now time.Time) []Change {
	out := t.massSilence(now)
	for _, w := range t.workers {
		silent := now.Sub(w.heard)
		cause := "silent for " + silent.Round(time.Second).String()
		spared := t.mass != "" && !w.cut && silent < massLimit
		switch {
		case silent >= messages.LostAfter && !spared:
			out = append(out, t.lose(w, LossSilence, cause))
			continue
		case silent >= messages.SuspectAfter && !spared && w.suspect == "":
			w.silent = true
			out = append(out, w.doubt(DoubtSilence, cause, now)...)
			continue
		}
		if p := w.probe(now); p != nil {
			out = append(out, Change{Worker: w.view(), Probe: p})
		}
	}
	out = append(out, t.tickHives(now)...)
	maps.DeleteFunc(t.dead, func(_ death, at time.Time) bool { return now.Sub(at) > deadKept })
	maps.DeleteFunc(t.last, func(id messages.WorkerID, l life) bool { return t.workers[id] == nil && now.Sub(l.at) > deadKept })
	return out
}

// massSilence decides whether the bus is suspect: when all of 2 or 3 workers, or more than half of 4 or
// more, fell silent within 10 s. Then nobody is suspect for silence alone. Whose connection the server
// itself saw end does not count: that silence is explained.
func (t *Table) massSilence(now time.Time) []Change {
	var silent []time.Time
	all := 0
	for _, w := range t.workers {
		if w.cut {
			continue
		}
		all++
		if now.Sub(w.heard) >= messages.SuspectAfter {
			silent = append(silent, w.heard)
		}
	}
	if n := together(silent); massed(n, all) {
		if t.mass != "" {
			return nil
		}
		t.mass = fmt.Sprintf("%d of %d workers fell silent within %s", n, all, massWindow)
		return append([]Change{{Kind: BusSuspect, Cause: t.mass}}, t.spare()...)
	}
	if t.mass == "" {
		return nil
	}
	t.mass = ""
	for _, w := range t.workers {
		if !w.cut {
			w.heard = now
		}
	}
	for _, h := range t.hives {
		h.heard = now
	}
	if all == len(silent) {
		return []Change{{Kind: BusBack, Cause: "nobody is left who could be heard"}}
	}
	return []Change{{Kind: BusBack, Cause: "workers are heard again"}}
}

func massed(silent, all int) bool {
	if all < 4 {
		return all > 1 && silent == all
	}
	return 2*silent > all
}

// together is the largest number of times within one window.
func together(times []time.Time) int {
	slices.SortFunc(times, time.Time.Compare)
	most, from := 0, 0
	for i := range times {
		for times[i].Sub(times[from]) > massWindow {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// spare lets those be picked again that were suspect for their silence alone.
func (t *Table) spare() []Change {
	var out []Change
	for _, w := range t.workers {
		if w.suspect != "" && w.silent && !w.cut {
			w.suspect, w.silent = "", false
			out = append(out, Change{Kind: kindOf(w.info.Status), Worker: w.view(), Cause: "the bus is suspect, not the worker"})
		}
	}
	return out
}

// BusSuspect says why the bus is suspect, "" if it is not.
func (t *Table) BusSuspect() string { return t.mass }

// Restart starts every clock anew: after the queen's own connection was down, or its process was
// stopped, silence says nothing. The way over the bus is in doubt until each worker has answered; the
// next Tick has them asked.
func (t *Table) Restart(now time.Time) []Change {
	var out []Change
	if t.mass != "" {
		t.mass = ""
		out = append(out, Change{Kind: BusBack, Cause: "the queen was away itself"})
	}
	for _, w := range t.workers {
		before := w.view()
		w.heard, w.due, w.probes = now, now, 0
		if w.silent {
			w.suspect, w.silent = "", false
		}
		if w.bus == RouteUp {
			w.bus = RouteUnknown
		}
		if v := w.view(); v.Bus != before.Bus || v.Suspect != before.Suspect {
			out = append(out, Change{Worker: v})
		}
	}
	for _, h := range t.hives {
		h.heard = now
		if h.gone != "" {
			h.goneAt = now
		}
	}
	return out
}

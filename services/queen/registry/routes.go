package registry

import (
	"time"

	"github.com/rbee-project/rbee/messages"
)

// Routes to a worker, as causes name them.
const (
	ByBus    = "bus"
	ByDirect = "direct"
)

// Waits between two probes of one worker: they double. What only its HTTP port is asked for may wait
// long: from here it may never be reachable.
const (
	probeAgain   = time.Second
	probeSlowest = 30 * time.Second
	directSlow   = 5 * time.Minute
)

// Failed takes a request's word that one route to a worker does not answer. The route is not used
// until the worker answers a probe on it; the others are.
func (t *Table) Failed(id messages.WorkerID, incarnation, route, cause string, now time.Time) []Change {
	w := t.workers[id]
	if w == nil || w.info.Incarnation != incarnation {
		return nil
	}
	state := &w.bus
	if route == ByDirect {
		state = &w.direct
	}
	if *state == RouteDown {
		return nil
	}
	*state, w.due = RouteDown, now
	c := Change{Kind: WorkerUnreachable, Cause: route + ": " + cause, Probe: w.probe(now)}
	c.Worker = w.view()
	return []Change{c}
}

// Probed takes the outcome of a probe. One that failed says nothing by itself, except that a port that
// was the worker's and refuses, with nobody on the bus, is the end of it.
func (t *Table) Probed(p Probed, now time.Time) []Change {
	w := t.workers[p.ID]
	if w == nil || w.info.Incarnation != p.Incarnation {
		return nil
	}
	w.probing = false
	if p.Host != w.info.Host || p.Port != w.info.Port {
		p.Direct = NotAsked // it has moved meanwhile
	}
	if p.Bus == Refused && p.Direct == Refused && w.directWas {
		// It is not remembered as dead: should it beat after all, it is back.
		return []Change{t.lose(w, LossRefused, "its port refuses and nobody answers for it on the bus")}
	}
	before := w.view()
	if p.Bus == Answered || p.Direct == Answered {
		w.alive(now)
	}
	w.bus, w.direct = after(w.bus, p.Bus), after(w.direct, p.Direct)
	w.directWas = w.directWas || p.Direct == Answered
	w.probes++
	if !w.needsProbe() {
		w.probes = 0
	}
	w.due = now.Add(w.pause())
	c := Change{Worker: w.view(), Identity: false}
	switch {
	case before.Suspect != "" && w.suspect == "":
		c.Kind, c.Cause = kindOf(w.info.Status), "it answers"
	case before.Bus == RouteDown && w.bus == RouteUp, before.Direct == RouteDown && w.direct == RouteUp:
		c.Kind, c.Cause = WorkerReachable, "it answers"
	case before.Bus == RouteUp && w.bus == RouteDown:
		c.Kind, c.Cause = WorkerUnreachable, ByBus+": nobody answers a probe"
	case before.Direct == RouteUp && w.direct == RouteDown:
		c.Kind, c.Cause = WorkerUnreachable, ByDirect+": nobody answers a probe"
	case before.Bus == w.bus && before.Direct == w.direct:
		return nil
	}
	return []Change{c}
}

// after is a route's state after a reply. No reply leaves it in doubt as it was.
func after(s RouteState, r Reply) RouteState {
	switch {
	case r == Answered:
		return RouteUp
	case r == Refused, r == NoReply && s == RouteUnknown:
		return RouteDown
	default:
		return s
	}
}

func (w *worker) needsProbe() bool {
	return w.suspect != "" || w.bus != RouteUp || w.direct != RouteUp && w.info.Port > 0
}

func (w *worker) pause() time.Duration {
	slowest := probeSlowest
	if w.suspect == "" && w.bus == RouteUp {
		slowest = directSlow
	}
	return min(probeAgain<<min(max(w.probes-1, 0), 20), slowest)
}

// probe is what to ask w now: nil if nothing is in doubt, a probe is out, or it is too early.
func (w *worker) probe(now time.Time) *Probe {
	if w.probing || !w.needsProbe() || now.Before(w.due) {
		return nil
	}
	w.probing = true
	return &Probe{ID: w.info.ID, Incarnation: w.info.Incarnation, Host: w.info.Host, Port: w.info.Port,
		Bus: w.suspect != "" || w.bus != RouteUp, Direct: w.info.Port > 0 && (w.suspect != "" || w.direct != RouteUp || w.bus != RouteUp)}
}

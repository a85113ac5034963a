package registry

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

func portBeat(seq uint64, port int) *messages.Heartbeat {
	b := beat("a", seq, ready)
	b.Worker.Host, b.Worker.Port = "10.0.0.1", port
	return b
}

// answered is a table with w1 that has answered by both routes at second 0: nothing is in doubt.
func answered() *Table {
	table := NewTable()
	table.Beat(portBeat(1, 8080), sec(0))
	probed(NotAsked, Answered)(table, sec(0))
	return table
}

func failed(route string) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change { return t.Failed("w1", "a", route, "no answer", now) }
}

func probed(bus, direct Reply) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change {
		w, _ := t.Worker("w1")
		return t.Probed(Probed{ID: "w1", Incarnation: "a", Host: w.Host, Port: w.Port, Bus: bus, Direct: direct}, now)
	}
}

// probedAt is probed with an answer of an address that may not be the worker's any more.
func probedAt(port int, bus, direct Reply) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change {
		return t.Probed(Probed{ID: "w1", Incarnation: "a", Host: "10.0.0.1", Port: port, Bus: bus, Direct: direct}, now)
	}
}

func fromPort(seq uint64, port int) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change { return t.Beat(portBeat(seq, port), now) }
}

// asked names the routes of the probes in cs: "bus direct", "direct", "".
func asked(cs []Change) string {
	var out []string
	for _, c := range cs {
		if c.Probe != nil && c.Probe.Bus {
			out = append(out, ByBus)
		}
		if c.Probe != nil && c.Probe.Direct {
			out = append(out, ByDirect)
		}
	}
	return strings.Join(out, " ")
}

var stateNames = map[RouteState]string{RouteUnknown: "unknown", RouteUp: "up", RouteDown: "down"}

// routes names w1's: "up down" for bus and direct, and " suspect".
func routes(t *Table) string {
	v, lives := t.Worker("w1")
	if !lives {
		return "lost"
	}
	s := stateNames[v.Bus] + " " + stateNames[v.Direct]
	if v.Suspect != "" {
		s += " suspect"
	}
	return s
}

// routeStep is what is heard of a worker; want is "kinds / probe / routes".
type routeStep struct {
	at   float64
	do   func(*Table, time.Time) []Change
	want string
}

func TestRoutes(t *testing.T) {
	for name, steps := range map[string][]routeStep{
		"bus fails": {{1, failed(ByBus), "worker.unreachable / bus direct / down up"}, {2, failed(ByBus), " /  / down up"},
			{3, fromPort(2, 8080), " /  / down up"}, {4, tick, " /  / down up"}, {5, probed(Answered, Answered), "worker.reachable /  / up up"}},
		"direct fails": {{1, failed(ByDirect), "worker.unreachable / direct / up down"}, {2, failed(ByDirect), " /  / up down"},
			{3, fromPort(2, 8080), " /  / up down"}, {4, probed(NotAsked, Answered), "worker.reachable /  / up up"}},
		"one after the other": {{1, failed(ByDirect), "worker.unreachable / direct / up down"}, {2, failed(ByBus), "worker.unreachable /  / down down"},
			{3, probed(NotAsked, Answered), "worker.reachable /  / down up"}, {3.9, tick, " /  / down up"}, {4, tick, " / bus direct / down up"},
			{5, probed(Answered, NoReply), "worker.reachable /  / up up"}},
		"a beat asks again": {{1, failed(ByBus), "worker.unreachable / bus direct / down up"}, {2, probed(NoReply, NoReply), " /  / down up"},
			{2.9, fromPort(2, 8080), " /  / down up"}, {3, fromPort(3, 8080), " / bus direct / down up"}, {4, probed(Answered, NoReply), "worker.reachable /  / up up"}},
		"one unanswered probe ejects nobody": {{1, suspect("a"), "worker.suspect / bus direct / up up suspect"}, {3, probed(NoReply, NoReply), " /  / up up suspect"},
			{4, fromPort(2, 8080), "worker.ready / " + " / up up"}},
		"a suspect answers": {{1, suspect("a"), "worker.suspect / bus direct / up up suspect"}, {2, probed(Answered, Refused), "worker.ready /  / up down"},
			{21, tick, "worker.suspect / bus direct / up down suspect"}},
		"a suspect answers direct": {{1, suspect("a"), "worker.suspect / bus direct / up up suspect"}, {12, probed(NoReply, Answered), "worker.ready /  / up up"},
			{23.9, tick, " /  / up up"}, {24, tick, "worker.suspect / bus direct / up up suspect"}},
		"what is in doubt is asked when a suspect beats": {{1, failed(ByBus), "worker.unreachable / bus direct / down up"}, {2, probed(NoReply, NoReply), " /  / down up"},
			{2.1, suspect("a"), "worker.suspect / bus direct / down up suspect"}, {2.2, probed(NoReply, NoReply), " /  / down up suspect"}, {2.3, fromPort(2, 8080), "worker.ready / bus direct / down up"}},
		"one probe at a time": {{1, failed(ByBus), "worker.unreachable / bus direct / down up"}, {1.5, suspect("a"), "worker.suspect /  / down up suspect"},
			{2, cut, " /  / down up suspect"}, {3, fromPort(2, 8080), "worker.ready /  / down up"}, {4, tick, " /  / down up"}, {5, restart, " /  / down up"}, {6, tick, " /  / down up"}},
		"its address changes":          {{1, fromPort(2, 8080), " /  / up up"}, {2, fromPort(3, 9090), "* / direct / up unknown"}, {3, probed(NotAsked, Refused), " /  / up down"}},
		"an answer of its old address": {{1, fromPort(2, 9090), "* / direct / up unknown"}, {3, probedAt(8080, NotAsked, Answered), " /  / up unknown"}},
		"a new address need not wait": {{1, failed(ByDirect), "worker.unreachable / direct / up down"}, {2, probed(NotAsked, NoReply), " /  / up down"},
			{2.5, fromPort(2, 8080), " /  / up down"}, {2.6, fromPort(3, 9090), "* / direct / up unknown"}},
		"its address goes": {{1, fromPort(2, 0), "* /  / up unknown"}, {2, failed(ByBus), "worker.unreachable / bus / down unknown"}},
		"after an address change a refusal is not the end": {{2, fromPort(2, 9090), "* / direct / up unknown"}, {3, probed(Refused, Refused), "worker.unreachable /  / down down"}},
		"a new life's routes are its own":                  {{1, failed(ByDirect), "worker.unreachable / direct / up down"}, {2, hear("b", 1, ready), "worker.lost* worker.ready* /  / up unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			table := answered()
			for i, s := range steps {
				cs := s.do(table, sec(s.at))
				if got := strings.TrimSpace(kinds(cs)) + " / " + asked(cs) + " / " + routes(table); got != s.want {
					t.Errorf("step %d at %v s: %q, want %q", i, s.at, got, s.want)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		portKnown   bool
		bus, direct Reply
		lost        bool
	}{
		"both, and the port was its own":  {true, Refused, Refused, true},
		"both, but the port never was":    {false, Refused, Refused, false},
		"direct only":                     {true, NotAsked, Refused, false},
		"direct, and no reply on the bus": {true, NoReply, Refused, false},
		"direct, and the bus answers":     {true, Answered, Refused, false},
		"the bus only":                    {true, Refused, NotAsked, false},
		"the bus, and direct is slow":     {true, Refused, NoReply, false},
		"the bus, and direct answers":     {true, Refused, Answered, false},
		"neither replies":                 {true, NoReply, NoReply, false},
	} {
		t.Run(name, func(t *testing.T) {
			table := answered()
			if !tc.portKnown {
				table = NewTable()
				table.Beat(portBeat(1, 8080), sec(0))
			}
			cs := probed(tc.bus, tc.direct)(table, sec(1))
			if got := routes(table) == "lost"; got != tc.lost {
				t.Fatalf("lost: %v, %+v", got, cs)
			}
			if !tc.lost {
				return
			}
			if len(cs) != 1 || cs[0].Kind != WorkerLost || cs[0].Loss != LossRefused || cs[0].Cause == "" {
				t.Errorf("got %+v", cs)
			}
			if got := kinds(table.Beat(portBeat(2, 8080), sec(2))); got != "worker.ready*" {
				t.Errorf("it beats after all: %q", got)
			}
		})
	}
}

func TestAfter(t *testing.T) {
	replies := []Reply{NotAsked, Answered, NoReply, Refused}
	for from, want := range map[RouteState][]RouteState{
		RouteUnknown: {RouteUnknown, RouteUp, RouteDown, RouteDown},
		RouteUp:      {RouteUp, RouteUp, RouteUp, RouteDown},
		RouteDown:    {RouteDown, RouteUp, RouteDown, RouteDown},
	} {
		for i, r := range replies {
			if got := after(from, r); got != want[i] {
				t.Errorf("%s, reply %d: %s, want %s", stateNames[from], r, stateNames[got], stateNames[want[i]])
			}
		}
	}
}

// waits beats every 5 s from second from on, ticks 10 times a second, leaves every probe unanswered, and returns
// the seconds between them.
func waits(table *Table, from float64, n int) (out []float64) {
	last := from
	for i := 1; len(out) < n && i < 50000; i++ {
		at := from + float64(i)/10
		var cs []Change
		if i%50 == 0 {
			cs = table.Beat(portBeat(uint64(at), 8080), sec(at))
		}
		if asked(append(cs, table.Tick(sec(at))...)) != "" {
			out = append(out, at-last)
			last = at
			probed(NoReply, NoReply)(table, sec(at))
		}
	}
	return out
}

func TestProbesBackOff(t *testing.T) {
	for name, tc := range map[string]struct {
		route string
		want  []float64
	}{
		"the bus is in doubt": {ByBus, []float64{1, 2, 4, 8, 16, 30, 30}},
		"only direct is":      {ByDirect, []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}},
	} {
		t.Run(name, func(t *testing.T) {
			table := answered()
			for _, from := range []float64{10, 10000} { // an answer starts it anew
				table.Beat(portBeat(uint64(from), 8080), sec(from))
				probed(Answered, Answered)(table, sec(from))
				if got := asked(failed(tc.route)(table, sec(from))); got == "" {
					t.Errorf("at %v s: not asked at once", from)
				}
				probed(NoReply, NoReply)(table, sec(from))
				if got := waits(table, from, len(tc.want)); !slices.EqualFunc(got, tc.want, near) {
					t.Errorf("from %v s: waits %v, want %v", from, got, tc.want)
				}
			}
		})
	}
}

func near(a, b float64) bool { return a-b < 0.01 && b-a < 0.01 }

func TestSignalsOfAnotherLife(t *testing.T) {
	for name, do := range map[string]func(*Table) []Change{
		"failed":         func(t *Table) []Change { return t.Failed("w1", "z", ByBus, "no answer", sec(1)) },
		"failed, nobody": func(t *Table) []Change { return t.Failed("w9", "a", ByBus, "no answer", sec(1)) },
		"probed": func(t *Table) []Change {
			return t.Probed(Probed{ID: "w1", Incarnation: "z", Bus: Refused, Direct: Refused}, sec(1))
		},
		"probed, nobody": func(t *Table) []Change {
			return t.Probed(Probed{ID: "w9", Incarnation: "a", Bus: Refused, Direct: Refused}, sec(1))
		},
		"suspect":         func(t *Table) []Change { return t.Suspect("w1", "z", "no answer", sec(1)) },
		"suspect, nobody": func(t *Table) []Change { return t.Suspect("w9", "a", "no answer", sec(1)) },
	} {
		table := answered()
		if got := do(table); len(got) > 0 || routes(table) != "up up" {
			t.Errorf("%s: %+v, %s", name, got, routes(table))
		}
	}
}

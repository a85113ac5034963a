package registry

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

func TestRestart(t *testing.T) {
	for name, steps := range map[string][]routeStep{
		"the bus is unknown until it answers": {{5, restart, " /  / unknown up"}, {5, tick, " / bus direct / unknown up"},
			{6, fromPort(2, 8080), " /  / unknown up"}, {7, probed(Answered, Answered), " /  / up up"}},
		"no answer":             {{5, restart, " /  / unknown up"}, {5, tick, " / bus direct / unknown up"}, {6, probed(NoReply, Answered), " /  / down up"}},
		"clocks start anew":     {{100, restart, " /  / unknown up"}, {111.9, tick, " / bus direct / unknown up"}, {112, tick, "worker.suspect /  / unknown up suspect"}, {119.9, tick, " /  / unknown up suspect"}, {120, tick, "worker.lost* /  / lost"}},
		"suspect for silence":   {{12, tick, "worker.suspect / bus direct / up up suspect"}, {13, restart, " /  / unknown up"}},
		"suspect for a stall":   {{1, suspect("a"), "worker.suspect / bus direct / up up suspect"}, {13, restart, " /  / unknown up suspect"}},
		"cut":                   {{1, cut, "worker.suspect / bus direct / up up suspect"}, {13, restart, " /  / unknown up suspect"}, {33, tick, "worker.lost* /  / lost"}},
		"silent, then a stall":  {{12, tick, "worker.suspect / bus direct / up up suspect"}, {13, suspect("a"), " /  / up up suspect"}, {14, restart, " /  / unknown up suspect"}},
		"what is down is down":  {{1, failed(ByBus), "worker.unreachable / bus direct / down up"}, {2, restart, " /  / down up"}},
		"probes start anew too": {{1, failed(ByDirect), "worker.unreachable / direct / up down"}, {2, probed(NotAsked, NoReply), " /  / up down"}, {3, tick, " / direct / up down"}, {4, probed(NotAsked, NoReply), " /  / up down"}, {5, restart, " /  / unknown down"}, {5, tick, " / bus direct / unknown down"}, {5, probed(NoReply, NoReply), " /  / down down"}, {6, tick, " / bus direct / down down"}},
	} {
		t.Run(name, func(t *testing.T) {
			table := answered()
			for i, s := range steps {
				cs := s.do(table, sec(s.at))
				if got := kinds(cs) + " / " + asked(cs) + " / " + routes(table); got != s.want {
					t.Errorf("step %d at %v s: %q, want %q", i, s.at, got, s.want)
				}
			}
		})
	}
}

func TestRestartTellsWhatChanged(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(*Table, time.Time) []Change
		want   int
	}{
		"the bus was up":       {tick, 1},
		"silent":               {func(t *Table, _ time.Time) []Change { return t.Tick(sec(12)) }, 1},
		"the bus was down":     {failed(ByBus), 0},
		"and silent":           {func(t *Table, now time.Time) []Change { failed(ByBus)(t, now); return t.Tick(sec(12)) }, 1},
		"it was in doubt":      {restart, 0},
		"down, and for longer": {func(t *Table, now time.Time) []Change { failed(ByBus)(t, now); return suspect("a")(t, now) }, 0},
	} {
		table := answered()
		tc.before(table, sec(1))
		cs := table.Restart(sec(13))
		if len(cs) != tc.want {
			t.Errorf("%s: %+v", name, cs)
		}
		for _, c := range cs {
			if v, _ := table.Worker("w1"); c.Worker.Bus != v.Bus || c.Worker.Suspect != v.Suspect || c.Kind != "" {
				t.Errorf("%s: told %+v, is %+v", name, c, v)
			}
		}
	}
}

// TestBeatsReceivedBeforeARestart: one that still waited for the owner when it was stopped is no proof of silence.
func TestBeatsReceivedBeforeARestart(t *testing.T) {
	table := answered()
	table.Restart(sec(100))
	table.Beat(portBeat(2, 8080), sec(1))
	table.Tick(sec(101))
	if got := routes(table); got != "unknown up" {
		t.Errorf("after a beat that was received before: %s", got)
	}
}

func TestClock(t *testing.T) {
	type at struct {
		sec     float64
		online  bool
		restart bool
	}
	for name, ticks := range map[string][]at{
		"the first one":       {{1, true, true}, {2, true, false}},
		"on time":             {{1, true, true}, {2, true, false}, {3, true, false}},
		"late, but not much":  {{1, true, true}, {5, true, false}, {9, true, false}},
		"late":                {{1, true, true}, {5.01, true, true}, {6, true, false}},
		"offline":             {{1, true, true}, {2, false, false}, {3, false, false}, {4, true, true}, {5, true, false}},
		"offline and late":    {{1, true, true}, {2, false, false}, {300, false, false}, {301, true, true}},
		"offline at first":    {{1, false, false}, {2, true, true}},
		"late while offline":  {{1, true, true}, {99, false, false}, {100, true, true}},
		"offline nobody ages": {{1, true, true}, {2, false, false}, {13, false, false}, {21, false, false}, {22, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			c := clock{last: sec(0)}
			table := answered()
			for i, a := range ticks {
				got := c.tick(table, sec(a.sec), a.online)
				if restarted := routes(table) == "unknown up"; restarted != a.restart {
					t.Errorf("tick %d at %v s: %s", i, a.sec, routes(table))
				}
				if !a.online && len(got) > 0 {
					t.Errorf("tick %d at %v s: offline, and %+v", i, a.sec, got)
				}
				probed(Answered, Answered)(table, table.workers["w1"].heard)
			}
		})
	}
}

func TestTogether(t *testing.T) {
	for i, tc := range []struct {
		secs []float64
		want int
	}{
		{nil, 0}, {[]float64{1}, 1}, {[]float64{1, 1, 1}, 3}, {[]float64{0, 10}, 2}, {[]float64{0, 10.001}, 1},
		{[]float64{20, 0, 10}, 2}, {[]float64{0, 9, 11, 12, 19}, 4}, {[]float64{0, 11, 22, 33}, 1},
	} {
		var times []time.Time
		for _, s := range tc.secs {
			times = append(times, sec(s))
		}
		if got := together(times); got != tc.want {
			t.Errorf("%d: %d, want %d", i, got, tc.want)
		}
	}
}

func TestMassed(t *testing.T) {
	for all, least := range map[int]int{0: 1, 1: 2, 2: 2, 3: 3, 4: 3, 5: 3, 6: 4, 7: 4, 100: 51} {
		for silent := range all + 1 {
			if got := massed(silent, all); got != (silent >= least) {
				t.Errorf("%d of %d: %v", silent, all, got)
			}
		}
	}
}

func beatOf(id messages.WorkerID, status messages.Status) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change {
		b := beat("i"+string(id), uint64(now.Sub(epoch))+1, status)
		b.Worker.ID = id
		return t.Beat(b, now)
	}
}

// crowd hears w1, w2, ... for the last time at the seconds given.
func crowd(secs ...float64) *Table {
	table := NewTable()
	for i, s := range secs {
		beatOf(messages.WorkerID(fmt.Sprintf("w%d", i+1)), ready)(table, sec(s))
	}
	return table
}

// TestWhenTheBusIsSuspect: only one tick, so that a first loss does not hide what the spread does.
func TestWhenTheBusIsSuspect(t *testing.T) {
	const never = 24 // heard just now
	for name, tc := range map[string]struct {
		heard []float64
		cut   []messages.WorkerID
		want  bool
	}{
		"1 of 1": {[]float64{0}, nil, false}, "1 of 2": {[]float64{0, never}, nil, false}, "2 of 2": {[]float64{0, 5}, nil, true},
		"2 of 3": {[]float64{0, 0, never}, nil, false}, "3 of 3": {[]float64{0, 3, 6}, nil, true},
		"2 of 4": {[]float64{0, 0, never, never}, nil, false}, "3 of 4": {[]float64{0, 0, 5, never}, nil, true},
		"2 of 5": {[]float64{0, 0, never, never, never}, nil, false}, "3 of 5": {[]float64{0, 0, 0, never, never}, nil, true},
		"3 of 6": {[]float64{0, 0, 0, never, never, never}, nil, false}, "nobody": {nil, nil, false},
		"over 10 s": {[]float64{0, 10}, nil, true}, "over more": {[]float64{0, 10.1}, nil, false}, "3 over more": {[]float64{0, 6, 12}, nil, false},
		"3 of 4 over more": {[]float64{0, 11, 11, never}, nil, false}, "4 of 5, 3 of them in 10 s": {[]float64{0, 11, 11, 12, never}, nil, true},
		"not 12 s yet": {[]float64{10, 13.1}, nil, false}, "12 s": {[]float64{10, 13}, nil, true},
		"the cut do not count": {[]float64{0, 0, never}, []messages.WorkerID{"w1", "w2"}, false}, "1 that is left": {[]float64{0, 0}, []messages.WorkerID{"w1"}, false},
		"2 that are left": {[]float64{0, 0, 0}, []messages.WorkerID{"w1"}, true}, "3 of 5, one cut": {[]float64{0, 0, 0, never, never}, []messages.WorkerID{"w1"}, false},
		"a cut one that is heard": {[]float64{0, 0, never}, []messages.WorkerID{"w3"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			table := crowd(tc.heard...)
			for _, id := range tc.cut {
				table.Disconnected(id, "stale", sec(25))
			}
			told := slices.ContainsFunc(table.Tick(sec(25)), func(c Change) bool { return c.Kind == BusSuspect && c.Cause != "" })
			if told != tc.want || (table.BusSuspect() != "") != tc.want {
				t.Errorf("told %v, is %q", told, table.BusSuspect())
			}
		})
	}
}

package registry

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func beat(inc string, seq uint64, status messages.Status) *messages.Heartbeat {
	return &messages.Heartbeat{Seq: seq, Worker: messages.WorkerInfo{ID: "w1", Incarnation: inc, Hive: "h1", Status: status,
		PID: 100, StartTime: 7, ModelID: "m", Models: []messages.ModelInfo{{ID: "m", Slots: 2}}, SlotsTotal: 2}}
}

func exited(pid int, start uint64, inc string) *messages.WorkerExited {
	return &messages.WorkerExited{Worker: "w1", Hive: "h1", PID: pid, StartTime: start, Incarnation: inc}
}

// sec is the moment s seconds after epoch.
func sec(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }

// step is what is heard at second at; want lists the kinds of change that follow, "" for a plain beat and
// a * behind those that the bucket gets.
type step struct {
	at   float64
	do   func(*Table, time.Time) []Change
	want string
}

func hear(inc string, seq uint64, status messages.Status) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change { return t.Beat(beat(inc, seq, status), now) }
}

func exit(pid int, start uint64, inc string) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change { return t.Exited(exited(pid, start, inc), "exit 1", now) }
}

func suspect(inc string) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change { return t.Suspect("w1", inc, "no answer", now) }
}

func gone(pid int, start uint64, inc string) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change { return t.Gone(exited(pid, start, inc), now) }
}

func cut(t *Table, now time.Time) []Change { return t.Disconnected("w1", "stale", now) }

func tick(t *Table, now time.Time) []Change { return t.Tick(now) }

func restart(t *Table, now time.Time) []Change { return t.Restart(now) }

func kinds(cs []Change) string {
	var out []string
	for _, c := range cs {
		k := c.Kind
		if c.Identity {
			k += "*"
		}
		out = append(out, k)
	}
	return strings.Join(out, " ")
}

const (
	starting = messages.StatusStarting
	ready    = messages.StatusReady
	busy     = messages.StatusBusy
	draining = messages.StatusDraining
	stopped  = messages.StatusStopped
)

func TestTable(t *testing.T) {
	again := restoreAfter("w1").Seconds()
	if again < 120 || again > 240 || again == restoreAfter("w2").Seconds() {
		t.Errorf("stored again after %v s", again)
	}
	for name, tc := range map[string]struct {
		steps []step
		lives bool
	}{
		"a life": {[]step{{0, hear("a", 1, starting), "worker.starting*"}, {1, hear("a", 2, ready), "worker.ready*"}, {2, hear("a", 3, busy), ""},
			{3, hear("a", 4, ready), ""}, {4, hear("a", 5, draining), "worker.draining*"}, {5, hear("a", 6, stopped), "worker.stopped*"}}, false},
		"silence": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {11.9, tick, ""}, {12, tick, "worker.suspect"}, {13, tick, ""},
			{19.9, tick, ""}, {20, tick, "worker.lost*"}, {21, tick, ""}}, false},
		"a suspect beats": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {12, tick, "worker.suspect"}, {13, hear("a", 2, ready), "worker.ready"},
			{24, tick, ""}}, true},
		"a machine that slept comes back": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {20, tick, "worker.lost*"},
			{30, hear("a", 2, ready), "worker.ready*"}}, true},
		"older and equal beats change nothing": {[]step{{0, hear("a", 5, ready), "worker.ready*"}, {1, hear("a", 4, draining), ""},
			{2, hear("a", 5, draining), ""}, {12, tick, "worker.suspect"}}, true},
		"exit report":                    {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, exit(100, 7, "a"), "worker.lost*"}, {2, exit(100, 7, "a"), ""}}, false},
		"exit report of another process": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, exit(101, 7, ""), ""}, {1, exit(100, 8, ""), ""}}, true},
		"late beat of a dead process": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, exit(100, 7, ""), "worker.lost*"},
			{2, hear("a", 2, ready), ""}}, false},
		"it is remembered as long as it talks": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, hear("b", 1, ready), "worker.lost* worker.ready*"},
			{500, hear("a", 2, ready), ""}, {501, hear("b", 2, ready), "*"}, {502, tick, ""}, {1000, restart, ""}, {1000, tick, ""}, {1001, hear("a", 3, ready), ""}}, true},
		"and then forgotten": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, exit(100, 7, ""), "worker.lost*"},
			{602, tick, ""}, {603, hear("a", 2, ready), "worker.ready*"}}, true},
		"the report overtakes the first beat": {[]step{{0, exit(100, 7, "a"), ""}, {1, hear("a", 1, starting), ""}}, false},
		"a goodbye overtakes it":              {[]step{{0, hear("a", 2, stopped), ""}, {1, hear("a", 1, ready), ""}}, false},
		"a new process takes the id": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, hear("b", 1, starting), "worker.lost* worker.starting*"},
			{2, hear("a", 2, ready), ""}, {3, exit(101, 7, "a"), ""}}, true},
		"its goodbye ends the old one": {[]step{{0, hear("a", 9, ready), "worker.ready*"}, {1, hear("b", 1, stopped), "worker.lost*"}}, false},
		"suspected on the way": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, suspect("b"), ""}, {1, suspect("a"), "worker.suspect"},
			{1, suspect("a"), ""}, {2, hear("a", 2, ready), "worker.ready"}}, true},
		"beats after goodbye": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, hear("a", 2, stopped), "worker.stopped*"}, {2, hear("a", 3, ready), ""},
			{3, hear("a", 4, stopped), ""}, {4, hear("a", 1, ready), ""}}, false},
		"an older goodbye": {[]step{{0, hear("a", 5, ready), "worker.ready*"}, {1, hear("a", 4, stopped), ""}}, true},
		"it is gone":       {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, gone(100, 7, "a"), "worker.lost*"}, {2, hear("a", 2, ready), ""}}, false},
		"another is gone":  {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, gone(101, 7, ""), ""}, {1, gone(100, 8, ""), ""}}, true},
		"a report of a life that is not the known one": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, exit(200, 9, "b"), ""},
			{2, hear("b", 1, ready), ""}, {3, hear("a", 2, ready), ""}}, true},
		"the connection ended":   {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, cut, "worker.suspect"}, {2, cut, ""}, {3, hear("a", 2, ready), "worker.ready"}}, true},
		"of nobody":              {[]step{{0, cut, ""}, {1, suspect("a"), ""}, {2, gone(100, 7, ""), ""}}, false},
		"a suspect says goodbye": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, suspect("a"), "worker.suspect"}, {2, hear("a", 2, stopped), "worker.stopped*"}}, false},
		"suspect long before it is silent": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {1, suspect("a"), "worker.suspect"}, {12, tick, ""}, {19.9, tick, ""},
			{20, tick, "worker.lost*"}}, false},
		"the queen was away": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {100, restart, ""}, {100, tick, ""}, {111.9, tick, ""},
			{112, tick, "worker.suspect"}, {120, tick, "worker.lost*"}}, false},
		"stored again from time to time": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {again - 1, hear("a", 2, ready), ""}, {again, hear("a", 3, ready), "*"},
			{2*again - 1, hear("a", 4, ready), ""}, {2 * again, hear("a", 5, ready), "*"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewTable()
			for i, s := range tc.steps {
				got := kinds(s.do(table, sec(s.at)))
				if got != s.want {
					t.Errorf("step %d at %v s: %q, want %q", i, s.at, got, s.want)
				}
			}
			if _, lives := table.Worker("w1"); lives != tc.lives {
				t.Errorf("lives: %v", lives)
			}
		})
	}
}

// TestTheLastLifeKeepsTheID: a fell silent, or refused, and was not remembered as dead; then b took its id.
func TestTheLastLifeKeepsTheID(t *testing.T) {
	for name, late := range map[string]*messages.Heartbeat{
		"a late beat":    beat("a", 2, ready),
		"a late goodbye": beat("a", 2, stopped),
	} {
		table := NewTable()
		table.Beat(beat("a", 1, ready), sec(0))
		table.Tick(sec(20))
		table.Beat(beat("b", 1, ready), sec(21))
		if got := kinds(table.Beat(late, sec(22))); got != "" {
			t.Errorf("%s: %q", name, got)
		}
		table.Beat(beat("b", 2, ready), sec(23))
		if v, _ := table.Worker("w1"); v.Incarnation != "b" {
			t.Errorf("%s: %q lives", name, v.Incarnation)
		}
	}
}

func TestLosses(t *testing.T) {
	for name, tc := range map[string]struct {
		do    func(*Table, time.Time) []Change
		loss  Loss
		cause string
	}{
		"exit":     {exit(100, 7, "a"), LossExit, "exit 1"},
		"gone":     {gone(100, 7, "a"), LossGone, "its process is gone"},
		"replaced": {hear("b", 1, ready), LossReplaced, "replaced by a new process of the same id"},
		"silence":  {tick, LossSilence, "silent for 20s"},
		"goodbye":  {hear("a", 2, stopped), "", "it stopped"},
	} {
		table := NewTable()
		table.Beat(beat("a", 1, ready), sec(0))
		c := tc.do(table, sec(20))[0]
		if c.Loss != tc.loss || c.Cause != tc.cause || c.Worker.Incarnation != "a" {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestDoubts(t *testing.T) {
	for name, tc := range map[string]struct {
		do    func(*Table, time.Time) []Change
		doubt Doubt
		cause string
	}{
		"silence":    {tick, DoubtSilence, "silent for 13s"},
		"disconnect": {cut, DoubtDisconnect, "its connection ended: stale"},
		"request":    {suspect("a"), DoubtRequest, "no answer"},
	} {
		table := NewTable()
		table.Beat(beat("a", 1, ready), sec(0))
		c := tc.do(table, sec(13))[0]
		if c.Kind != WorkerSuspect || c.Doubt != tc.doubt || c.Cause != tc.cause || c.Worker.Suspect != tc.cause {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestWatchOnTheFirstBeat(t *testing.T) {
	table := NewTable()
	watch := func(inc string, seq uint64, hive messages.HiveID) bool {
		b := beat(inc, seq, ready)
		b.Worker.Hive = hive
		cs := table.Beat(b, sec(0))
		return cs[len(cs)-1].Watch
	}
	for i, tc := range []struct {
		inc  string
		seq  uint64
		hive messages.HiveID
		want bool
	}{{"a", 1, "h1", true}, {"a", 2, "h1", false}, {"b", 1, "h1", true}, {"b", 2, "h1", false}, {"c", 1, "", false}} {
		if got := watch(tc.inc, tc.seq, tc.hive); got != tc.want {
			t.Errorf("beat %d: watch %v", i, got)
		}
	}
}

func TestWhatTheBucketHolds(t *testing.T) {
	for name, change := range map[string]func(*messages.WorkerInfo){
		"port":  func(w *messages.WorkerInfo) { w.Port = 9 },
		"host":  func(w *messages.WorkerInfo) { w.Host = "x" },
		"pid":   func(w *messages.WorkerInfo) { w.PID = 9 },
		"model": func(w *messages.WorkerInfo) { w.ModelID = "n" },
		"slots": func(w *messages.WorkerInfo) { w.Models = []messages.ModelInfo{{ID: "m", Slots: 3}} },
	} {
		table := NewTable()
		table.Beat(beat("a", 1, ready), epoch)
		b := beat("a", 2, ready)
		change(&b.Worker)
		if got := kinds(table.Beat(b, epoch)); got != "*" {
			t.Errorf("%s: %q", name, got)
		}
	}
	table := NewTable()
	table.Beat(beat("a", 1, ready), epoch)
	b := beat("a", 2, busy)
	b.Worker.SlotsUsed, b.Worker.TokensPerSecond, b.Worker.Steps = 2, 9, 9
	if got := kinds(table.Beat(b, epoch)); got != "" {
		t.Errorf("load: %q", got)
	}
}

func TestSorted(t *testing.T) {
	table := NewTable()
	for _, id := range []messages.WorkerID{"c", "a", "b"} {
		b := beat("i"+string(id), 1, ready)
		b.Worker.ID = id
		table.Beat(b, epoch)
		table.HiveBeat(&messages.HiveBeat{Hive: messages.HiveInfo{ID: messages.HiveID(id)}}, epoch)
	}
	ws, hs := table.Workers(), table.Hives()
	if !slices.IsSortedFunc(ws, func(a, b View) int { return strings.Compare(string(a.ID), string(b.ID)) }) || len(ws) != 3 {
		t.Errorf("workers %+v", ws)
	}
	if len(hs) != 3 || hs[0].ID != "a" || hs[2].ID != "c" {
		t.Errorf("hives %+v", hs)
	}
}

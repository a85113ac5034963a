package registry

import (
	"fmt"
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
	return func(t *Table, _ time.Time) []Change { return t.Suspect("w1", inc, "no answer") }
}

func tick(t *Table, now time.Time) []Change { return t.Tick(now) }

func restart(t *Table, now time.Time) []Change { t.Restart(now); return nil }

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
		"the queen was away": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {100, restart, ""}, {100, tick, ""}, {111.9, tick, ""},
			{112, tick, "worker.suspect"}, {120, tick, "worker.lost*"}}, false},
		"stored again every 4 minutes": {[]step{{0, hear("a", 1, ready), "worker.ready*"}, {239, hear("a", 2, ready), ""}, {240, hear("a", 3, ready), "*"},
			{479, hear("a", 4, ready), ""}, {480, hear("a", 5, ready), "*"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewTable()
			for i, s := range tc.steps {
				got := kinds(s.do(table, epoch.Add(time.Duration(s.at*float64(time.Second)))))
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

func TestHives(t *testing.T) {
	table := NewTable()
	say := func(at time.Duration, models ...string) string {
		out := ""
		for _, c := range table.HiveBeat(&messages.HiveBeat{Hive: messages.HiveInfo{ID: "h1", Models: models}}, epoch.Add(at)) {
			out += fmt.Sprintf("%s %v", c.Kind, c.Inventory != nil)
		}
		return out
	}
	for i, s := range []struct {
		at     time.Duration
		models []string
		want   string
	}{
		{0, []string{"m"}, "hive.up true"}, {5 * time.Second, []string{"m"}, " false"}, {6 * time.Second, []string{"m", "n"}, " true"},
		{7 * time.Second, []string{"m", "n"}, " false"}, {7*time.Second + restore, []string{"m", "n"}, " true"},
	} {
		if got := say(s.at, s.models...); got != s.want {
			t.Errorf("beat %d: %q, want %q", i, got, s.want)
		}
	}
	last := epoch.Add(7*time.Second + restore)
	if got := table.Tick(last.Add(messages.LostAfter - 1)); len(got) > 0 {
		t.Errorf("lost too early: %+v", got)
	}
	table.Restart(last.Add(time.Hour))
	if got := table.Tick(last.Add(time.Hour)); len(got) > 0 {
		t.Errorf("lost after the queen was away: %+v", got)
	}
	got := table.Tick(last.Add(time.Hour + messages.LostAfter))
	if len(got) != 1 || got[0].Kind != HiveLost || len(table.Hives()) != 0 {
		t.Errorf("got %+v, hives %v", got, table.Hives())
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

package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

func hiveSays(id messages.HiveID, inc string, models ...string) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change {
		return t.HiveBeat(&messages.HiveBeat{Hive: messages.HiveInfo{ID: id, Incarnation: inc, Models: models}}, now)
	}
}

func hiveCut(t *Table, now time.Time) []Change { return t.HiveDisconnected("h1", "stale", now) }

// hiveNews lists what cs say of hives, with a * if the bucket gets it, and whom to watch.
func hiveNews(cs []Change) string {
	var out []string
	for _, c := range cs {
		switch {
		case c.Hive != "" && c.Inventory != nil:
			out = append(out, string(c.Hive)+" "+c.Kind+"*")
		case c.Hive != "" && c.Kind != "":
			out = append(out, string(c.Hive)+" "+c.Kind)
		case c.Watch:
			out = append(out, "watch "+string(c.Worker.ID))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// withWorkers is a table of hive h1, that has w1 and w2; h2, that has w3; and w4, that nobody has.
func withWorkers() *Table {
	table := NewTable()
	for i, hive := range []messages.HiveID{"h1", "h1", "h2", ""} {
		b := beat("a", 1, ready)
		b.Worker.ID, b.Worker.Hive = messages.WorkerID(fmt.Sprintf("w%d", i+1)), hive
		table.Beat(b, sec(0))
	}
	hiveSays("h1", "i", "m")(table, sec(0))
	hiveSays("h2", "i", "m")(table, sec(0))
	return table
}

// heardTick ticks when every worker was just heard, so that the bus is not suspect.
func heardTick(t *Table, now time.Time) []Change {
	for _, w := range t.workers {
		w.alive(now)
	}
	return t.Tick(now)
}

func TestHives(t *testing.T) {
	const up, lost = "h1 hive.up*, watch w1, watch w2", "h1 hive.lost"
	for name, steps := range map[string][]step{
		"it goes on": {{5, hiveSays("h1", "i", "m"), ""}, {6, hiveSays("h1", "i", "m", "n"), "h1 *"}, {7, hiveSays("h1", "i", "m", "n"), ""}},
		"stored again every 4 minutes": {{239, hiveSays("h1", "i", "m"), ""}, {240, hiveSays("h1", "i", "m"), "h1 *"},
			{479, hiveSays("h1", "i", "m"), ""}, {480, hiveSays("h1", "i", "m"), "h1 *"}},
		"it is restarted": {{5, hiveSays("h1", "j", "m"), up}, {6, hiveSays("h1", "j", "m"), ""}},
		"another is new":  {{5, hiveSays("h3", "j", "m"), "h3 hive.up*"}},
		"it comes back in time": {{5, hiveCut, "h1 hive.suspect"}, {6, hiveCut, ""}, {9.9, heardTick, ""}, {9.9, hiveSays("h1", "i", "m"), up},
			{10, heardTick, ""}, {11, hiveSays("h1", "i", "m"), ""}},
		"it does not":              {{5, hiveCut, "h1 hive.suspect"}, {8, hiveCut, ""}, {9.9, heardTick, ""}, {10, heardTick, lost}, {11, heardTick, ""}, {12, hiveSays("h1", "i", "m"), up}},
		"cut again":                {{5, hiveCut, "h1 hive.suspect"}, {6, hiveSays("h1", "i", "m"), up}, {8, hiveCut, "h1 hive.suspect"}, {12.9, heardTick, ""}, {13, heardTick, lost}},
		"silence":                  {{5, hiveSays("h2", "i", "m"), ""}, {19.9, heardTick, ""}, {20, heardTick, lost}, {24.9, heardTick, ""}, {25, heardTick, "h2 hive.lost"}},
		"the queen was away":       {{100, restart, ""}, {100, heardTick, ""}, {119.9, heardTick, ""}, {120, heardTick, lost + ", h2 hive.lost"}},
		"and it was cut before":    {{5, hiveCut, "h1 hive.suspect"}, {100, restart, ""}, {104.9, heardTick, ""}, {105, heardTick, lost}},
		"cut, and nobody knows it": {{5, hiveCut, "h1 hive.suspect"}, {10, heardTick, lost}, {11, hiveCut, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			table := withWorkers()
			for i, s := range steps {
				cs := s.do(table, sec(s.at))
				if got := hiveNews(cs); got != s.want {
					t.Errorf("step %d at %v s: %q, want %q", i, s.at, got, s.want)
				}
				for _, c := range cs {
					if c.Hive != "" && (c.Kind == HiveLost || c.Kind == HiveSuspect) && c.Cause == "" {
						t.Errorf("step %d: no cause: %+v", i, c)
					}
				}
			}
		})
	}
}

func TestHivesThatAreLostAreNotListed(t *testing.T) {
	table := withWorkers()
	hiveCut(table, sec(1))
	table.Tick(sec(6))
	if hs := table.Hives(); len(hs) != 1 || hs[0].ID != "h2" {
		t.Errorf("hives %+v", hs)
	}
	if ws := table.Workers(); len(ws) != 4 {
		t.Errorf("its workers went with it: %+v", ws)
	}
}

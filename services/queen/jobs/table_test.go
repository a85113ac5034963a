package jobs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func sec(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }

func event(job messages.JobID, executor messages.Caller, seq int, state messages.JobState) *messages.JobEvent {
	return &messages.JobEvent{Job: job, Executor: executor, Op: "model.pull", Seq: seq, State: state, Text: fmt.Sprint("text ", seq),
		At: sec(float64(seq)), StartedAt: sec(1)}
}

// act is something that a table is told; it says what came out.
type act func(t *Table, now time.Time) string

// says is event seq of job, which the stream has as number; 0: heard only.
func says(job messages.JobID, executor messages.Caller, seq int, state messages.JobState, number uint64) act {
	return func(t *Table, now time.Time) string {
		if t.Event(event(job, executor, seq, state), number, now) {
			return "ended"
		}
		return ""
	}
}

func tick(t *Table, now time.Time) string {
	t.Tick("hive-a", &messages.JobTick{Job: "j"}, now)
	return ""
}

func restart(t *Table, now time.Time) string { t.Restart(now); return "" }

func show(orphans []Orphan) string {
	var out []string
	for _, o := range orphans {
		out = append(out, fmt.Sprintf("%s %s #%d behind %d", o.End.Job, o.End.State, o.End.Seq, o.Last))
	}
	return strings.Join(out, ", ")
}

func orphans(t *Table, now time.Time) string { return show(t.Orphans(now)) }

func lost(executor messages.Caller) act {
	return func(t *Table, now time.Time) string { return show(t.Lost(executor, "it was cut", now)) }
}

func state(job messages.JobID) act {
	return func(t *Table, _ time.Time) string {
		i, _ := t.Get(job)
		return fmt.Sprintf("%s, %d open", i.State, t.Open())
	}
}

type step struct {
	at   float64
	do   act
	want string
}

func TestTable(t *testing.T) {
	const start, run, done = messages.JobStarted, messages.JobStep, messages.JobSucceeded
	begun := step{0, says("j", "hive-a", 1, start, 1), ""}
	for name, steps := range map[string][]step{
		"silent for 15 s": {begun, {14.9, orphans, ""}, {15, orphans, "j failed #2 behind 1"}},
		"its end is tried again after 15 s": {begun, {15, orphans, "j failed #2 behind 1"}, {16, orphans, ""}, {29.9, orphans, ""},
			{30, orphans, "j failed #2 behind 1"}},
		"the end that was written is heard": {begun, {15, orphans, "j failed #2 behind 1"}, {16, says("j", "hive-a", 2, messages.JobFailed, 2), "ended"},
			{60, orphans, ""}, {60, state("j"), "failed, 0 open"}},
		"a tick is a sign of life":       {begun, {10, tick, ""}, {24.9, orphans, ""}, {25, orphans, "j failed #2 behind 1"}},
		"so is a step":                   {begun, {10, says("j", "hive-a", 2, run, 2), ""}, {24.9, orphans, ""}, {25, orphans, "j failed #3 behind 2"}},
		"and one that was heard already": {begun, {10, says("j", "hive-a", 1, start, 0), ""}, {24.9, orphans, ""}, {25, orphans, "j failed #2 behind 1"}},
		"a step that only was heard":     {begun, {1, says("j", "hive-a", 2, run, 0), ""}, {16, orphans, "j failed #3 behind 1"}},
		"the queen was away":             {begun, {100, restart, ""}, {100, orphans, ""}, {114.9, orphans, ""}, {115, orphans, "j failed #2 behind 1"}},
		"a tick of nobody's job":         {{0, tick, ""}, {60, orphans, ""}, {60, state("j"), ", 0 open"}},
		"what ended is no orphan":        {begun, {1, says("j", "hive-a", 2, done, 2), "ended"}, {60, orphans, ""}, {60, lost("hive-a"), ""}},
		"nothing follows the end": {begun, {1, says("j", "hive-a", 2, done, 2), "ended"}, {2, says("j", "hive-a", 3, run, 3), ""},
			{2, says("j", "hive-a", 4, messages.JobFailed, 4), ""}, {2, state("j"), "succeeded, 0 open"}},
		"an end that is not stored is written as it was": {begun, {5, says("j", "hive-a", 2, done, 0), "ended"}, {19.9, orphans, ""},
			{20, orphans, "j succeeded #2 behind 1"}, {34.9, orphans, ""}, {35, orphans, "j succeeded #2 behind 1"},
			{36, says("j", "hive-a", 2, done, 2), ""}, {90, orphans, ""}},
		"and when its executor is lost, too": {begun, {5, says("j", "hive-a", 2, done, 0), "ended"}, {6, lost("hive-a"), "j succeeded #2 behind 1"}},
		"a stored end first":                 {begun, {5, says("j", "hive-a", 2, done, 2), "ended"}, {5, says("j", "hive-a", 2, done, 0), ""}, {60, orphans, ""}},
		"the stream has nothing of it":       {{0, says("j", "hive-a", 1, start, 0), ""}, {14.9, state("j"), "started, 1 open"}, {15, orphans, ""}, {15, state("j"), "failed, 0 open"}},
		"nor of its end": {{0, says("j", "hive-a", 1, start, 0), ""}, {1, says("j", "hive-a", 2, done, 0), "ended"}, {60, orphans, ""},
			{60, state("j"), "succeeded, 0 open"}},
		"a tick keeps it": {{0, says("j", "hive-a", 1, start, 0), ""}, {10, tick, ""}, {20, orphans, ""}, {20, state("j"), "started, 1 open"}},
		"lost is for one executor": {begun, {0, says("k", "hive-b", 1, start, 2), ""}, {0, says("l", "hive-a", 1, start, 3), ""},
			{1, lost("hive-a"), "j failed #2 behind 1, l failed #2 behind 3"}, {2, lost("hive-a"), ""}, {2, lost("hive-c"), ""}, {2, lost("hive-b"), "k failed #2 behind 2"}},
		"lost, and not written: later again": {begun, {1, lost("hive-a"), "j failed #2 behind 1"}, {15.9, orphans, ""}, {16, orphans, "j failed #2 behind 1"}},
		"of a past life":                     {{0, says("j", "hive-a", 7, run, 70), ""}, {15, orphans, "j failed #8 behind 70"}},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewTable()
			for i, s := range steps {
				if got := s.do(table, sec(s.at)); got != s.want {
					t.Errorf("step %d at %v s: %q, want %q", i, s.at, got, s.want)
				}
			}
		})
	}
}

func TestAnEndSaysWhy(t *testing.T) {
	table := NewTable()
	table.Event(event("j", "hive-a", 1, messages.JobStarted), 1, sec(0))
	all := table.Lost("hive-a", "its connection ended", sec(1))
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	e := all[0].End
	if e.Executor != "hive-a" || e.Op != "model.pull" || !e.StartedAt.Equal(sec(1)) || messages.CodeOf(e.Error) != messages.CodeUnavailable ||
		!strings.Contains(e.Text, "hive-a is gone: its connection ended") || !strings.Contains(e.Error.Hint, "again") {
		t.Errorf("%+v, %v", e, e.Error)
	}
	spawn := event("s", "hive-s", 1, messages.JobStarted)
	spawn.Op = messages.OpSpawn
	table.Event(spawn, 2, sec(1))
	if all = table.Lost("hive-s", "it ended", sec(1)); len(all) != 1 || !strings.Contains(all[0].End.Error.Hint, "rbee worker list") {
		t.Errorf("%+v", all)
	}
	table.Event(event("k", "hive-b", 1, messages.JobStarted), 3, sec(2))
	if all = table.Orphans(sec(17.4)); len(all) != 3 || !strings.Contains(all[1].End.Text, "nothing heard of it for 15s") {
		t.Errorf("%+v", all)
	}
}

// permute calls fn with every order of n things.
func permute(n int, fn func([]int)) {
	var next func(order []int)
	next = func(order []int) {
		if len(order) == n {
			fn(order)
			return
		}
		for i := range n {
			if !slices.Contains(order, i) {
				next(append(order[:len(order):len(order)], i))
			}
		}
	}
	next(nil)
}

// TestAnyOrder: each event comes twice, live and from the stream, in whatever order; it ends once.
func TestAnyOrder(t *testing.T) {
	states := []messages.JobState{messages.JobStarted, messages.JobStep, messages.JobCancelled}
	permute(6, func(order []int) {
		table, ends := NewTable(), 0
		for _, i := range order {
			seq, number := i%3+1, uint64(0)
			if i >= 3 {
				number = uint64(10 + seq)
			}
			if table.Event(event("j", "hive-a", seq, states[seq-1]), number, sec(0)) {
				ends++
			}
		}
		i, ok := table.Get("j")
		if ends != 1 || !ok || i.State != messages.JobCancelled || i.Text != "text 3" || table.Open() != 0 || len(table.List()) != 1 ||
			!i.StartedAt.Equal(sec(1)) || !i.UpdatedAt.Equal(sec(3)) {
			t.Errorf("order %v: %d ends, %+v", order, ends, i)
		}
		if o := table.Orphans(sec(3600)); len(o) > 0 {
			t.Errorf("order %v: orphans %s", order, show(o))
		}
	})
}

func TestInfo(t *testing.T) {
	table := NewTable()
	e := event("j", "queen-q", 1, messages.JobStarted)
	e.StartedAt = time.Time{}
	table.Event(e, 1, sec(0))
	quiet := event("j", "queen-q", 2, messages.JobStep)
	quiet.Text = ""
	table.Event(quiet, 2, sec(0))
	table.Tick("queen-q", &messages.JobTick{Job: "j", Done: 5, Total: 10, Unit: "B"}, sec(0))
	i, _ := table.Get("j")
	want := messages.JobInfo{Job: "j", Executor: "queen-q", Op: "model.pull", State: messages.JobStep, Text: "text 1",
		StartedAt: sec(1), UpdatedAt: sec(2), Done: 5, Total: 10, Unit: "B"}
	if i != want {
		t.Errorf("got  %+v\nwant %+v", i, want)
	}
	if _, ok := table.Get("k"); ok {
		t.Error("a job that nobody named")
	}
}

func TestListOrder(t *testing.T) {
	table := NewTable()
	for i, j := range []struct {
		id    messages.JobID
		start float64
		state messages.JobState
	}{{"b-open", 5, messages.JobStep}, {"a-open", 5, messages.JobStep}, {"old-open", 1, messages.JobStarted}, {"new-ended", 9, messages.JobFailed}, {"old-ended", 2, messages.JobSucceeded}} {
		e := event(j.id, "hive-a", 1, j.state)
		e.StartedAt = sec(j.start)
		table.Event(e, uint64(i+1), sec(0))
	}
	var got []string
	for _, i := range table.List() {
		got = append(got, string(i.Job))
	}
	if want := "a-open b-open old-open new-ended old-ended"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if table.Open() != 3 {
		t.Errorf("%d open", table.Open())
	}
}

// many ends n jobs and has one that runs, the oldest.
func many(n int) *Table {
	table := NewTable()
	table.Event(event("open", "hive-a", 1, messages.JobStarted), 1, sec(0))
	for i := range n {
		table.Event(event(messages.JobID(fmt.Sprint("j", i)), "hive-a", 1, messages.JobSucceeded), uint64(i+2), sec(0))
	}
	return table
}

func TestTheOldestAreForgotten(t *testing.T) {
	table := many(kept + 3)
	for id, want := range map[messages.JobID]bool{"open": true, "j0": false, "j2": false, "j3": true, "j502": true} {
		if _, ok := table.Get(id); ok != want {
			t.Errorf("%s: %v", id, ok)
		}
	}
	if n := len(table.List()); n != kept+1 || table.Open() != 1 {
		t.Errorf("%d listed, %d open", n, table.Open())
	}
}

// TestAReplayIsNoNews: after a reconnect the stream tells of every job again; an end that was counted is
// not counted twice, however long ago it was.
func TestAReplayIsNoNews(t *testing.T) {
	const n = kept + 3
	table := many(n)
	again := 0
	for i := range n {
		if table.Event(event(messages.JobID(fmt.Sprint("j", i)), "hive-a", 1, messages.JobSucceeded), uint64(i+2), sec(1)) {
			again++
		}
	}
	if again > 0 {
		t.Errorf("%d jobs end a second time", again)
	}
}

// TestAnotherSpeaksOfTheJob: a job is its first executor's alone; another can neither end it nor keep it.
func TestAnotherSpeaksOfTheJob(t *testing.T) {
	table := NewTable()
	table.Event(event("j", "hive-a", 1, messages.JobStarted), 1, sec(0))
	if table.Event(event("j", "hive-b", 1000, messages.JobSucceeded), 2, sec(14)) {
		t.Error("it ended")
	}
	if i, _ := table.Get("j"); i.Executor != "hive-a" || i.State != messages.JobStarted {
		t.Errorf("%+v", i)
	}
	if got := orphans(table, sec(15)); got != "j failed #2 behind 1" {
		t.Errorf("orphans %q", got)
	}
}

// TestAnEndMayNotKnowTheLastSteps: who ends a job for its executor knows only what the stream has.
func TestAnEndMayNotKnowTheLastSteps(t *testing.T) {
	table := NewTable()
	table.Event(event("j", "hive-a", 1, messages.JobStarted), 1, sec(0))
	table.Event(event("j", "hive-a", 4, messages.JobStep), 0, sec(1)) // heard, not stored
	if !table.Event(event("j", "hive-a", 2, messages.JobFailed), 2, sec(20)) {
		t.Error("it goes on")
	}
	if got := orphans(table, sec(60)); got != "" {
		t.Errorf("ended again: %q", got)
	}
}

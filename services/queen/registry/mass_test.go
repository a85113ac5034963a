package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// news lists what cs say, with a mark for when: "12 w1 suspect".
func news(at int, cs []Change) []string {
	var out []string
	for _, c := range cs {
		_, kind, _ := strings.Cut(c.Kind, ".")
		switch {
		case c.Kind == "":
		case c.Worker.ID != "":
			out = append(out, fmt.Sprintf("%d %s %s", at, c.Worker.ID, kind))
		case c.Hive != "":
			out = append(out, fmt.Sprintf("%d %s %s", at, c.Hive, kind))
		default:
			out = append(out, fmt.Sprintf("%d bus %s", at, kind))
		}
	}
	slices.Sort(out)
	return out
}

// play is a crowd whose silence begins at the seconds given; live ones beat every 5 s. What is heard in one
// second comes before its tick.
type play struct {
	heard []float64
	live  []messages.WorkerID
	hear  map[int]func(*Table, time.Time) []Change
	until int
	want  string
}

func (p play) run() string {
	table := NewTable()
	var out []string
	for s := range p.until + 1 {
		now := sec(float64(s))
		for i, at := range p.heard {
			if at == float64(s) {
				beatOf(messages.WorkerID(fmt.Sprintf("w%d", i+1)), ready)(table, now)
			}
		}
		for _, id := range p.live {
			if s%5 == 0 {
				beatOf(id, ready)(table, now)
			}
		}
		if do := p.hear[s]; do != nil {
			out = append(out, news(s, do(table, now))...)
		}
		out = append(out, news(s, table.Tick(now))...)
	}
	return strings.Join(out, ", ")
}

type heard = map[int]func(*Table, time.Time) []Change

func stall(id messages.WorkerID) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change { return t.Suspect(id, "i"+string(id), "no answer", now) }
}

func cutOf(id messages.WorkerID) func(*Table, time.Time) []Change {
	return func(t *Table, now time.Time) []Change { return t.Disconnected(id, "stale", now) }
}

func TestMassSilence(t *testing.T) {
	for name, p := range map[string]play{
		"1 of 1 is lost as usual": {heard: []float64{0}, until: 30, want: "12 w1 suspect, 20 w1 lost"},
		"1 of 2 is lost as usual": {heard: []float64{0}, live: []messages.WorkerID{"w2"}, until: 30, want: "12 w1 suspect, 20 w1 lost"},
		"2 of 4 are lost as usual": {heard: []float64{0, 0}, live: []messages.WorkerID{"w3", "w4"}, until: 30,
			want: "12 w1 suspect, 12 w2 suspect, 20 w1 lost, 20 w2 lost"},
		"one after the other": {heard: []float64{0, 9}, until: 30, want: "12 w1 suspect, 20 w1 lost, 21 w2 suspect, 29 w2 lost"},
		"nobody is suspect":   {heard: []float64{0, 0}, until: 599, want: "12 bus suspect"},
		"3 of 4":              {heard: []float64{0, 0, 0}, live: []messages.WorkerID{"w4"}, until: 599, want: "12 bus suspect"},
		"lost after 10 minutes": {heard: []float64{0, 0, 0}, until: 600,
			want: "12 bus suspect, 600 w1 lost, 600 w2 lost, 600 w3 lost"},
		"who is suspect for silence alone is spared": {heard: []float64{0, 3}, until: 599, want: "12 w1 suspect, 15 bus suspect, 15 w1 ready"},
		"who stalled is not":                         {heard: []float64{0, 3}, hear: heard{5: stall("w1")}, until: 599, want: "5 w1 suspect, 15 bus suspect"},
		"nor who was silent and then stalled":        {heard: []float64{0, 3}, hear: heard{13: stall("w1")}, until: 599, want: "12 w1 suspect, 15 bus suspect"},
		"a stall meanwhile":                          {heard: []float64{0, 0}, hear: heard{50: stall("w1")}, until: 599, want: "12 bus suspect, 50 w1 suspect"},
		"who was cut is lost at 20 s": {heard: []float64{0, 0, 0}, hear: heard{1: cutOf("w1")}, until: 599,
			want: "1 w1 suspect, 12 bus suspect, 20 w1 lost"},
		"who was silent and then cut too": {heard: []float64{0, 3, 3}, hear: heard{13: cutOf("w1")}, until: 599,
			want: "12 w1 suspect, 15 bus suspect, 20 w1 lost"},
		"cut meanwhile": {heard: []float64{0, 0, 0}, hear: heard{15: cutOf("w1")}, until: 599, want: "12 bus suspect, 15 w1 suspect, 20 w1 lost"},
		"who was cut and beat since counts": {heard: []float64{0, 2}, hear: heard{1: cutOf("w1"), 3: beatOf("w1", ready)}, until: 599,
			want: "1 w1 suspect, 3 w1 ready, 14 w2 suspect, 15 bus suspect, 15 w2 ready"},
		"all were cut": {heard: []float64{0, 0}, hear: heard{1: cutOf("w1"), 2: cutOf("w2")}, until: 30,
			want: "1 w1 suspect, 2 w2 suspect, 20 w1 lost, 20 w2 lost"},
		"one beats again, the other has 20 s": {heard: []float64{0, 0}, hear: heard{100: beatOf("w1", ready), 105: beatOf("w1", ready), 115: beatOf("w1", ready)}, until: 120,
			want: "12 bus suspect, 100 bus back, 112 w2 suspect, 120 w2 lost"},
		"who was cut has no new 20 s": {heard: []float64{0, 0, 85}, hear: heard{90: cutOf("w3"), 100: beatOf("w1", ready)}, until: 111,
			want: "12 bus suspect, 85 bus back, 90 w3 suspect, 97 bus suspect, 100 bus back, 105 w3 lost"},
		"all do": {heard: []float64{0, 0}, hear: heard{100: beatOf("w1", ready), 104: beatOf("w2", ready)}, until: 111, want: "12 bus suspect, 100 bus back"},
		"half of 4 do": {heard: []float64{0, 0, 0}, live: []messages.WorkerID{"w4"}, hear: heard{100: beatOf("w1", ready), 105: beatOf("w1", ready), 115: beatOf("w1", ready)}, until: 120,
			want: "12 bus suspect, 100 bus back, 112 w2 suspect, 112 w3 suspect, 120 w2 lost, 120 w3 lost"},
		"one answers a probe": {heard: []float64{0, 0}, hear: heard{100: func(t *Table, now time.Time) []Change {
			return t.Probed(Probed{ID: "w1", Incarnation: "iw1", Bus: Answered}, now)
		}}, until: 111, want: "12 bus suspect, 100 bus back"},
		"hives are not lost meanwhile": {heard: []float64{0, 0}, hear: heard{0: hiveSays("h1", "i")}, until: 599,
			want: "0 h1 up, 12 bus suspect"},
		"but cut ones are": {heard: []float64{0, 0}, hear: heard{0: hiveSays("h1", "i"), 50: hiveCut}, until: 599,
			want: "0 h1 up, 12 bus suspect, 50 h1 suspect, 55 h1 lost"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.run(); got != p.want {
				t.Errorf("got  %s\nwant %s", got, p.want)
			}
		})
	}
}

// TestHivesHaveTimeWhenTheBusIsBack: theirs were silent as long as the workers, and get the same new 20 s.
func TestHivesHaveTimeWhenTheBusIsBack(t *testing.T) {
	p := play{heard: []float64{0, 0}, until: 104, want: "0 h1 up, 12 bus suspect, 100 bus back",
		hear: heard{0: hiveSays("h1", "i"), 100: beatOf("w1", ready), 104: hiveSays("h1", "i")}}
	if got := p.run(); got != p.want {
		t.Errorf("got  %s\nwant %s", got, p.want)
	}
}

// TestTheBusIsBackForACause: after 10 minutes the silent are lost, and nobody was heard again.
func TestTheBusIsBackForACause(t *testing.T) {
	table := crowd(0, 0)
	for s := range 602 {
		for _, c := range table.Tick(sec(float64(s))) {
			if c.Kind == BusBack && strings.Contains(c.Cause, "heard again") {
				t.Errorf("at %d s, when all were lost: %s", s, c.Cause)
			}
		}
	}
}

func TestNobodyIsPickedLessWhenTheBusIsSuspect(t *testing.T) {
	table := crowd(0, 3)
	for s := range 100 {
		table.Tick(sec(float64(s)))
	}
	for _, v := range table.Workers() {
		if v.Suspect != "" || v.Bus != RouteUp {
			t.Errorf("%+v", v)
		}
	}
	table.Restart(sec(100))
	if got := table.BusSuspect(); got != "" {
		t.Errorf("after the queen was away: %s", got)
	}
}

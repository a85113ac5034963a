package llamacpp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hostileParts are what TestHostile does, each in a child process: an assert inside llama.cpp ends a
// process, and the parent can tell which case it was.
var hostileParts = map[string]struct {
	do func(*attack)
	// every says that only each such case is done, unless RBEE_SCHEDULES asks for all.
	every int
}{
	"chats":     {attackChats, 3},
	"rules":     {attackRules, 3},
	"samplers":  {attackSamplers, 10},
	"templates": {attackTemplates, 1},
	"tools":     {attackTools, 12},
	"vectors":   {attackVectors, 6},
	"clients":   {attackClients, 4},
	"closes":    {attackCloses, 4},
	"adapters":  {attackAdapters, 5},
	"models":    {attackModels, 20},
	"words":     {attackWords, 1},
}

const (
	partEnv   = "RBEE_TEST_HOSTILE"       // the part that a child does
	reportEnv = "RBEE_TEST_HOSTILE_FILE"  // where it tells
	skipEnv   = "RBEE_TEST_HOSTILE_AFTER" // the last case of an earlier child
	// mostDeaths of children in one part; then the part is given up.
	mostDeaths = 8
	childTime  = 8 * time.Minute
)

// event is one line of a child's report.
type event struct {
	Begin  string `json:",omitempty"` // a case that begins
	Number int    `json:",omitempty"` // its number in the part
	Kind   string `json:",omitempty"` // of a case that has ended: [caseAnswered] and its like
	Why    string `json:",omitempty"`
	Stream *tally `json:",omitempty"` // what became of the streams beside the cases
}

// tally counts what became of streams.
type tally struct{ Answers, Lost, Changed int }

// TestHostile: whatever a client sends, and whatever is in a model's file, the worker lives, answers or
// refuses in time, and the streams beside it say what they say when nobody attacks.
func TestHostile(t *testing.T) {
	total := map[string]int{}
	for _, name := range sortedNames(hostileParts) {
		t.Run(name, func(t *testing.T) {
			for what, n := range superviseAttack(t, name) {
				total[what] += n
			}
		})
	}
	fmt.Printf("hostile: %d cases, %d answered, %d refused, %d left early, %d failed, %d answers of streams, %d streams lost, %d changed, %d workers lost\n",
		total["cases"], total[caseAnswered], total[caseRefused], total[caseLeft], total[caseFailed], total["answers"], total["lost"], total["changed"], total["workers"])
}

// superviseAttack has children do a part's cases. Where one dies the next goes on after the case.
func superviseAttack(t *testing.T, part string) map[string]int {
	sum := map[string]int{}
	for done := 0; ; {
		events, out, err := runAttack(t, part, done)
		last := ""
		for _, e := range events {
			switch {
			case e.Begin != "":
				last, done = e.Begin, e.Number
				sum["cases"]++
			case e.Stream != nil:
				sum["answers"] += e.Stream.Answers
				sum["lost"] += e.Stream.Lost
				sum["changed"] += e.Stream.Changed
			default:
				last = ""
				sum[e.Kind]++
				if e.Kind == caseFailed {
					t.Errorf("%s", e.Why)
				}
			}
		}
		if err == nil {
			if sum["cases"] == 0 {
				t.Errorf("no case was done: the test tests nothing\n%s", tail(out))
			}
			return sum
		}
		if last == "" { // it ended by itself: a test of it failed
			t.Errorf("%v\n%s", err, tail(out))
			return sum
		}
		sum["workers"]++
		t.Errorf("worker lost in %q: %v\n%s", last, err, tail(out))
		if sum["workers"] == mostDeaths {
			t.Errorf("given up after %d deaths", mostDeaths)
			return sum
		}
	}
}

func runAttack(t *testing.T, part string, done int) ([]event, []byte, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHostilePart$", "-test.timeout="+childTime.String())
	cmd.Env = append(os.Environ(), partEnv+"="+part, reportEnv+"="+path, skipEnv+"="+strconv.Itoa(done), "GGML_NO_BACKTRACE=1", "GOTRACEBACK=single",
		"TMPDIR="+t.TempDir()) // who dies does not clean up
	out, err := cmd.CombinedOutput()
	raw, _ := os.ReadFile(path)
	var events []event
	for line := range bytes.Lines(raw) {
		var e event
		if json.Unmarshal(line, &e) == nil {
			events = append(events, e)
		}
	}
	return events, out, err
}

// tail is what a dead child said first and last.
func tail(out []byte) string {
	const most = 3000
	if len(out) > 2*most {
		out = slices.Concat(out[:most], []byte("\n...\n"), out[len(out)-most:])
	}
	return strings.TrimSpace(string(out))
}

// TestHostilePart is a child of TestHostile.
func TestHostilePart(t *testing.T) {
	part, ok := hostileParts[os.Getenv(partEnv)]
	if !ok {
		t.Skip("TestHostile starts it")
	}
	report, err := os.OpenFile(os.Getenv(reportEnv), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	skip, _ := strconv.Atoi(os.Getenv(skipEnv))
	every := part.every
	switch {
	case schedules(0) > 0:
		every = 1
	case raceDetector: // a few times slower
		every *= 4
	}
	part.do(&attack{t: t, report: report, skip: skip, every: every})
}

//go:build chaos

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/messages"
)

// How often a worker is killed, somebody is frozen, and every other fault is made.
var (
	kills   = times("CHAOS_KILLS", 50)
	freezes = times("CHAOS_FREEZES", 5)
	others  = times("CHAOS_OTHERS", 5)
	frozen  = time.Duration(times("CHAOS_FROZEN_SECONDS", 30)) * time.Second
)

func times(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// fault is what happens to whom.
type fault struct {
	whom string // worker, hive, queen, bus, all (the one process)
	sig  syscall.Signal
}

func (f fault) String() string {
	word := map[syscall.Signal]string{syscall.SIGKILL: "kill -9", syscall.SIGTERM: "SIGTERM", syscall.SIGSTOP: "SIGSTOP " + frozen.String()}
	return f.whom + " " + word[f.sig]
}

// row is what was seen of one fault in one topology, all times together.
type row struct {
	n                  int
	notice, full       []time.Duration
	ends               map[string]int // how requests ended that did not complete
	orphans, wrongKeys int
	evicted, complete  int
}

func TestChaos(t *testing.T) {
	signals := []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGTERM}
	var table []string
	for _, top := range []string{"one process", "four processes", "hive restarted", "no disconnects"} {
		whom := []string{"worker", "hive", "queen", "bus"}
		switch top {
		case "one process":
			whom = []string{"worker", "all"}
		case "hive restarted", "no disconnects":
			whom = []string{"worker"}
		}
		for _, w := range whom {
			for _, sig := range signals {
				f := fault{w, sig}
				t.Run(strings.ReplaceAll(top+"/"+f.String(), " ", "_"), func(t *testing.T) {
					r := chaos(t, top, f)
					line := r.line(top, f)
					t.Log(line)
					table = append(table, line)
				})
			}
		}
	}
	fmt.Println(strings.Join(append([]string{header}, table...), "\n"))
}

const header = "topology        fault              n   notice p50/p99/max ms  before 1st token  after 1st token            full service max ms  evicted  orphans  wrong keys"

func (r *row) line(top string, f fault) string {
	before, after := map[string]int{}, map[string]int{}
	for end, n := range r.ends {
		if kind, ok := strings.CutPrefix(end, "before: "); ok {
			before[kind] = n
		} else {
			after[end] = n
		}
	}
	return fmt.Sprintf("%-15s %-18s %-3d %-22s %-17s %-26s %-20.0f %-8d %-8d %d   (%d requests complete)", top, f, r.n, spread(r.notice),
		counts(before), counts(after), ms(slices.Max(append(r.full, 0))), r.evicted, r.orphans, r.wrongKeys, r.complete)
}

func counts(m map[string]int) string {
	if len(m) == 0 {
		return "0"
	}
	var out []string
	for k, n := range m {
		out = append(out, fmt.Sprintf("%d %s", n, k))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func spread(ds []time.Duration) string {
	if len(ds) == 0 {
		return "-"
	}
	slices.Sort(ds)
	at := func(p float64) float64 { return ms(ds[int(p*float64(len(ds)-1)+0.5)]) }
	return fmt.Sprintf("%.1f / %.1f / %.1f", at(0.5), at(0.99), at(1))
}

// chaos makes one fault n times, under load, and looks at what comes of it.
func chaos(t *testing.T, top string, f fault) *row {
	g := newGround(t, top)
	r := &row{n: others, ends: map[string]int{}}
	if f.whom == "worker" && f.sig == syscall.SIGKILL {
		r.n = kills
	}
	if f.sig == syscall.SIGSTOP {
		r.n = freezes
	}
	load := g.load()
	for i := range r.n {
		load.flows(t) // else one request would meet several faults
		g.once(t, f, i, r)
	}
	load.stop(r)
	r.wrongKeys = g.wrongKeys(t)
	g.finish(t, r)
	return r
}

// watcher hears events as they come.
type watcher struct {
	mu   sync.Mutex
	seen []seen
	news chan struct{}
}

type seen struct {
	at    time.Time
	event messages.Event
}

func (g *ground) watch(t *testing.T) *watcher {
	w := &watcher{news: make(chan struct{}, 1)}
	conn := g.connect(t)
	_, err := conn.Subscribe(messages.EventSubject("queen", "*", ">"), func(m bus.Msg) {
		var e messages.Event
		if json.Unmarshal(m.Data, &e) == nil {
			w.mu.Lock()
			w.seen = append(w.seen, seen{time.Now(), e})
			w.mu.Unlock()
			select {
			case w.news <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	return w
}

// first is when the first event that ok accepts came after since; it waits for it.
func (w *watcher) first(since time.Time, limit time.Duration, ok func(*messages.Event) bool) (time.Duration, bool) {
	end := time.After(limit)
	for {
		w.mu.Lock()
		for i := range w.seen {
			if s := &w.seen[i]; s.at.After(since) && ok(&s.event) {
				w.mu.Unlock()
				return s.at.Sub(since), true
			}
		}
		w.mu.Unlock()
		select {
		case <-w.news:
		case <-end:
			return 0, false
		}
	}
}

// evictions counts who was lost since, other than victim.
func (w *watcher) evictions(since time.Time, victim messages.WorkerID) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.seen {
		if s := &w.seen[i]; s.at.After(since) && s.event.Kind == "worker.lost" && s.event.Worker != victim {
			n++
		}
	}
	return n
}

// roleOf is which process of the topology plays whom.
func roleOf(whom string) string {
	return map[string]string{"hive": solo.RoleHive, "queen": solo.RoleQueen, "bus": solo.RoleBus}[whom]
}

package hive

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/spawn"
)

func worker(id messages.WorkerID) messages.SpawnRequest {
	r := request
	r.ID, r.Job = id, messages.JobID("j-"+string(id))
	return r
}

// over says that a process has ended; it may wait for its parent to reap it.
func over(pid int, start uint64) bool {
	now, err := spawn.StartTime(pid)
	stat, reaped := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // it may be reaped between the two
	return err != nil || reaped != nil || now != start || strings.Contains(string(stat), ") Z ")
}

func gone(t *testing.T, pid int, start uint64) {
	t.Helper()
	if !over(pid, start) {
		t.Errorf("process %d lives on", pid)
	}
}

// appears waits for a file that somebody else writes, and gives what it holds.
func appears(t *testing.T, path string) string {
	t.Helper()
	ctx, tick := within(t), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(path); err == nil && strings.HasSuffix(string(b), "\n") {
			return strings.TrimSpace(string(b))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s did not appear", path)
		}
	}
}

func (f *fixture) watch(t *testing.T, r *messages.SpawnResult) {
	t.Helper()
	w := messages.WatchRequest{Worker: r.WorkerID, Incarnation: "i-" + string(r.WorkerID), PID: r.PID, StartTime: r.StartTime}
	if err := f.ask(t, messages.OpWatch, &w, nil); err != nil {
		t.Fatal(err)
	}
}

// exits is the next n reports, by worker.
func (f *fixture) exits(t *testing.T, n int) map[messages.WorkerID]messages.WorkerExited {
	t.Helper()
	out := map[messages.WorkerID]messages.WorkerExited{}
	for range n {
		e := f.exit(t)
		if _, twice := out[e.Worker]; twice {
			t.Errorf("two reports of %s", e.Worker)
		}
		out[e.Worker] = e
	}
	return out
}

// TestStopWorkers: those of this life and of an earlier one get TERM and their time; nothing is spawned then.
func TestStopWorkers(t *testing.T) {
	f := start(t, "serves", true)
	old := f.spawn(t, worker("old"))
	f.stop()
	f.run(t)
	f.watch(t, &old)
	young := f.spawn(t, worker("young"))
	f.hive.StopWorkers(within(t), 20*time.Second)
	gone(t, old.PID, old.StartTime)
	gone(t, young.PID, young.StartTime)
	for id, e := range f.exits(t, 2) {
		// How a stranger's ended, only newer kernels tell; TERM makes 3 of it, KILL could not.
		if e.Code != 3 && (id != "old" || e.Code != -1) || e.Signal != "" {
			t.Errorf("%s: %+v", id, e)
		}
	}
	if err := f.ask(t, messages.OpSpawn, &request, nil); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("a spawn afterwards: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(f.dir, "workers", "*")); len(left) > 0 {
		t.Errorf("credentials stay: %q", left)
	}
}

// TestStopWorkersKills: who does not go in time, or when there is no time, is killed.
func TestStopWorkersKills(t *testing.T) {
	for name, tc := range map[string]struct {
		grace  time.Duration
		cancel bool
	}{"grace is over": {100 * time.Millisecond, false}, "no more patience": {10 * time.Minute, true}} {
		t.Run(name, func(t *testing.T) {
			f := start(t, "stubborn", true)
			a, b := f.spawn(t, worker("a")), f.spawn(t, worker("b"))
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			done := make(chan struct{})
			began := time.Now()
			go func() { defer close(done); f.hive.StopWorkers(ctx, tc.grace) }()
			if tc.cancel {
				appears(t, filepath.Join(f.dir, "termed-a")) // they know, and stay
				appears(t, filepath.Join(f.dir, "termed-b"))
				select {
				case <-done:
					t.Error("it did not wait")
				default:
				}
				cancel()
			}
			select {
			case <-done:
			case <-within(t).Done():
				t.Fatal("StopWorkers does not return")
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			gone(t, a.PID, a.StartTime)
			gone(t, b.PID, b.StartTime)
			for id, e := range f.exits(t, 2) {
				if e.Signal != "SIGKILL" {
					t.Errorf("%s: %+v", id, e)
				}
			}
		})
	}
}

// TestStopWorkersWhileSpawning: a spawn under way has a process that is ended with the others.
func TestStopWorkersWhileSpawning(t *testing.T) {
	f := start(t, "late", true) // its port opens when the test says so
	type answer struct {
		r   messages.SpawnResult
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		var a answer
		a.err = f.queen.Request(context.Background(), messages.HiveSubject("h1", messages.OpSpawn), &request, &a.r)
		answered <- a
	}()
	pid, _ := strconv.Atoi(appears(t, filepath.Join(f.dir, "pid-w1")))
	began, err := spawn.StartTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); f.hive.StopWorkers(context.Background(), 20*time.Second) }()
	for ctx := within(t); ; { // it stops, and waits for the spawn
		if err := f.ask(t, messages.OpSpawn, new(worker("w2")), nil); messages.CodeOf(err) == messages.CodeUnavailable {
			break
		} else if ctx.Err() != nil {
			t.Fatalf("another spawn: %v", err)
		}
	}
	select {
	case <-stopped:
		t.Error("it did not wait for the spawn")
	default:
	}
	if err := os.WriteFile(filepath.Join(f.dir, "open"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ch := range []any{answered, stopped} {
		switch ch := ch.(type) {
		case chan answer:
			select {
			case a := <-ch:
				if a.err != nil || a.r.PID != pid {
					t.Errorf("%+v", a)
				}
			case <-within(t).Done():
				t.Fatal("no answer")
			}
		case chan struct{}:
			select {
			case <-ch:
			case <-within(t).Done():
				t.Fatal("StopWorkers does not return")
			}
		}
	}
	gone(t, pid, began)
}

// TestSameIDTwice: while a process of the id lives, whoever spawned it, another is refused; then it is not.
func TestSameIDTwice(t *testing.T) {
	f := start(t, "serves", true)
	r := f.spawn(t, request)
	refused := func(when string) {
		t.Helper()
		err := f.ask(t, messages.OpSpawn, &request, nil)
		if messages.CodeOf(err) != messages.CodeConflict || !strings.Contains(err.Error(), strconv.Itoa(r.PID)) {
			t.Errorf("%s: %v", when, err)
		}
		if _, err := os.Stat(filepath.Join(f.dir, "workers", "w1", "creds")); err != nil {
			t.Errorf("%s: its credentials went: %v", when, err)
		}
	}
	refused("spawned by this life")
	f.stop()
	f.run(t)
	f.watch(t, &r)
	refused("watched by this life")
	if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.exit(t)
	if again := f.spawn(t, request); again.PID == r.PID {
		t.Errorf("the same process: %+v", again)
	}
}

// TestRestartedHiveTellsHowItEnded: the cause as far as the kernel tells, the log's end, and the whole life.
func TestRestartedHiveTellsHowItEnded(t *testing.T) {
	f := start(t, "serves", true)
	before := time.Now()
	r := f.spawn(t, request)
	f.stop()
	<-time.After(1500 * time.Millisecond) // it lives for real: the kernel's clock is asked
	f.run(t)
	f.watch(t, &r)
	if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e := f.exit(t)
	most := time.Since(before).Milliseconds() + 100 // the kernel counts hundredths
	if e.Worker != "w1" || e.Incarnation != "i-w1" || e.Hive != "h1" || e.PID != r.PID || e.StartTime != r.StartTime || e.Code != -1 || e.Signal != "SIGKILL" && e.Signal != "" {
		t.Errorf("%+v", e)
	}
	if !strings.Contains(e.Stderr, "the last words") || !strings.Contains(e.Cause(), "the last words") {
		t.Errorf("stderr %q", e.Stderr)
	}
	if e.RanMillis < 1400 || e.RanMillis > most {
		t.Errorf("it ran %d ms of %d", e.RanMillis, most)
	}
	t.Logf("the kernel tells a stranger: %v", e.Signal != "")
}

// TestProcessTree: a child and a grandchild in the worker's group go with it.
func TestProcessTree(t *testing.T) {
	for name, restart := range map[string]bool{"spawned": false, "watched only": true} {
		t.Run(name, func(t *testing.T) {
			f := start(t, "tree", true)
			r := f.spawn(t, request)
			type process struct {
				pid   int
				start uint64
			}
			var tree []process
			for _, who := range []string{"child", "grandchild"} {
				pid, _ := strconv.Atoi(appears(t, filepath.Join(f.dir, who)))
				at, err := spawn.StartTime(pid)
				if err != nil {
					t.Fatalf("%s: %v", who, err)
				}
				if pgid, err := syscall.Getpgid(pid); err != nil || pgid != r.PID {
					t.Fatalf("%s is in group %d, not %d: %v", who, pgid, r.PID, err)
				}
				tree = append(tree, process{pid, at})
				t.Cleanup(func() { _ = spawn.Kill(context.Background(), pid, at, 0) })
			}
			if restart {
				f.stop()
				f.run(t)
				f.watch(t, &r)
			}
			if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if e := f.exit(t); e.PID != r.PID {
				t.Errorf("%+v", e)
			}
			for _, p := range tree {
				ends(t, p.pid, p.start)
			}
		})
	}
}

// ends waits until a process is over.
func ends(t *testing.T, pid int, start uint64) {
	t.Helper()
	ctx, tick := within(t), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for !over(pid, start) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d lives on", pid)
		}
	}
}

func TestEveryOperationHasAHandler(t *testing.T) {
	f := start(t, "serves", true)
	n := 0
	for _, op := range messages.Operations() {
		if op.Party == messages.HiveDoes {
			n++
		}
	}
	for _, e := range f.hive.endpoints(t.Context()) {
		n--
		if e.Handle == nil {
			t.Errorf("nobody does %s", e.Subject)
		}
	}
	if n != 0 || len(f.hive.handlers(t.Context())) != len(f.hive.endpoints(t.Context())) {
		t.Errorf("%d operations without an endpoint", n)
	}
}

package spawn

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"golang.org/x/sys/unix"
)

// orphan starts the role through a hive that ends: the process that is left is not our child.
func orphan(t *testing.T, role, ready string) Process {
	t.Helper()
	result := filepath.Join(t.TempDir(), "result")
	hive := startCopy("hive:" + role + "," + ready + "," + result)
	if err := hive.Wait(); err != nil {
		t.Fatal(err)
	}
	var p Process
	if _, err := fmt.Sscan(appears(t, result), &p.PID, &p.StartTime); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Kill(context.Background(), p.PID, p.StartTime, 0) })
	return p
}

func TestKillNeverSignalsAnother(t *testing.T) {
	s := running(t)
	file := filepath.Join(t.TempDir(), "ready")
	p, exit, _ := begin(t, s, "block:"+file)
	appears(t, file)
	if err := Kill(t.Context(), p.PID, p.StartTime+1, 0); messages.CodeOf(err) != messages.CodeConflict {
		t.Fatalf("Kill with another start time: %v", err)
	}
	if _, err := Watch(t.Context(), p.PID, p.StartTime+1); messages.CodeOf(err) != messages.CodeConflict {
		t.Fatalf("Watch with another start time: %v", err)
	}
	alive(t, p.PID)
	if now, err := StartTime(p.PID); err != nil || now != p.StartTime {
		t.Fatalf("start time %d, %v; want %d", now, err, p.StartTime)
	}
	// Had a signal been on its way, this would not be how it ends.
	if err := Kill(t.Context(), p.PID, p.StartTime, patience); err != nil {
		t.Fatal(err)
	}
	if e := receive(t, exit); e.Signal != "SIGTERM" {
		t.Fatalf("%+v", e)
	}
	if err := Kill(t.Context(), p.PID, p.StartTime, 0); messages.CodeOf(err) != messages.CodeNotFound {
		t.Fatalf("Kill of a dead process: %v", err)
	}
	for _, pid := range []int{0, -1, -p.PID} {
		if err := Kill(t.Context(), pid, 1, 0); messages.CodeOf(err) != messages.CodeBadRequest {
			t.Fatalf("Kill %d: %v", pid, err)
		}
	}
}

func TestKillEscalates(t *testing.T) {
	s := running(t)
	file := filepath.Join(t.TempDir(), "ready")
	p, exit, _ := begin(t, s, "stubborn:"+file)
	appears(t, file)

	// While grace lasts only SIGTERM is sent, and a caller that leaves does not make it worse.
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := Kill(short, p.PID, p.StartTime, patience); messages.CodeOf(err) != messages.CodeCancelled {
		t.Fatalf("Kill with a short context: %v", err)
	}
	alive(t, p.PID)

	if err := Kill(t.Context(), p.PID, p.StartTime, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if e := receive(t, exit); e.Signal != "SIGKILL" {
		t.Fatalf("%+v", e)
	}
}

func TestSurvivesItsHive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready")
	p := orphan(t, "polite", file)
	appears(t, file)
	alive(t, p.PID)

	type result struct {
		exit Exit
		err  error
	}
	watched := make(chan result, 1)
	go func() {
		e, err := Watch(t.Context(), p.PID, p.StartTime)
		watched <- result{e, err}
	}()
	if err := Kill(t.Context(), p.PID, p.StartTime, patience); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-watched:
		// The kill may come first: then the watch finds nobody.
		if messages.CodeOf(r.err) == messages.CodeNotFound {
			return
		}
		if r.err != nil || r.exit.Process != p || r.exit.Signal != "" {
			t.Fatalf("%+v, %v", r.exit, r.err)
		}
		if r.exit.Code != -1 && r.exit.Code != 7 { // -1: an older kernel, or nobody reaps
			t.Fatalf("code %d", r.exit.Code)
		}
		t.Logf("exit code known to a stranger: %v", r.exit.Code != -1)
	case <-time.After(patience):
		t.Fatal("the watch did not end")
	}
}

func TestKillAndWatchOfAnOrphanTakeItsGroup(t *testing.T) {
	for name, end := range map[string]func(p Process) error{
		"kill": func(p Process) error { return Kill(t.Context(), p.PID, p.StartTime, patience) },
		"force": func(p Process) error {
			return Kill(t.Context(), p.PID, p.StartTime, 0)
		},
		"watch": func(p Process) error {
			fd, err := openGuarded("test", p.PID, p.StartTime)
			if err != nil {
				return err
			}
			defer fd.close()
			if err := fd.signal(unix.SIGKILL); err != nil {
				return err
			}
			e, err := fd.follow(t.Context(), p.StartTime)
			t.Logf("signal as a stranger knows it: %q", e.Signal)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "grandchild")
			p := orphan(t, "parent", file)
			grandchild, _ := strconv.Atoi(appears(t, file))
			if err := end(p); err != nil {
				t.Fatal(err)
			}
			ends(t, grandchild)
		})
	}
}

func TestWatchCancelled(t *testing.T) {
	s := running(t)
	p, _, _ := begin(t, s, "block:"+filepath.Join(t.TempDir(), "ready"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Watch(ctx, p.PID, p.StartTime); messages.CodeOf(err) != messages.CodeCancelled {
		t.Fatalf("%v", err)
	}
	alive(t, p.PID)
}

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"
	for name, tc := range map[string]struct {
		stat string
		want uint64 // 0: refused
	}{
		"plain":             {"1 (worker)" + rest, 4711},
		"spaces and parens": {"1 (a b) (c) 1 2)" + rest, 4711},
		"newline in name":   {"1 (a\n)" + rest + "\n", 4711},
		"no name":           {"1 worker" + rest, 0},
		"short":             {"1 (worker) S 1 2", 0},
		"empty":             {"", 0},
		"negative":          {"1 (worker) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 -5", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat(tc.stat, fieldStartTime)
			if got != tc.want || (err == nil) != (tc.want != 0) {
				t.Fatalf("%d, %v; want %d", got, err, tc.want)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("1 (worker) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20")
	f.Add(")")
	f.Fuzz(func(_ *testing.T, s string) { parseStat(s, fieldStartTime) })
}

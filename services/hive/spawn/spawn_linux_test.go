package spawn

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"golang.org/x/sys/unix"
)

const patience = 30 * time.Second

// launch is the role "hive": arg is the worker's role, its ready file and where to write the result.
func launch(arg string) {
	part := strings.Split(arg, ",")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := New()
	go s.Run(ctx)
	p, _, err := s.Start(ctx, Spec{
		Path: self(), Env: map[string]string{roleVar: part[0] + ":" + part[1]}, LogPath: part[1] + ".log",
	})
	if err != nil {
		panic(err)
	}
	os.WriteFile(part[2]+".tmp", fmt.Appendf(nil, "%d %d", p.PID, p.StartTime), 0o600)
	os.Rename(part[2]+".tmp", part[2])
}

// running gives a Spawner that runs until the test ends.
func running(t *testing.T) *Spawner {
	t.Helper()
	s := New()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// env makes a child take a role. The coverage folder keeps go test -cover from writing into its log.
func env(t *testing.T, role string) map[string]string {
	t.Helper()
	return map[string]string{roleVar: role, "GOCOVERDIR": t.TempDir()}
}

// begin starts the role and makes sure that nothing of it outlives the test.
func begin(t *testing.T, s *Spawner, role string) (Process, <-chan Exit, string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "logs", "worker.log")
	p, exit, err := s.Start(t.Context(), Spec{Path: self(), Env: env(t, role), LogPath: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Kill(context.Background(), p.PID, p.StartTime, 0) })
	return p, exit, log
}

func receive(t *testing.T, exit <-chan Exit) Exit {
	t.Helper()
	select {
	case e, ok := <-exit:
		if !ok {
			t.Fatal("closed without an exit")
		}
		return e
	case <-time.After(patience):
		t.Fatal("no exit")
		return Exit{}
	}
}

// appears waits for a file by polling the folder, and returns what it holds.
func appears(t *testing.T, path string) string {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(path); err == nil {
			return string(b)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not appear", path)
		}
	}
}

// ends waits on a pidfd until the process is gone; ok also if it was gone already.
func ends(t *testing.T, pid int) {
	t.Helper()
	p, err := openPidfd("test", pid)
	if messages.CodeOf(err) == messages.CodeNotFound {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.await(ctx, unix.POLLIN); err != nil {
		t.Fatalf("process %d lives on: %v", pid, err)
	}
}

func alive(t *testing.T, pid int) {
	t.Helper()
	p, err := openPidfd("test", pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if p.has(unix.POLLIN) {
		t.Fatalf("process %d has ended", pid)
	}
}

func TestExit(t *testing.T) {
	s := running(t)
	for _, code := range []int{0, 1, 98} {
		p, exit, log := begin(t, s, "exit:"+strconv.Itoa(code))
		e := receive(t, exit)
		if e.Process != p || e.Code != code || e.Signal != "" {
			t.Fatalf("code %d: %+v", code, e)
		}
		if e.At.IsZero() || e.After <= 0 || e.At.Location() != time.UTC {
			t.Fatalf("times: %+v", e)
		}
		want := "last words on stdout\nlast words on stderr"
		if e.StderrTail != want {
			t.Fatalf("tail %q", e.StderrTail)
		}
		if b, _ := os.ReadFile(log); strings.TrimSpace(string(b)) != want {
			t.Fatalf("log %q", b)
		}
		if _, open := <-exit; open {
			t.Fatal("a second exit")
		}
	}
}

func TestExitBySignal(t *testing.T) {
	s := running(t)
	file := filepath.Join(t.TempDir(), "ready")
	p, exit, _ := begin(t, s, "block:"+file)
	appears(t, file)
	syscall.Kill(p.PID, syscall.SIGKILL)
	if e := receive(t, exit); e.Code != -1 || e.Signal != "SIGKILL" {
		t.Fatalf("%+v", e)
	}
}

func TestGrandchildGoesWithItsParent(t *testing.T) {
	s := running(t)
	file := filepath.Join(t.TempDir(), "grandchild")
	p, exit, _ := begin(t, s, "parent:"+file)
	grandchild, _ := strconv.Atoi(appears(t, file))
	alive(t, grandchild)
	syscall.Kill(p.PID, syscall.SIGKILL)
	receive(t, exit)
	ends(t, grandchild)
}

func TestTailIsOfThisRunAndPrefersTheCrash(t *testing.T) {
	s := running(t)
	dir := t.TempDir()
	log, crash := filepath.Join(dir, "log"), filepath.Join(dir, "crash")
	os.WriteFile(log, []byte("an earlier worker\n"), 0o600)
	os.WriteFile(crash, []byte("old\n"), 0o600)
	run := func(role string) Exit {
		_, exit, err := s.Start(t.Context(), Spec{
			Path: self(), Env: env(t, role), LogPath: log, CrashPath: crash,
		})
		if err != nil {
			t.Fatal(err)
		}
		return receive(t, exit)
	}
	if e := run("exit:1"); strings.Contains(e.StderrTail, "earlier") || strings.Contains(e.StderrTail, "old") {
		t.Fatalf("tail %q", e.StderrTail)
	}
	if e := run("crash:" + crash); e.StderrTail != "panic: the sky fell" {
		t.Fatalf("tail %q", e.StderrTail)
	}
	if b, _ := os.ReadFile(log); !strings.HasPrefix(string(b), "an earlier worker\n") {
		t.Fatalf("the log was not appended to: %q", b)
	}
}

func TestEnvironmentOfAChild(t *testing.T) {
	t.Setenv("RBEE_PORT", "1")
	t.Setenv("SECRET_TOKEN", "x")
	t.Setenv("LC_TIME", "C")
	s := running(t)
	_, exit, err := s.Start(t.Context(), Spec{
		Path: self(), LogPath: filepath.Join(t.TempDir(), "log"),
		Env: map[string]string{roleVar: "env", "RBEE_WORKER_ID": "w1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := receive(t, exit).StderrTail
	for _, want := range []string{"RBEE_WORKER_ID=w1", "LC_TIME=C", "PATH="} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
	for _, not := range []string{"RBEE_PORT", "SECRET_TOKEN"} {
		if strings.Contains(got, not) {
			t.Errorf("%s is inherited", not)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	s := running(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, exit, err := s.Start(t.Context(), Spec{
				Path: self(), Env: env(t, "exit:"+strconv.Itoa(i)),
				LogPath: filepath.Join(dir, strconv.Itoa(i)),
			})
			if err != nil {
				t.Error(err)
				return
			}
			if e := <-exit; e.Code != i {
				t.Errorf("worker %d: %+v", i, e)
			}
		})
	}
	wg.Wait()
}

func TestStartErrors(t *testing.T) {
	s := running(t)
	log := filepath.Join(t.TempDir(), "log")
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		spawner *Spawner
		ctx     context.Context
		spec    Spec
		want    messages.Code
	}{
		"no program":    {s, t.Context(), Spec{LogPath: log}, messages.CodeBadRequest},
		"no log":        {s, t.Context(), Spec{Path: self()}, messages.CodeBadRequest},
		"missing":       {s, t.Context(), Spec{Path: "/nowhere/worker", LogPath: log}, messages.CodeSpawnFailed},
		"log is folder": {s, t.Context(), Spec{Path: self(), LogPath: t.TempDir()}, messages.CodeSpawnFailed},
		"not running":   {New(), done, Spec{Path: self(), LogPath: log}, messages.CodeCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := tc.spawner.Start(tc.ctx, tc.spec); messages.CodeOf(err) != tc.want {
				t.Fatalf("got %v, want code %s", err, tc.want)
			}
		})
	}
}

// A worker lives on when the Spawner stops, and nothing of the Spawner is left.
func TestStopLeavesWorkers(t *testing.T) {
	s := New()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	file := filepath.Join(t.TempDir(), "ready")
	p, exit, _ := begin(t, s, "block:"+file)
	appears(t, file)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, ok := <-exit; ok {
		t.Fatal("an exit was reported")
	}
	alive(t, p.PID)
	if _, _, err := s.Start(t.Context(), Spec{Path: self(), LogPath: file}); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Fatalf("start after the end: %v", err)
	}
	if err := s.Run(t.Context()); messages.CodeOf(err) != messages.CodeConflict {
		t.Fatalf("second Run: %v", err)
	}
	if err := Kill(t.Context(), p.PID, p.StartTime, 0); err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	syscall.Wait4(p.PID, &ws, 0, nil) // nobody else reaps it
}

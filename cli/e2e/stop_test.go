package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/cli/solo"
)

const endless = `{"model":"builtin:bee-endless","max_tokens":%s,"messages":[{"role":"user","content":"hi"}]}`

// running starts an answer of max tokens and returns once its worker decodes; answer gives its status.
func (c *cluster) running(t *testing.T, pid func() int64, maxTokens string) (answer <-chan int) {
	t.Helper()
	got := make(chan int, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	go func() {
		code, _ := c.post(t, ctx, "/v1/chat/completions", strings.Replace(endless, "%s", maxTokens, 1))
		got <- code
	}()
	await(t, "it decodes", func() bool { return pid() > 0 })
	return got
}

// A worker that is stopped finishes what it has, and takes nothing new.
func TestStopLetsAnswersFinish(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-endless", "--id", "w1")
	answer := c.running(t, func() int64 { return int64(info(t, &w).SlotsUsed) }, "1500")
	c.ok(t, "worker", "stop", "w1")
	if code := <-answer; code != 200 {
		t.Errorf("the answer that ran: %d", code)
	}
	c.gone(t, "w1")
}

// One that does not end in time is killed.
func TestStopKillsAtItsTimeout(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-endless", "--id", "w1")
	answer := c.running(t, func() int64 { return int64(info(t, &w).SlotsUsed) }, "1000000000")
	c.ok(t, "worker", "stop", "w1", "--timeout", "300ms")
	if code := <-answer; code == 200 {
		t.Error("the answer is said to be complete")
	}
	c.gone(t, "w1")
}

// A drained worker takes nothing new until it is told to; what it has goes on.
func TestDrainAndUndrain(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-endless", "--id", "w1")
	answer := c.running(t, func() int64 { return int64(info(t, &w).SlotsUsed) }, "1500")
	if out := c.ok(t, "worker", "drain", "w1"); !strings.Contains(out, "draining, 1 requests run") {
		t.Errorf("%q", out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if code := <-answer; code != 200 {
		t.Errorf("the answer that ran: %d", code)
	}
	steps := info(t, &w).Steps
	if code, body := c.post(t, ctx, "/v1/chat/completions", strings.Replace(endless, "%s", "3", 1)); code != 200 {
		t.Errorf("another worker is not started: %d %s", code, body)
	}
	if now := info(t, &w); now.Steps != steps || now.Status != "draining" {
		t.Errorf("it went on: %+v", now)
	}
	c.ok(t, "worker", "undrain", "w1")
	await(t, "it serves again", func() bool {
		code, _ := c.post(t, ctx, "/v1/chat/completions", strings.Replace(endless, "%s", "3", 1))
		return code == 200 && info(t, &w).Steps > steps
	})
}

// The first Ctrl-C lets answers finish, the second kills; nothing stays.
func TestSecondCtrlCKills(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-endless", "--id", "w1")
	answer := c.running(t, func() int64 { return int64(info(t, &w).SlotsUsed) }, "1000000000")
	kill(t, c.up.Process.Pid, syscall.SIGINT)
	await(t, "it drains", func() bool { return strings.Contains(c.logs(), "worker.draining") })
	began := time.Now()
	kill(t, c.up.Process.Pid, syscall.SIGINT)
	c.ended(t) // fails when a process stays
	if code := <-answer; code == 200 {
		t.Error("the answer is said to be complete")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Ctrl-C on a hive of its own ends the workers of that machine.
func TestHiveApartStopsItsWorkers(t *testing.T) {
	a := startApart(t)
	w := a.spawn(t, "builtin:bee-tiny", "--id", "w1")
	a.end(t, solo.RoleHive, syscall.SIGINT)
	if err := syscall.Kill(w.PID, 0); err == nil {
		t.Error("its worker lives")
	}
	await(t, "the queen knows", func() bool { return a.rbee(t, "worker", "get", "w1").code == 1 })
}

// rbee-hive leaves its workers on TERM, unless --stop-workers.
func TestHiveServiceLeavesItsWorkers(t *testing.T) {
	for _, stop := range []bool{false, true} {
		t.Run(strconv.FormatBool(stop), func(t *testing.T) {
			a := startApart(t)
			a.end(t, solo.RoleHive, syscall.SIGINT)
			args := []string{"--server", a.addr.NATS, "--data-dir", a.dir}
			if stop {
				args = append(args, "--stop-workers")
			}
			hive := exec.Command(filepath.Join(bin, "rbee-hive"), args...)
			hive.Env = env(a.dir)
			if err := hive.Start(); err != nil {
				t.Fatal(err)
			}
			w := a.spawn(t, "builtin:bee-tiny", "--id", "w1")
			_ = hive.Process.Signal(syscall.SIGTERM)
			if err := hive.Wait(); err != nil {
				t.Errorf("the hive ended with %v", err)
			}
			if lives := syscall.Kill(w.PID, 0) == nil; lives == stop {
				t.Errorf("its worker lives: %v", lives)
			}
			if !stop {
				a.up(t, solo.RoleHive) // it takes the worker over, and stops it with the rest
				await(t, "it watches", func() bool {
					return strings.Contains(a.logsOf(solo.RoleQueen), "it was restarted") || strings.Count(a.logsOf(solo.RoleQueen), `"hive.up"`) > 2
				})
				a.ok(t, "worker", "stop", "w1")
			}
		})
	}
}

// Cancelling a spawn while the model loads ends the process at once.
func TestCancelWhileLoading(t *testing.T) {
	c := start(t)
	c.ok(t, "worker", "spawn", "builtin:bee-tiny", "--id", "first") // the engine is there
	cmd := exec.Command(filepath.Join(bin, "rbee"), "worker", "spawn", "builtin:bee-slow", "--id", "w1")
	cmd.Env = env(c.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	await(t, "its process runs", func() bool { pid = c.processOf("w1"); return pid > 0 })
	kill(t, pid, syscall.SIGSTOP) // it loads, and loads
	_ = cmd.Process.Signal(os.Interrupt)
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("Ctrl-C: exit %d", cmd.ProcessState.ExitCode())
	}
	var job struct {
		Job, State string
	}
	line, _, _ := strings.Cut(c.ok(t, "job", "list", "--open", "--json"), "\n")
	if err := json.Unmarshal([]byte(line), &job); err != nil {
		t.Fatalf("the job does not go on: %q", line)
	}
	began := time.Now()
	c.ok(t, "job", "cancel", job.Job)
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("its process lives")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if out := c.ok(t, "job", "list"); !strings.Contains(out, "cancelled") {
		t.Errorf("%q", out)
	}
	if r := c.rbee(t, "job", "watch", job.Job); r.code != 1 || !strings.Contains(r.stderr, "process "+strconv.Itoa(pid)) {
		t.Errorf("a replay: exit %d, %q", r.code, r.stderr)
	}
}

// processOf is the pid of a worker by its command line.
func (c *cluster) processOf(id string) int {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range all {
		b, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(b), "--worker-id\x00"+id+"\x00") && strings.Contains(string(b), c.dir) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			return pid
		}
	}
	return 0
}

// A job whose hive dies ends as failed, for whoever watches and for good.
func TestJobOfADeadHiveFails(t *testing.T) {
	a := startApart(t)
	a.ok(t, "worker", "spawn", "builtin:bee-tiny", "--id", "first")
	done := make(chan result, 1)
	go func() { done <- a.rbee(t, "worker", "spawn", "builtin:bee-slow", "--id", "w1") }()
	pid := 0
	await(t, "its process runs", func() bool { pid = a.processOf("w1"); return pid > 0 })
	kill(t, pid, syscall.SIGSTOP)
	a.end(t, solo.RoleQueen, syscall.SIGKILL) // the job's executor
	a.up(t, solo.RoleQueen)
	r := <-done
	if r.code != 1 || !strings.Contains(r.stderr, "its executor queen-queen is gone") {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
	if out := a.ok(t, "job", "list"); strings.Contains(out, "running") || !strings.Contains(out, "failed") {
		t.Errorf("%s", out)
	}
	kill(t, pid, syscall.SIGKILL)
}

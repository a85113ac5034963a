package hive

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/spawn"
)

// TestForeignProcess: a worker's beat may name any pid of this machine; the hive neither watches nor kills
// what is no worker.
func TestForeignProcess(t *testing.T) {
	f := start(t, "serves", true)
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for ctx := t.Context(); ctx.Err() == nil; { // the kernel shows no command line for a moment after the start
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid)); err != nil || len(line) > 0 {
			break
		}
	}
	began, err := spawn.StartTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	err = f.ask(t, messages.OpWatch, &messages.WatchRequest{Worker: "w1", Incarnation: "i1", PID: cmd.Process.Pid, StartTime: began}, nil)
	if messages.CodeOf(err) != messages.CodeNotFound {
		t.Errorf("watch: %v", err)
	}
	err = f.ask(t, messages.OpKill, &messages.KillRequest{Worker: "w1", PID: cmd.Process.Pid, StartTime: began}, nil)
	if messages.CodeOf(err) != messages.CodeConflict {
		t.Errorf("kill: %v", err)
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

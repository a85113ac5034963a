package chattemplate

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

func TestKilledBetween(t *testing.T) {
	r := open(t, endless)
	for range 5 {
		r.wantGood(t)
		pid := r.pid()
		if pid == 0 {
			t.Fatal("there is no child")
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	r.wantGood(t)
}

func TestClose(t *testing.T) {
	r, err := New(t.Context(), endless, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pid := r.pid()
	r.Close()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		t.Error("the child, or its zombie, is still there")
	}
	if _, err := r.Render(t.Context(), chat("x")); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Error(err)
	}
}

// TestInherits: the child has none of the parent's files and environment, and its own process group.
func TestInherits(t *testing.T) {
	f, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// As a C library would: without close-on-exec.
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_SETFD, 0); e != 0 {
		t.Fatal(e)
	}
	r := open(t, endless)
	dir := fmt.Sprintf("/proc/%d", r.pid())
	files, err := os.ReadDir(dir + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range files {
		if to, _ := os.Readlink(filepath.Join(dir, "fd", fd.Name())); to == "/dev/zero" {
			t.Errorf("has the parent's file %s", fd.Name())
		}
	}
	if env, err := os.ReadFile(dir + "/environ"); err != nil || strings.Count(string(env), "\x00") > 2 {
		t.Errorf("environment %q, %v", env, err)
	}
	if group, err := syscall.Getpgid(r.pid()); err != nil || group != r.pid() {
		t.Error(group, err)
	}
}

// TestParentDies: the child ends with its parent, be it idle or in the middle of an endless render.
func TestParentDies(t *testing.T) {
	for _, content := range []string{"good", "bad"} {
		t.Run(content, func(t *testing.T) {
			parent := exec.CommandContext(t.Context(), os.Args[0])
			parent.Env = append(os.Environ(), parentEnv+"="+content)
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			_ = parent.Process.Kill()
			_ = parent.Wait()
			gone(t, strings.TrimSpace(line))
		})
	}
}

// gone waits until a process is no more, or a zombie that nobody reaps.
func gone(t *testing.T, pid string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("the child %s lives on: %s", pid, stat)
		}
	}
}

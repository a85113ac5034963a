package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"golang.org/x/sys/unix"
)

// TestReusedPID has another process get a dead one's pid, for real, in a namespace of pids of its own: there
// the numbers run out soon.
func TestReusedPID(t *testing.T) {
	cmd := exec.Command(self())
	cmd.Env = append(os.Environ(), roleVar+"=reuse:"+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
		}
	})()
	out, err := cmd.CombinedOutput()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		t.Fatalf("a pid namespace cannot be made, which takes root or CAP_SYS_ADMIN: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "the same pid") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// reuse is what runs in the namespace, as its first process.
func reuse(dir string) {
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	if err == nil && os.Getpid() != 1 {
		err = fmt.Errorf("process %d is not the first", os.Getpid())
	}
	if err != nil {
		fail(fmt.Errorf("the pid namespace has no /proc of its own: %w", err))
	}
	few, err := fewPIDs()
	if err != nil {
		fail(fmt.Errorf("pids cannot be made to come again: %w", err))
	}
	for try := range 10 {
		v, err := newVictim(filepath.Join(dir, strconv.Itoa(try)))
		if err != nil {
			fail(err)
		}
		other, err := v.replace(few)
		if err != nil {
			fail(err)
		}
		if other == nil {
			continue // a thread of ours has the number
		}
		err = v.check(other)
		_ = other.Process.Kill()
		_ = other.Wait()
		if err != nil {
			fail(err)
		}
		fmt.Printf("the same pid, %d, after %d tries; few pids: %v\n", v.PID, try+1, few)
		return
	}
	fail(errors.New("no pid was used twice"))
}

func fail(err error) {
	fmt.Println(err)
	os.Exit(1)
}

// fewPIDs makes pids run out soon. Before Linux 6.14 the limit is the whole machine's: then it is false, and
// the next number is chosen instead.
func fewPIDs() (bool, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false, err
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false, err
	}
	if major < 6 || major == 6 && minor < 14 {
		return false, os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte("400"), 0)
	}
	if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte("320"), 0); err != nil {
		return false, err
	}
	return true, os.WriteFile("/proc/sys/kernel/pid_max", []byte("500"), 0)
}

// victim is a process that lived once; fd was opened while it did.
type victim struct {
	Process
	fd *pidfd
}

func newVictim(ready string) (*victim, error) {
	cmd := exec.Command(self())
	cmd.Env = []string{roleVar + "=block:" + ready}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	at, err := StartTime(pid)
	if err != nil {
		return nil, err
	}
	fd, err := openGuarded("test", pid, at)
	if err != nil {
		return nil, err
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // reaped: the number is free
	return &victim{Process{pid, at}, fd}, nil
}

// replace starts processes until one has the victim's pid; nil if none gets it.
func (v *victim) replace(few bool) (*exec.Cmd, error) {
	for range 1000 {
		if !few {
			if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(v.PID-1)), 0); err != nil {
				return nil, err
			}
		}
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		if cmd.Process.Pid == v.PID {
			if at, err := StartTime(v.PID); err != nil || at != v.StartTime {
				return cmd, err
			} // within one tick of the kernel's clock nobody can tell: once more
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return nil, nil
}

// check does to the victim's pid everything that a hive does; other must live through it.
func (v *victim) check(other *exec.Cmd) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want := func(what string, err error, code messages.Code) error {
		if messages.CodeOf(err) != code {
			return fmt.Errorf("%s: %w, want code %q", what, err, code)
		}
		return lives(what, other)
	}
	_, watched := Watch(ctx, v.PID, v.StartTime)
	err := errors.Join(
		want("kill at once", Kill(ctx, v.PID, v.StartTime, 0), messages.CodeConflict),
		want("kill with grace", Kill(ctx, v.PID, v.StartTime, time.Second), messages.CodeConflict),
		want("watch", watched, messages.CodeConflict))
	if err != nil {
		return err
	}
	// What began while the victim lived still means the victim.
	if !v.fd.has(unix.POLLIN) {
		return errors.New("the victim's end is not seen")
	}
	_ = v.fd.forceKill(v.PID)
	if err := lives("a kill that began before", other); err != nil {
		return err
	}
	e, err := v.fd.follow(ctx, v.StartTime)
	if err != nil || e.Code != -1 || e.Signal != "" && e.Signal != "SIGKILL" {
		return fmt.Errorf("a watch that began before: %+v, %w", e, err)
	}
	if err := lives("a watch that began before", other); err != nil {
		return err
	}
	// And with the right start time it is the other that is meant.
	at, err := StartTime(other.Process.Pid)
	if err != nil {
		return err
	}
	if err := Kill(ctx, v.PID, at, 0); err != nil {
		return fmt.Errorf("kill of the other: %w", err)
	}
	if lives("", other) == nil {
		return errors.New("the other was not killed")
	}
	return nil
}

// lives is an error if other has ended, or is about to.
func lives(what string, other *exec.Cmd) error {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(other.Process.Pid) + "/stat")
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(other.Process.Pid) + "/status")
	if err != nil || strings.Contains(string(stat), ") Z ") || strings.Contains(string(status), "SigPnd:\t0000000000000100") {
		return fmt.Errorf("%s: another process was signalled: %s", what, stat)
	}
	return nil
}

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/rbee-project/rbee/messages"
	"golang.org/x/sys/unix"
)

type linuxChild struct {
	proc Process
	os   *os.Process
	fd   *pidfd
}

func (c *linuxChild) process() Process { return c.proc }

func startChild(spec Spec) (child, error) {
	p, err := forkExec(spec)
	if err != nil {
		return nil, messages.Errorf(messages.CodeSpawnFailed, opStart, "start %s: %w", spec.Path, err)
	}
	// Until wait reaps it the pid is certainly ours, so opening by number is safe here.
	fd, err := openPidfd(opStart, p.Pid)
	if err == nil {
		var t uint64
		if t, err = startTime(p.Pid); err == nil {
			return &linuxChild{proc: Process{PID: p.Pid, StartTime: t}, os: p, fd: fd}, nil
		}
		fd.close()
	}
	_ = unix.Kill(-p.Pid, unix.SIGKILL)
	_, _ = p.Wait()
	return nil, err
}

func forkExec(spec Spec) (*os.Process, error) {
	log, err := openLog(spec.LogPath)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return os.StartProcess(spec.Path, append([]string{spec.Path}, spec.Args...), &os.ProcAttr{
		Dir:   spec.Dir,
		Env:   Environ(os.Environ(), spec.Env),
		Files: []*os.File{null, log, log},
		// No Pdeathsig: a worker survives its hive.
		Sys: &syscall.SysProcAttr{Setpgid: true},
	})
}

func (c *linuxChild) wait(ctx context.Context) (int, string, error) {
	defer c.fd.close()
	if err := c.fd.await(ctx, unix.POLLIN); err != nil {
		return -1, "", err
	}
	// Ended but not reaped: the number is still taken, so its group is certainly its group.
	_ = unix.Kill(-c.proc.PID, unix.SIGKILL)
	state, err := c.os.Wait()
	if err != nil {
		return -1, "", nil //nolint:nilerr // it has ended; how is not known
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok {
		code, sig := outcome(unix.WaitStatus(ws))
		return code, sig, nil
	}
	return -1, "", nil
}

func outcome(ws unix.WaitStatus) (code int, signal string) {
	if ws.Signaled() {
		return -1, unix.SignalName(ws.Signal())
	}
	return ws.ExitStatus(), "" // -1 for what is no end
}

func kill(ctx context.Context, pid int, startTime uint64, grace time.Duration) error {
	p, err := openGuarded(opKill, pid, startTime)
	if err != nil {
		return err
	}
	defer p.close()
	if p.has(unix.POLLIN) {
		return errGone(opKill, pid)
	}
	if grace <= 0 {
		return p.forceKill(pid)
	}
	if err := p.signal(unix.SIGTERM); err != nil {
		return signalError(pid, err)
	}
	ended, err := p.awaitFor(ctx, grace)
	switch {
	case err != nil:
		return err
	case ended:
		p.killGroup(false) // grandchildren
		return nil
	default:
		return p.forceKill(pid)
	}
}

// forceKill is the step after grace. It ignores the caller's context: a process that was told to go
// and did not must not be left half dead.
func (p *pidfd) forceKill(pid int) error {
	p.killGroup(!p.has(unix.POLLIN))
	if err := p.signal(unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return signalError(pid, err)
	}
	ended, err := p.awaitFor(context.Background(), killWait)
	if err != nil {
		return err
	}
	if !ended {
		return messages.Errorf(messages.CodeTimeout, opKill, "process %d is still there %s after SIGKILL", pid, killWait)
	}
	return nil
}

// awaitFor waits for the end of the process: true if it ended within d, an error if ctx ended first.
func (p *pidfd) awaitFor(ctx context.Context, d time.Duration) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := p.await(limited, unix.POLLIN)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, messages.Errorf(messages.CodeCancelled, opKill, "process %d was asked to end: %w", p.pid, ctx.Err())
	case limited.Err() != nil:
		return false, nil
	default:
		return false, err
	}
}

func signalError(pid int, err error) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return errGone(opKill, pid)
	case errors.Is(err, unix.EPERM):
		return messages.Errorf(messages.CodeDenied, opKill, "process %d is another user's: %w", pid, err)
	default:
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
}

// reapWait is how long a process that ended may stay unreaped before its exit code is given up.
const reapWait = time.Second

func watch(ctx context.Context, pid int, startTime uint64) (Exit, error) {
	p, err := openGuarded(opWatch, pid, startTime)
	if err != nil {
		return Exit{}, err
	}
	defer p.close()
	return p.follow(ctx, startTime)
}

func (p *pidfd) follow(ctx context.Context, startTime uint64) (Exit, error) {
	begin := time.Now().Add(-age(startTime))
	if err := p.await(ctx, unix.POLLIN); err != nil {
		return Exit{}, messages.Errorf(messages.CodeCancelled, opWatch, "watch of process %d: %w", p.pid, err)
	}
	p.killGroup(!p.has(unix.POLLHUP))
	e := Exit{
		Process: Process{PID: p.pid, StartTime: startTime}, Code: -1,
		At: time.Now().UTC(), After: time.Since(begin),
	}
	if ws, ok := p.howItEnded(ctx); ok {
		e.Code, e.Signal = outcome(ws)
	}
	return e, nil
}

// age is how long ago the kernel's tick startTime was; 0 if that cannot be told. The ticks of /proc are
// hundredths of a second since boot on every system, as /proc/uptime is.
func age(startTime uint64) time.Duration {
	var up float64
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(b), &up); err != nil {
		return 0
	}
	return max(0, time.Duration((up-float64(startTime)/100)*float64(time.Second)))
}

// howItEnded is the wait status of a process that has ended and that somebody else reaps; false if
// the kernel does not tell.
func (p *pidfd) howItEnded(ctx context.Context) (unix.WaitStatus, bool) {
	if ws, ok := p.zombieStatus(); ok {
		return ws, true
	}
	// Whoever reaps it, most often init, does so at once.
	reaped, cancel := context.WithTimeout(ctx, reapWait)
	defer cancel()
	if p.await(reaped, unix.POLLHUP) != nil {
		return 0, false
	}
	return p.status()
}

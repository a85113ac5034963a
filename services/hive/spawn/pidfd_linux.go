package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/rbee-project/rbee/messages"
	"golang.org/x/sys/unix"
)

// pidfd holds on to one process: whatever happens to the pid, it never means another.
type pidfd struct {
	pid  int
	file *os.File // in the runtime's poller, so that waiting takes no thread and can be broken off
	conn syscall.RawConn
}

func openPidfd(op string, pid int) (*pidfd, error) {
	if pid <= 0 {
		return nil, messages.Errorf(messages.CodeBadRequest, op, "%d is not a pid", pid)
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, errGone(op, pid)
	}
	if err != nil {
		return nil, messages.Errorf(messages.CodeInternal, op, "pidfd_open %d: %w", pid, err).
			WithHint("Linux 5.10 or later is needed")
	}
	f := os.NewFile(uintptr(fd), "pidfd "+strconv.Itoa(pid))
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	return &pidfd{pid: pid, file: f, conn: conn}, nil
}

// openGuarded opens the pidfd first and only then compares the start time: from then on the pid
// cannot come to mean another process unnoticed.
func openGuarded(op string, pid int, want uint64) (*pidfd, error) {
	p, err := openPidfd(op, pid)
	if err != nil {
		return nil, err
	}
	have, err := startTime(pid)
	switch {
	case messages.CodeOf(err) == messages.CodeNotFound:
		p.close()
		return nil, errGone(op, pid)
	case err != nil:
		p.close()
		return nil, err
	case have != want:
		p.close()
		return nil, errOther(op, pid, want, have)
	}
	return p, nil
}

func (p *pidfd) close() { p.file.Close() }

// await returns when one of events is set (POLLIN: ended; POLLHUP: reaped too) or with ctx's error.
func (p *pidfd) await(ctx context.Context, events int16) error {
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		_ = p.file.SetReadDeadline(time.Unix(1, 0))
	})
	err := p.conn.Read(func(fd uintptr) bool { return polled(fd)&events != 0 })
	if !stop() {
		<-fired // it must not break off a later wait
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

// has says without waiting whether one of events is set.
func (p *pidfd) has(events int16) bool {
	var got int16
	err := p.conn.Control(func(fd uintptr) { got = polled(fd) })
	return err == nil && got&events != 0
}

func polled(fd uintptr) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return fds[0].Revents
		}
	}
}

// signal sends sig to the process itself.
func (p *pidfd) signal(sig unix.Signal) error { return p.send(sig, 0) }

func (p *pidfd) send(sig unix.Signal, flags int) error {
	var err error
	if cerr := p.conn.Control(func(fd uintptr) {
		err = unix.PidfdSendSignal(int(fd), sig, nil, flags)
	}); cerr != nil {
		return cerr
	}
	return err
}

// signalProcessGroup is PIDFD_SIGNAL_PROCESS_GROUP, since Linux 6.9.
const signalProcessGroup = 1 << 2

// killGroup sends SIGKILL to every process in the group that the process leads, or led. If it leads
// none, nothing happens. held says that the pid is certainly not free for reuse yet.
func (p *pidfd) killGroup(held bool) {
	err := p.send(unix.SIGKILL, signalProcessGroup)
	if !errors.Is(err, unix.EINVAL) {
		return
	}
	// An older kernel: by number, which is only right as long as the number is taken.
	if pgid, err := unix.Getpgid(p.pid); held && err == nil && pgid == p.pid {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
}

// pidfdInfo is the first version of struct pidfd_info, 64 bytes.
type pidfdInfo struct {
	mask     uint64
	cgroup   uint64
	ids      [11]uint32 // pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid
	exitCode int32
}

const (
	pidfdGetInfo  = 0xC040FF0B // _IOWR(0xFF, 11, 64 bytes), since Linux 6.13
	pidfdInfoExit = 1 << 3     // the wait status of a reaped process, since Linux 6.15
)

// status is the wait status of a process that was reaped, by whomever; false where the kernel does
// not tell.
func (p *pidfd) status() (unix.WaitStatus, bool) {
	info := pidfdInfo{mask: pidfdInfoExit}
	var errno unix.Errno
	err := p.conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	})
	if err != nil || errno != 0 || info.mask&pidfdInfoExit == 0 {
		return 0, false
	}
	return unix.WaitStatus(uint32(info.exitCode)), true
}

// zombieStatus is the wait status of a process that ended and is not reaped yet.
func (p *pidfd) zombieStatus() (unix.WaitStatus, bool) {
	// The kernel shows a zero to whoever may not know; who may signal it may know.
	if p.signal(0) != nil {
		return 0, false
	}
	code, err := readStat(p.pid, fieldExitCode)
	if err != nil || !p.has(unix.POLLIN) || p.has(unix.POLLHUP) {
		return 0, false // reaped meanwhile: what was read may be another's
	}
	return unix.WaitStatus(uint32(code)), true
}

// Fields of /proc/<pid>/stat, counted from 1 as in proc(5).
const (
	fieldStartTime = 22
	fieldExitCode  = 52
)

func startTime(pid int) (uint64, error) {
	t, err := readStat(pid, fieldStartTime)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, errGone(opWatch, pid)
	}
	if err != nil {
		return 0, messages.Errorf(messages.CodeInternal, opWatch, "start time of process %d: %w", pid, err)
	}
	return t, nil
}

func readStat(pid, field int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	return parseStat(string(b), field)
}

// parseStat reads one unsigned field. The second is the program's name in parentheses and may hold
// spaces and parentheses itself, so counting starts behind the last one.
func parseStat(stat string, field int) (uint64, error) {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, errors.New("no process name in stat")
	}
	fields := strings.Fields(stat[i+1:])
	if field -= 3; field >= len(fields) { // the one behind the name is the third
		return 0, fmt.Errorf("stat has %d fields behind the name", len(fields))
	}
	return strconv.ParseUint(fields[field], 10, 64)
}

package spawn

import (
	"context"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// killWait is how long a process has to be gone after SIGKILL; longer means that it hangs in the
// kernel, in a driver for example.
const killWait = 10 * time.Second

// StartTime is the start time of process pid, in the unit of [Process.StartTime]. A process that
// does not exist is [messages.CodeNotFound].
func StartTime(pid int) (uint64, error) { return startTime(pid) }

// Kill ends process pid, if it is still the one that started at startTime, and what is left of the
// process group it leads. It sends SIGTERM, waits up to grace, sends SIGKILL, and returns when the
// process has ended; without grace SIGKILL comes at once. The process need not be a child of this one.
//
// Nothing is signalled and the error is [messages.CodeNotFound] when the process is gone, or
// [messages.CodeConflict] when the pid is another process by now. [messages.CodeDenied]: the process
// is another user's. [messages.CodeTimeout]: it did not end even after SIGKILL. If ctx ends during
// grace, the error is [messages.CodeCancelled] and only SIGTERM was sent.
func Kill(ctx context.Context, pid int, startTime uint64, grace time.Duration) error {
	return kill(ctx, pid, startTime, grace)
}

// Watch returns when process pid ends, if it is the one that started at startTime, and kills what is
// left of the process group it led. It is for workers which an earlier hive started: the exit code
// is known only where the kernel tells it to strangers (from Linux 6.15 on, and before that until init
// has reaped the process), else it is -1 and Signal is "". Errors are those of [Kill].
func Watch(ctx context.Context, pid int, startTime uint64) (Exit, error) {
	return watch(ctx, pid, startTime)
}

func errGone(op string, pid int) error {
	return messages.Errorf(messages.CodeNotFound, op, "process %d has ended", pid)
}

func errOther(op string, pid int, want, have uint64) error {
	return messages.Errorf(messages.CodeConflict, op,
		"process %d started at %d, not at %d: the pid belongs to another process now", pid, have, want)
}

//go:build !linux

package spawn

import (
	"context"
	"runtime"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// unsupported: guarding a pid against reuse takes Linux's pidfd, and we do not signal unguarded.
func unsupported(code messages.Code, op string) error {
	return messages.Errorf(code, op, "worker processes are not supported on %s yet", runtime.GOOS).
		WithHint("run the hive on Linux, or start rbee-worker by hand")
}

func startChild(Spec) (child, error) {
	return nil, unsupported(messages.CodeSpawnFailed, opStart)
}

func startTime(int) (uint64, error) {
	return 0, unsupported(messages.CodeBadRequest, opWatch)
}

func kill(context.Context, int, uint64, time.Duration) error {
	return unsupported(messages.CodeBadRequest, opKill)
}

func watch(context.Context, int, uint64) (Exit, error) {
	return Exit{}, unsupported(messages.CodeBadRequest, opWatch)
}

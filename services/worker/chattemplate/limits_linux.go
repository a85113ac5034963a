package chattemplate

import (
	"os"
	"strconv"
	"syscall"
)

// executable is this program even after its file was replaced.
const executable = "/proc/self/exe"

// maxData bounds what the kernel gives the child for writing: the watchdog may be too slow for one
// large allocation. It counts what the Go runtime uses, not what it reserves.
const maxData = 1 << 30

func limitProcess() {
	// A limit that cannot be set leaves the watchdog and the deadline.
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: maxData, Max: maxData})
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}

// closeInherited closes what came through exec from the parent, where a C library (a driver, ggml)
// may have opened files without close-on-exec. Everything of the Go runtime has that flag.
func closeInherited() {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, f := range files {
		fd, err := strconv.Atoi(f.Name())
		if err != nil || fd <= 2 {
			continue
		}
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		if errno == 0 && flags&syscall.FD_CLOEXEC == 0 {
			_ = syscall.Close(fd)
		}
	}
}

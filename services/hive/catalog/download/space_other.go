//go:build !linux

package download

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

// reserve makes f size bytes long. Nothing is reserved here: writing tells when the disk is full.
func reserve(f *os.File, size, _ int64) error { return f.Truncate(size) }

// isFull says whether err is that the disk is full. 39 and 112 are Windows' ERROR_HANDLE_DISK_FULL and
// ERROR_DISK_FULL.
func isFull(err error) bool {
	if errors.Is(err, syscall.ENOSPC) {
		return true
	}
	n, ok := errors.AsType[syscall.Errno](err)
	return ok && runtime.GOOS == "windows" && (n == 39 || n == 112)
}

func syncData(f *os.File) error { return f.Sync() }

// sameDisk is not known here.
func sameDisk(_, _ string) bool { return true }

// syncDir brings the names in dir to the disk; Windows cannot sync a folder.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

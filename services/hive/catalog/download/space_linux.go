package download

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// reserve makes f size bytes long with room on the disk for each of them. On a file system that cannot
// reserve, it looks whether lack bytes are free now.
func reserve(f *os.File, size, lack int64) error {
	before, err := f.Stat()
	if err != nil {
		return err
	}
	if size == 0 {
		return f.Truncate(0)
	}
	for {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		if err := freeFor(f, lack); err != nil {
			return err
		}
		return f.Truncate(size)
	default:
		_ = f.Truncate(before.Size()) // a part may be reserved
		return &os.PathError{Op: "reserve", Path: f.Name(), Err: err}
	}
}

func freeFor(f *os.File, lack int64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return nil // writing will tell
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < lack { //nolint:unconvert // it is smaller elsewhere
		return fmt.Errorf("%d MiB are free: %w", free>>20, unix.ENOSPC)
	}
	return nil
}

// isFull says whether err is that the disk, or what this user may have of it, is full.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// syncData brings f's bytes to the disk.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}

// sameDisk says whether a file can be moved from one folder to the other, as far as that can be known. Of one that is
// not there its nearest parent counts.
func sameDisk(a, b string) bool {
	da, oka := deviceOf(a)
	db, okb := deviceOf(b)
	return !oka || !okb || da == db
}

func deviceOf(dir string) (uint64, bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0, false
	}
	for {
		var st unix.Stat_t
		err := unix.Stat(dir, &st)
		if err == nil {
			return uint64(st.Dev), true //nolint:unconvert // it is smaller elsewhere
		}
		if up := filepath.Dir(dir); errors.Is(err, unix.ENOENT) && up != dir {
			dir = up
			continue
		}
		return 0, false
	}
}

// syncDir brings the names in dir to the disk.
func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

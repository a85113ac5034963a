package catalog

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// freeBytes is what this user may still write on the disk of dir, which need not be there yet; -1 if that is
// not known.
func freeBytes(dir string) int64 {
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if err == nil {
			return int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // it is smaller elsewhere
		}
		up := filepath.Dir(dir)
		if up == dir || err != unix.ENOENT {
			return -1
		}
		dir = up
	}
}

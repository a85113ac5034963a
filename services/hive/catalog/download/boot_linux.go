package download

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// bootID names this run of the computer: what was written to files in it is still there, on the disk or not.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if id := strings.TrimSpace(string(b)); err == nil && len(id) <= maxBoot-20 {
		return id
	}
	return ""
}

// mountID names the mount that a folder is on (statx(2), Linux 5.8 or newer), or is "".
func mountID(dir string) string {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_MNT_ID, &st); err != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return ""
	}
	return strconv.FormatUint(st.Mnt_id, 10)
}

package download

import (
	"os"
	"strings"
)

// bootID names this run of the computer: what was written to files in it is still there, on the disk or not.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) > maxBoot {
		return ""
	}
	return strings.TrimSpace(string(b))
}

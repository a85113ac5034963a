package resident

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// PeakBytes is the most memory that process pid has had resident at once since it began, as Linux counts it
// (VmHWM in /proc/<pid>/status, proc(5)): pages of mapped files are in it, those swapped out are not. It is
// an error if there is no such process, or it has ended and is not waited for yet.
func PeakBytes(pid int) (uint64, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 50)
		if err != nil {
			return 0, fmt.Errorf("peak memory of process %d: %w", pid, err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("peak memory of process %d: it has none", pid)
}

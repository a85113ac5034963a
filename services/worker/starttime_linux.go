package worker

import (
	"bytes"
	"os"
	"strconv"
)

// ownStartTime is field 22 of /proc/self/stat, clock ticks since boot; 0 if it cannot be read.
func ownStartTime() uint64 {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	// The second field is the command in parentheses and may hold anything, more parentheses too.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	const field = 22 - 3 // the rest begins with field 3
	if len(fields) <= field {
		return 0
	}
	t, _ := strconv.ParseUint(string(fields[field]), 10, 64)
	return t
}

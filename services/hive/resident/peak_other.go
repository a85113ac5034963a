//go:build !linux

package resident

import (
	"errors"
	"runtime"
)

// PeakBytes is the most memory that process pid has had resident at once. It is known on Linux alone.
func PeakBytes(int) (uint64, error) {
	return 0, errors.New("peak memory of a process is not known on " + runtime.GOOS)
}

//go:build !windows

package download

import "os"

// openShared opens a file to read that others may rename and remove meanwhile.
func openShared(path string) (*os.File, error) { return os.Open(path) }

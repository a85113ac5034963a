//go:build !linux

package stores

import "os"

func open(path string) (*os.File, error) { return os.Open(path) }

//go:build !linux

package worker

func ownStartTime() uint64 { return 0 }

//go:build slow && linux

package download

import "testing"

// 200 MB at 5 MB/s, 60 kills.
func TestSlowKills(t *testing.T)      { kills(t, 200e6, 60, 5e6, plainly, 1) }
func TestSlowKillsProxy(t *testing.T) { kills(t, 200e6, 60, 5e6, cut, 1) }

package hive

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAbortLeavesItsReason: an assert in a C library ends the worker, and the report says which, whether Go's
// runtime sees the signal or not, and whether this hive spawned the worker or an earlier one.
func TestAbortLeavesItsReason(t *testing.T) {
	const assert = "ggml-backend.cpp:189: GGML_ASSERT(buffer) failed"
	for mode, restart := range map[string]bool{"aborts": false, "aborts-in-c": false, "aborts ": true} {
		t.Run(mode, func(t *testing.T) {
			f := start(t, strings.TrimSpace(mode), true)
			r := f.spawn(t, request)
			if restart {
				f.stop()
				f.run(t)
				f.watch(t, &r)
			}
			if err := os.WriteFile(filepath.Join(f.dir, "abort"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			e := f.exit(t)
			if !strings.Contains(e.Stderr, assert) || !strings.Contains(e.Cause(), assert) || strings.Contains(e.Stderr, "goroutine ") {
				t.Errorf("cause %q, stderr %q", e.Cause(), e.Stderr)
			}
			switch {
			case mode == "aborts-in-c" && e.Signal != "SIGABRT":
				t.Errorf("signal %q, code %d", e.Signal, e.Code)
			case mode == "aborts" && (e.Code != 2 || !strings.Contains(e.Cause(), "SIGABRT: abort")):
				t.Errorf("code %d: %s", e.Code, e.Cause())
			}
			t.Log(e.Cause())
		})
	}
}

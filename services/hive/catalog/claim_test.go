package catalog

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A claim holds from its first moment to its release, whoever sweeps meanwhile.
func TestClaims(t *testing.T) {
	dir := t.TempDir()
	hex := strings.Repeat("0", 63)
	ended := make(chan struct{})
	var sweepers, pulls sync.WaitGroup
	for range 2 {
		sweepers.Go(func() {
			for c := at(dir); ; {
				select {
				case <-ended:
					return
				default:
				}
				if _, err := c.GC(t.Context(), false, false); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 4 {
		pulls.Go(func() {
			c := at(dir)
			for range 8 {
				cl, err := c.claim(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				digest := digestPrefix + hex + string(rune('a'+i))
				if err := cl.add(t.Context(), digest); err != nil {
					t.Error(err)
				}
				path, _ := c.blob(digest)
				write(t, path, []byte("x"))
				leave, err := c.changing(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if claimed, err := c.claimed(); err != nil || !claimed[digest] {
					t.Errorf("%v, %v", claimed, err)
				}
				leave()
				if !lstat(path) {
					t.Error("a claimed file is gone")
				}
				cl.release()
			}
		})
	}
	pulls.Wait()
	close(ended)
	sweepers.Wait()
	c := at(dir)
	gc(t, c, false, false)
	wantBlobs(t, c)
	if left, _ := os.ReadDir(filepath.Join(c.dir, claimsDir)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// While somebody looks which claims live, none is made: one that is not held yet would look dead.
func TestNoClaimMeanwhile(t *testing.T) {
	c := at(t.TempDir())
	leave, err := c.changing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if cl, err := c.claim(ctx); err == nil {
		cl.release()
		t.Error("a claim was made")
	}
}

// A claim without its folder, or of a dead process, is none.
func TestDeadClaims(t *testing.T) {
	c := at(t.TempDir())
	if claimed, err := c.claimed(); err != nil || len(claimed) != 0 {
		t.Errorf("%v, %v", claimed, err)
	}
	dead := write(t, filepath.Join(c.dir, claimsDir, "c-dead"), []byte("sha256:x\n"))
	folder := filepath.Join(c.dir, claimsDir, "folder")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if claimed, err := c.claimed(); err != nil || len(claimed) != 0 || lstat(dead) || !lstat(folder) {
		t.Errorf("%v, %v", claimed, err)
	}
}

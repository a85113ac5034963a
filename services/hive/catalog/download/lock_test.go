package download

import (
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// The one who has the lock removes the folder: of those who come at that moment, one at a time has it.
func TestLockOfRemovedFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "part")
	var wg sync.WaitGroup
	var inside, got atomic.Int64
	for range 4 {
		wg.Go(func() {
			for got.Load() < 500 && !t.Failed() {
				l, ok, err := tryLock(dir)
				if err != nil {
					t.Error(err)
				}
				if !ok || err != nil {
					continue
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				got.Add(1)
				runtime.Gosched()
				write(t, filepath.Join(dir, dataName), nil)
				inside.Add(-1)
				if err := removeDir(dir); err != nil {
					t.Error(err)
				}
				l.Close()
			}
		})
	}
	wg.Wait()
}

package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	hashStep  = 1 << 20 // bytes in front that are worth waking for
	hashRead  = 256 << 10
	syncStep  = 64 << 20
	syncEvery = 5 * time.Second
)

// hash follows the bytes that are there from the front on without a gap, so that the digest is known soon
// after the last one came.
func (t *transfer) hash(ctx context.Context) (string, error) {
	sum, buf := sha256.New(), make([]byte, hashRead)
	for pos := int64(0); ; {
		t.mu.Lock()
		have, complete := t.seg.prefix(), t.seg.complete()
		t.mu.Unlock()
		if complete && pos == have {
			return digestPrefix + hex.EncodeToString(sum.Sum(nil)), nil
		}
		if have-pos < hashStep && !complete {
			select {
			case <-t.grew:
			case <-ctx.Done():
				return "", ctx.Err()
			}
			continue
		}
		for pos < have {
			n, err := t.data.ReadAt(buf[:min(hashRead, have-pos)], pos)
			if n == 0 {
				return "", fmt.Errorf("read back %s: %w", t.data.Name(), err)
			}
			sum.Write(buf[:n])
			pos += int64(n)
			t.hashed.Store(pos)
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
		}
	}
}

// wake has the hash look again.
func (t *transfer) wake() {
	select {
	case t.grew <- struct{}{}:
	default:
	}
}

// dirty is what was written and not synced.
type dirty struct {
	mu    sync.Mutex
	at    map[int]int64 // written, by segment
	bytes int64
	full  chan struct{} // it is worth a sync
}

// newDirty has what a journal says was written and not synced.
func newDirty(e entries) *dirty {
	d := &dirty{at: map[int]int64{}, full: make(chan struct{}, 1)}
	for i, w := range e.written {
		if w != e.synced[i] {
			d.at[i] = w
		}
	}
	return d
}

func (d *dirty) add(i int, written, n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at[i] = written
	if d.bytes += n; d.bytes >= syncStep {
		select {
		case d.full <- struct{}{}:
		default:
		}
	}
}

// take empties it.
func (d *dirty) take() map[int]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.at
	d.at, d.bytes = map[int]int64{}, 0
	return at
}

// syncer brings the bytes to the disk now and then, so that a power failure costs little.
func (t *transfer) syncer(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.dirty.full:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := t.sync(); err != nil {
			stop(err)
			return
		}
	}
}

// settle is called when nobody writes any more. It has the journal say what can be believed.
func (t *transfer) settle() error {
	if t.spec.Digest == "" || bootID() == "" { // else what is written counts, for as long as the computer runs
		_ = t.sync()
	}
	if !t.unsynced.Load() {
		return nil
	}
	h := &t.journal.head // the kernel may have dropped what it could not write
	e, err := readTable(t.journal.f, h, 0, h.segments())
	if err == nil {
		err = t.journal.distrust(e, h.boot)
	}
	if err != nil {
		return os.Remove(filepath.Join(t.spec.Dir, journalName))
	}
	return nil
}

// sync notes as synced what was written before it began.
func (t *transfer) sync() error {
	at := t.dirty.take()
	if len(at) == 0 {
		return nil
	}
	if err := syncData(t.data); err != nil {
		t.unsynced.Store(true)
		return err
	}
	for i, w := range at {
		if err := t.journal.setSynced(i, w); err != nil {
			return err
		}
	}
	return syncData(t.journal.f)
}

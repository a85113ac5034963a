package download

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockName  = "lock"
	lockEvery = 75 * time.Millisecond // how often who waits for a download looks
)

// tryLock takes the lock of a download's folder, which it makes, if nobody has it. The one who had it may
// have removed the folder since: a lock counts if it is still the folder's.
func tryLock(dir string) (*flock.Flock, bool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		if fi, serr := os.Stat(dir); errors.Is(err, fs.ErrExist) && (serr != nil || fi.IsDir()) { // removed meanwhile
			return nil, false, nil
		}
		return nil, false, err
	}
	path := filepath.Join(dir, lockName)
	l := flock.New(path, flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	switch {
	case errors.Is(err, fs.ErrNotExist): // removed between the two steps
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("lock %s: %w", path, err)
	case !ok:
		return nil, false, l.Close()
	}
	held, err := l.Stat()
	if err == nil {
		var now fs.FileInfo
		if now, err = os.Stat(path); err == nil && os.SameFile(held, now) {
			return l, true, nil
		}
	}
	if cerr := l.Close(); cerr != nil {
		return nil, false, cerr
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	return nil, false, nil
}

// lockDir waits for the lock of dir and calls look as often as it looks; waited says that another had it.
func lockDir(ctx context.Context, dir string, look func()) (l *flock.Flock, waited bool, err error) {
	for {
		l, ok, err := tryLock(dir)
		if ok || err != nil {
			return l, waited, err
		}
		waited = true
		look()
		select {
		case <-time.After(lockEvery):
		case <-ctx.Done():
			return nil, true, ctx.Err()
		}
	}
}

// Discard deletes the download at dir and what it has so far. It does nothing and says false while a
// [Get] works on it.
func Discard(dir string) (bool, error) {
	if _, err := os.Stat(dir); err != nil {
		return errors.Is(err, fs.ErrNotExist), nil
	}
	l, ok, err := tryLock(dir)
	if !ok || err != nil {
		return false, err
	}
	err = removeDir(dir)
	return err == nil, errors.Join(err, l.Close())
}

// removeDir removes the folder of a download by who has its lock. With the lock's file gone it may be another's at
// once, so that nothing but the empty folder is removed after it. What is open stays on Windows.
func removeDir(dir string) error {
	if err := wipe(dir); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(dir, lockName))
	_ = os.Remove(dir)
	return nil
}

// wipe removes what a download has so far; the journal first, so that it never speaks of other bytes.
func wipe(dir string) error {
	for _, name := range []string{journalName, journalName + ".new", dataName, doneName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

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
	err = os.RemoveAll(dir)
	return err == nil, errors.Join(err, l.Close())
}

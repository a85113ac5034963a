package catalog

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/rbee-project/rbee/messages"
)

const lockPoll = 50 * time.Millisecond

// lock takes a lock file of the catalog, which dies with its process.
func lock(ctx context.Context, path string) (*flock.Flock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	l := flock.New(path)
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// changing holds the lock under which blobs are claimed and removed: what is claimed stays.
func (c *Catalog) changing(ctx context.Context) (*flock.Flock, error) {
	return lock(ctx, filepath.Join(c.dir, ".lock"))
}

// claim is the files that a pull has brought, or found, and not registered yet. Nobody removes them while its
// process lives.
type claim struct {
	c    *Catalog
	path string
	held *flock.Flock
	f    *os.File
}

func (c *Catalog) claim(ctx context.Context) (*claim, error) {
	path := filepath.Join(c.dir, claimsDir, messages.NewID("c-"))
	held, err := lock(ctx, path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		_ = held.Close()
		return nil, err
	}
	return &claim{c: c, path: path, held: held, f: f}, nil
}

// add claims the file of a digest. Whether it is there is to be looked at afterwards.
func (cl *claim) add(ctx context.Context, digest string) error {
	l, err := cl.c.changing(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	_, err = fmt.Fprintln(cl.f, digest)
	return err
}

func (cl *claim) release() {
	_ = cl.f.Close()
	_ = os.Remove(cl.path)
	_ = cl.held.Close()
}

// claimed is every digest that a living pull claims. It removes the claims of dead ones. The caller holds the
// lock of [Catalog.changing].
func (c *Catalog) claimed() map[string]bool {
	out := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join(c.dir, claimsDir, "*"))
	for _, path := range files {
		l := flock.New(path, flock.SetFlag(os.O_RDONLY))
		if free, err := l.TryLock(); err == nil && free {
			_ = os.Remove(path)
			_ = l.Close()
			continue
		}
		_ = l.Close()
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			out[lines.Text()] = true
		}
		_ = f.Close()
	}
	return out
}

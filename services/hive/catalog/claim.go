package catalog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/rbee-project/rbee/messages"
)

const lockPoll = 10 * time.Millisecond

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

// changing holds the lock under which models are registered and removed, and blobs claimed and removed: what is
// claimed or needed stays. Nobody fetches, hashes or reads a model under it.
func (c *Catalog) changing(ctx context.Context) (leave func(), err error) {
	l, err := lock(ctx, filepath.Join(c.dir, ".lock"))
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Close() }, nil
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
	leave, err := c.changing(ctx) // a claim that is made and not held yet would look like a dead one's
	if err != nil {
		return nil, err
	}
	defer leave()
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
	leave, err := cl.c.changing(ctx)
	if err != nil {
		return err
	}
	defer leave()
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
func (c *Catalog) claimed() (map[string]bool, error) {
	out := map[string]bool{}
	dir := filepath.Join(c.dir, claimsDir)
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, f.Name())
		l := flock.New(path, flock.SetFlag(os.O_RDONLY))
		free, err := l.TryLock()
		if err == nil && free {
			_ = os.Remove(path)
		}
		_ = l.Close()
		if err == nil && !free {
			err = readClaim(path, out)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // who cannot see what is claimed removes nothing
			return nil, err
		}
	}
	return out, nil
}

func readClaim(path string, into map[string]bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		into[lines.Text()] = true
	}
	return lines.Err()
}

package engines

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Bounds of what a package may hold, generous for an engine.
const (
	maxFiles    = 4096
	maxUnpacked = 2 << 30 // bytes
)

// unpackFile unpacks an npm package into dst and reports how many of its packed bytes are read.
func unpackFile(ctx context.Context, tgz, dst string, progress func(done, total int64)) error {
	f, err := os.Open(tgz)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	count := &counter{ctx: ctx, r: f}
	return unpack(count, dst, maxUnpacked, func() { progress(count.n, fi.Size()) })
}

// unpack writes the plain files of an npm package, whose paths all start with one folder, into dst.
// It refuses links, devices, and every path that is not plainly below dst; room is how many bytes
// the files may hold together.
func unpack(tgz io.Reader, dst string, room int64, progress func()) error {
	zr, err := gzip.NewReader(tgz)
	if err != nil {
		return fmt.Errorf("not a gzip file: %w", err)
	}
	defer zr.Close()
	root, err := os.OpenRoot(dst) // whatever the checks below miss, it stays inside
	if err != nil {
		return err
	}
	defer root.Close()
	tr := tar.NewReader(zr)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if n >= maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		if h.Size > room {
			return errors.New("more bytes than an engine may have")
		}
		room -= h.Size
		if err := unpackEntry(root, h, tr); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
		progress()
	}
}

func unpackEntry(root *os.Root, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil // folders are made as files need them
	default:
		return fmt.Errorf("type %q is refused: only plain files are unpacked", h.Typeflag)
	}
	_, name, ok := strings.Cut(h.Name, "/")
	if !ok || strings.Contains(h.Name, `\`) || path.Clean(h.Name) != h.Name || !filepath.IsLocal(filepath.FromSlash(h.Name)) {
		return errors.New("the path is refused")
	}
	name = filepath.FromSlash(name)
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	// O_EXCL: no entry writes over another.
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// counter counts the bytes read, and ends with ctx.
type counter struct {
	ctx context.Context
	r   io.Reader
	n   int64
}

func (c *counter) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

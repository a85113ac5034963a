package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const digestPrefix = "sha256:"

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// blob is where the file of a digest is, or would be. What is no digest is refused: it would be a path.
func (c *Catalog) blob(digest string) (string, error) {
	if !digestForm.MatchString(digest) {
		return "", messages.Errorf(messages.CodeBadModel, opFind, "%.80q is no digest", digest).WithHint("sha256: and 64 hexadecimal digits, in lower case")
	}
	return filepath.Join(c.dir, blobsDir, "sha256-"+strings.TrimPrefix(digest, digestPrefix)), nil
}

// partial is the folder of a download: by digest where one is known, so that equal downloads meet, else by
// what the vendor fetches it by.
func (c *Catalog) partial(v vendor.Vendor, f *vendor.File) string {
	key := strings.TrimPrefix(f.Digest, digestPrefix)
	if key == "" {
		sum := sha256.Sum256([]byte(v.Name() + "\n" + f.Source))
		key = "source-" + hex.EncodeToString(sum[:16])
	}
	return filepath.Join(c.dir, partialDir, key)
}

// Locate is where a file of that digest is on this disk, whole and verified: a blob, or one that is used in
// place. partial is the folder of a download of it, if it is neither.
func (c *Catalog) Locate(digest string) (path, partial string) {
	p, err := c.blob(digest)
	if err != nil {
		return "", ""
	}
	if _, err := fileSize(p); err == nil {
		return p, ""
	}
	if f, ok := c.inPlace(digest); ok {
		return f.InPlace, ""
	}
	dir := filepath.Join(c.dir, partialDir, strings.TrimPrefix(digest, digestPrefix))
	if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
		return "", dir
	}
	return "", ""
}

// inPlace is a file of that digest that some model uses where it lies, and that still has its size.
func (c *Catalog) inPlace(digest string) (file, bool) {
	for _, m := range c.manifests() {
		for _, f := range m.Files {
			if f.InPlace == "" || f.Digest != digest {
				continue
			}
			if size, err := fileSize(f.InPlace); err == nil && size == f.SizeBytes {
				return f, true
			}
		}
	}
	return file{}, false
}

// used is the bytes of all blobs and partial downloads, but for the downloads that keys names.
func (c *Catalog) used(but map[string]int64) int64 {
	var sum int64
	blobs, _ := os.ReadDir(filepath.Join(c.dir, blobsDir))
	for _, b := range blobs {
		if fi, err := b.Info(); err == nil {
			sum += fi.Size()
		}
	}
	partials, _ := os.ReadDir(filepath.Join(c.dir, partialDir))
	for _, p := range partials {
		if _, counted := but[p.Name()]; counted {
			continue
		}
		if fi, err := os.Stat(filepath.Join(c.dir, partialDir, p.Name(), partialData)); err == nil {
			sum += fi.Size()
		}
	}
	return sum
}

// partialData is the file in a download's folder that has the bytes.
const partialData = "data"

// reserve counts size bytes for the download at dir against the quota until release is called.
func (c *Catalog) reserve(dir string, size int64) (release func(), err error) {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	key := filepath.Base(dir)
	if q := c.cfg.QuotaBytes; q > 0 {
		sum := c.used(c.space.sizes)
		for k, n := range c.space.sizes {
			if k != key {
				sum += n
			}
		}
		if sum+size > q {
			return nil, messages.Errorf(messages.CodeDiskFull, messages.OpModelPull, "%d MiB more would be over the quota of %d MiB: %d MiB are used",
				size>>20, q>>20, sum>>20).WithHint("rbee model rm, rbee model gc, or a larger --models-quota")
		}
	}
	c.space.sizes[key] = size
	return func() {
		c.space.mu.Lock()
		defer c.space.mu.Unlock()
		delete(c.space.sizes, key)
	}, nil
}

// digestOf reads the file at path; note, which may be nil, is told how many bytes were read now.
func digestOf(ctx context.Context, path string, note func(n int)) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{writer{ctx: ctx, w: sum, note: note}}, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return digestPrefix + hex.EncodeToString(sum.Sum(nil)), nil
}

// writer ends with ctx, and tells note, which may be nil, how many bytes were written now.
type writer struct {
	ctx  context.Context
	w    io.Writer
	note func(n int)
}

func (w writer) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.w.Write(b)
	if w.note != nil {
		w.note(n)
	}
	return n, err
}

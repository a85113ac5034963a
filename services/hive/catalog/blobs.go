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
	return filepath.Join(c.dir, blobsDir, blobPrefix+strings.TrimPrefix(digest, digestPrefix)), nil
}

// blobPrefix and the digits of a digest are the name of its file.
const blobPrefix = "sha256-"

// blobDigest is the digest whose file has that name.
func blobDigest(name string) (digest string, ok bool) {
	hex, ok := strings.CutPrefix(name, blobPrefix)
	digest = digestPrefix + hex
	return digest, ok && digestForm.MatchString(digest)
}

// ours is the digest of the blob that path leads to. It is to be needed as a blob: used in place it would go
// with the last model that needs it.
func (c *Catalog) ours(path string) (digest string, ok bool) {
	at, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", false
	}
	blobs, err := filepath.EvalSymlinks(filepath.Join(c.dir, blobsDir))
	if err != nil || filepath.Dir(at) != blobs {
		return "", false
	}
	return blobDigest(filepath.Base(at))
}

// partialName is what [Catalog.partial] calls folders.
var partialName = regexp.MustCompile(`^([0-9a-f]{64}|source-[0-9a-f]{32})$`)

// partial is the folder of a download: by digest where one is known, so that equal downloads meet, else by
// what the vendor fetches it by.
func (c *Catalog) partial(v vendor.Vendor, f *vendor.File) string {
	key := strings.TrimPrefix(f.Digest, digestPrefix)
	if key == "" {
		sum := sha256.Sum256([]byte(v.Name() + "\n" + f.Source + "\n" + f.InPlace))
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

// inPlace is a file of that digest that some model uses where it lies, and that has not changed since.
func (c *Catalog) inPlace(digest string) (file, bool) {
	for _, m := range c.manifests() {
		for _, f := range m.Files {
			if f.Digest != digest || c.own(&m, &f) { // one of schema 1 goes with its model
				continue
			}
			if fi, err := fileInfo(f.InPlace); err == nil && f.unchanged(fi) {
				return f, true
			}
		}
	}
	return file{}, false
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

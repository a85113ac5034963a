package download

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// doneName is a file that tells who waited what the digest is, of a download that began without knowing.
const doneName = "done"

type wrongDigest struct {
	got, want string
	resumed   bool
}

func (e *wrongDigest) Error() string { return fmt.Sprintf("digest %s, not %s", e.got, e.want) }

// sizeLearnt ends a transfer that began without knowing the size.
type sizeLearnt struct {
	size    int64
	version string
}

func (e *sizeLearnt) Error() string { return fmt.Sprintf("the file has %d bytes", e.size) }

// replacedError ends a transfer whose file is another one at the source now.
type replacedError struct{ what string }

func (e *replacedError) Error() string { return "replaced at the source: " + e.what }

func (g *getting) verify(digest string, resumed bool) error {
	if g.spec.Digest != "" && digest != g.spec.Digest {
		return &wrongDigest{got: digest, want: g.spec.Digest, resumed: resumed}
	}
	return nil
}

// publish gives the verified file, which is on the disk, its name, and removes the rest.
func (g *getting) publish(digest string, size int64) (Result, error) {
	path := g.spec.final(digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return Result{}, err
	}
	if err := os.Rename(filepath.Join(g.spec.Dir, dataName), path); err != nil {
		return Result{}, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return Result{}, err
	}
	r := Result{Digest: digest, SizeBytes: size, Path: path, Resumed: g.resumed}
	if g.spec.Digest != "" {
		return r, removeDir(g.spec.Dir)
	}
	if err := os.WriteFile(filepath.Join(g.spec.Dir, doneName), []byte(digest), 0o600); err != nil {
		return Result{}, err
	}
	return r, os.Remove(filepath.Join(g.spec.Dir, journalName))
}

// readDone is the digest of the download that just ended in dir, or "".
func readDone(dir string) string {
	fi, err := os.Stat(filepath.Join(dir, doneName))
	if err != nil || fi.Size() > 200 {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(dir, doneName))
	if err != nil || !digestForm.MatchString(string(b)) {
		return ""
	}
	return strings.Clone(string(b))
}

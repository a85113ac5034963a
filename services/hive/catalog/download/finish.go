package download

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rbee-project/rbee/messages"
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

// oneDisk says early that a file cannot be moved to its final path.
func (g *getting) oneDisk() error {
	if g.spec.Final == "" && g.spec.Digest == "" {
		return nil
	}
	final := filepath.Dir(g.spec.final(g.spec.Digest))
	if sameDisk(g.spec.Dir, final) {
		return nil
	}
	return messages.Errorf(messages.CodeBadRequest, op, "%s and %s are on different file systems", g.spec.Dir, final).WithHint("keep the downloads beside the models")
}

// clear removes what an ended download left. Without a digest in the spec, others who wait have to find it.
func (g *getting) clear() {
	if g.spec.Digest != "" {
		_ = removeDir(g.spec.Dir)
		return
	}
	_ = os.Remove(filepath.Join(g.spec.Dir, journalName))
}

// publish gives the verified file, which is on the disk, its name, and removes the rest. The digest is noted before
// and the journal removed after: who finds both and no data knows that it ended in between.
func (g *getting) publish(digest string, size int64) (Result, error) {
	path := g.spec.final(digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return Result{}, err
	}
	if g.spec.Digest == "" {
		if err := writeDone(g.spec.Dir, digest); err != nil {
			return Result{}, err
		}
	}
	if err := os.Rename(filepath.Join(g.spec.Dir, dataName), path); err != nil {
		return Result{}, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return Result{}, err
	}
	g.clear()
	return Result{Digest: digest, SizeBytes: size, Path: path, Resumed: g.resumed}, nil
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// writeDone is durable when it returns.
func writeDone(dir, digest string) error {
	f, err := os.OpenFile(filepath.Join(dir, doneName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(digest)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncDir(dir)
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

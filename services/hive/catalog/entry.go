package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
)

const (
	modelFile = "model.gguf"
	partFile  = "model.gguf.part"
	lockPoll  = 100 * time.Millisecond
)

// entry is one model's folder, held under a lock that dies with its process.
type entry struct {
	root string // <data>/models
	dir  string // below root
	lock *flock.Flock
}

func (c *Catalog) enter(ctx context.Context, id string) (*entry, error) {
	dir := filepath.Join(c.dir, folder(id))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(dir, ".lock"))
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		_ = l.Close()
		return nil, err
	}
	return &entry{root: c.dir, dir: dir, lock: l}, nil
}

func (e *entry) leave() { _ = e.lock.Close() }

// registerInPlace notes a model that stays where it is.
func (e *entry) registerInPlace(v Vendor, a Artifact, ref string) (messages.Model, error) {
	old, err := readManifest(e.dir)
	if err == nil && old.ID == a.ID && old.InPlace != a.InPlace {
		if path, err := old.path(e.root); err == nil && present(path) == nil {
			return messages.Model{}, messages.Errorf(messages.CodeConflict, opResolve,
				"the name %q is taken by %s, so %s cannot have it", a.ID, path, a.InPlace).
				WithHint("rename one of the two files")
		}
		old.Refs = nil // the earlier one is gone
	}
	return e.register(v, a, ref, old.Refs, a.InPlace, "")
}

// fetch makes the file present unless it is, and registers it.
func (e *entry) fetch(ctx context.Context, v Vendor, a Artifact, ref string, step func(Step)) (messages.Model, error) {
	path := filepath.Join(e.dir, modelFile)
	old, err := readManifest(e.dir)
	if err == nil && old.ID == a.ID && (a.Digest == "" || old.Digest == a.Digest) {
		if h, err := openHeader(path); err == nil && int64(h.size) == old.SizeBytes {
			if slices.Contains(old.Refs, ref) {
				return old.model(path), nil
			}
			return e.register(v, a, ref, old.Refs, path, old.Digest)
		}
	}
	step(Step{Text: "fetch " + a.ID, Total: a.SizeBytes})
	part := filepath.Join(e.dir, partFile)
	if err := v.Fetch(ctx, a, part, step); err != nil {
		return messages.Model{}, err
	}
	step(Step{Text: "check " + a.ID})
	digest, err := digestOf(ctx, part)
	if err != nil {
		return messages.Model{}, err
	}
	if _, err := openHeader(part); err != nil || (a.Digest != "" && digest != a.Digest) {
		os.Remove(part) // it would only fail again
		if err == nil {
			err = messages.Errorf(messages.CodeBadModel, opCheck, "what was fetched for %s has digest %s, not %s", a.ID, digest, a.Digest)
		}
		return messages.Model{}, err
	}
	if err := e.forget(); err != nil {
		return messages.Model{}, err
	}
	if err := os.Rename(part, path); err != nil {
		return messages.Model{}, err
	}
	return e.register(v, a, ref, old.Refs, path, digest)
}

// forget removes the manifest, so that a new file is never described by an old one.
func (e *entry) forget() error {
	err := os.Remove(filepath.Join(e.dir, manifestName))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// register writes the manifest of the file at path.
func (e *entry) register(v Vendor, a Artifact, ref string, refs []string, path, digest string) (messages.Model, error) {
	h, err := openHeader(path)
	if err != nil {
		return messages.Model{}, err
	}
	if !slices.Contains(refs, ref) {
		refs = append(refs, ref)
	}
	m := manifest{
		Schema: manifestSchema, ID: a.ID, Vendor: v.Name(), Refs: refs, InPlace: a.InPlace,
		SizeBytes: int64(h.size), Digest: digest,
		Architecture: h.Architecture, Quantization: h.Quantization, ContextLength: h.ContextLength,
		AddedAt: time.Now().UTC().Truncate(time.Second),
	}
	if err := m.write(e.dir); err != nil {
		return messages.Model{}, err
	}
	return m.model(path), nil
}

// header is a model file's header and size in bytes.
type header struct {
	*gguf.Header
	size uint64
}

// openHeader reads a model's header; every error is [messages.CodeBadModel] and names the path.
func openHeader(path string) (header, error) {
	if err := present(path); err != nil {
		return header{}, err
	}
	h, err := gguf.OpenHeader(path)
	if err != nil {
		return header{}, badModel(path, err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return header{}, badModel(path, err)
	}
	return header{h, uint64(fi.Size())}, nil
}

// present says why there is no file at path, if there is none.
func present(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return badModel(path, err)
	case fi.IsDir():
		return messages.Errorf(messages.CodeBadModel, opCheck, "%s is a folder, not a model file", path).
			WithHint("name the .gguf file in it")
	case fi.Mode()&fs.ModeType != 0:
		return messages.Errorf(messages.CodeBadModel, opCheck, "%s is not a regular file", path)
	}
	return nil
}

func digestOf(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(writer{ctx: ctx, w: sum}, f); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
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

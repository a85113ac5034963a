package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	manifestName   = "manifest.json"
	manifestSchema = 2
	maxManifest    = 4 << 20 // bytes
	// maxRefs bounds how many references one model remembers; the oldest go first.
	maxRefs = 16
)

// manifest is what a model's folder says about it.
type manifest struct {
	Schema        int       `json:"schema"`
	ID            string    `json:"id"`
	Vendor        string    `json:"vendor"`
	Refs          []string  `json:"refs"`
	Full          string    `json:"full,omitempty"`
	Files         []file    `json:"files"` // the weights first, in order
	License       string    `json:"license,omitempty"`
	Architecture  string    `json:"architecture,omitempty"`
	Quantization  string    `json:"quantization,omitempty"`
	ContextLength int       `json:"context_length,omitempty"`
	Revision      string    `json:"revision,omitempty"`
	AddedAt       time.Time `json:"added_at"`

	// Of schema 1, which had one file: in place, or model.gguf in the folder.
	InPlace   string `json:"in_place,omitempty"`
	SizeBytes int64  `json:"size_bytes,omitempty"`
	Digest    string `json:"digest,omitempty"`
}

// file is one file of a model: a blob by its digest, or another's at its absolute path.
type file struct {
	Name      string      `json:"name"`
	Kind      vendor.Kind `json:"kind"`
	SizeBytes int64       `json:"size_bytes"`
	Digest    string      `json:"digest,omitempty"`
	InPlace   string      `json:"in_place,omitempty"`
	ModTime   time.Time   `json:"mod_time,omitzero"` // of a file in place, when Digest was its
}

// bare is what a manifest of the artifact says of its files, as far as they are known before the fetch.
func bare(a *vendor.Artifact) *manifest {
	m := &manifest{}
	for _, f := range a.Files {
		m.Files = append(m.Files, file{Name: f.Name, Kind: f.Kind, Digest: f.Digest, InPlace: f.InPlace})
	}
	return m
}

// weights are the model's own files, in order.
func (m *manifest) weights() []file {
	var out []file
	for _, f := range m.Files {
		if f.Kind == vendor.Model {
			out = append(out, f)
		}
	}
	return out
}

// digest of the weights: of the file, or of the parts' digests, one a line.
func (m *manifest) digest() string {
	w := m.weights()
	switch len(w) {
	case 0:
		return ""
	case 1:
		return w[0].Digest
	}
	sum := sha256.New()
	for _, f := range w {
		if f.Digest == "" {
			return ""
		}
		_, _ = io.WriteString(sum, f.Digest+"\n")
	}
	return digestPrefix + hex.EncodeToString(sum.Sum(nil))
}

// unchanged says that a file in place is as it was when its digest was its.
func (f *file) unchanged(fi fs.FileInfo) bool {
	return fi.Size() == f.SizeBytes && (f.ModTime.IsZero() || f.ModTime.Equal(fi.ModTime()))
}

// own says that a file is the catalog's: a blob, or one of schema 1 in the model's folder.
func (c *Catalog) own(m *manifest, f *file) bool {
	return f.InPlace == "" || filepath.Dir(f.InPlace) == filepath.Join(c.dir, folder(m.ID))
}

// path is where one of the model's files is.
func (c *Catalog) path(f *file) (string, error) {
	switch {
	case f.InPlace == "":
		return c.blob(f.Digest)
	case filepath.IsAbs(f.InPlace):
		return f.InPlace, nil
	default:
		return "", messages.Errorf(messages.CodeBadModel, opFind, "a manifest has the relative path %q", f.InPlace)
	}
}

// present is the model if its files are where the manifest says; else an error of [messages.CodeBadModel]. The
// digest of a file in place that has changed since is not known.
func (c *Catalog) present(m *manifest) (messages.Model, error) {
	out := messages.Model{ID: m.ID, Refs: slices.Clone(m.Refs), License: m.License, Architecture: m.Architecture,
		Quantization: m.Quantization, ContextLength: m.ContextLength, Vendor: m.Vendor, Revision: m.Revision, Full: m.Full, AddedAt: m.AddedAt}
	now := manifest{Files: slices.Clone(m.Files)}
	parts := 0
	for i := range now.Files {
		f := &now.Files[i]
		path, err := c.path(f)
		if err != nil {
			return out, err
		}
		fi, err := fileInfo(path)
		if err != nil {
			return out, err
		}
		switch {
		case f.InPlace == "" && fi.Size() != f.SizeBytes:
			return out, because(path, fmt.Sprintf("has %d bytes, not %d", fi.Size(), f.SizeBytes), nil, "rbee model pull "+m.ID+" fetches it again")
		case f.InPlace != "" && !f.unchanged(fi):
			f.SizeBytes, f.Digest = fi.Size(), ""
		}
		if f.Kind == vendor.Model {
			parts++
			out.SizeBytes += f.SizeBytes
			if parts == 1 {
				out.Path = path
			}
		}
		out.Files = append(out.Files, messages.ModelFile{Name: f.Name, Kind: string(f.Kind), Path: path, SizeBytes: f.SizeBytes,
			Digest: f.Digest, InPlace: !c.own(m, f)})
	}
	out.Digest = now.digest()
	if parts == 0 {
		return out, messages.Errorf(messages.CodeBadModel, opFind, "model %s is registered without weights", m.ID)
	}
	if parts > 1 {
		dir := c.parts(m)
		out.Path = filepath.Join(dir, vendor.PartName(partStem, 1, parts))
		for i := range parts {
			if _, err := fileSize(filepath.Join(dir, vendor.PartName(partStem, i+1, parts))); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// errNewer is of a manifest that this version does not understand.
var errNewer = errors.New("it is of a newer version of this program")

func readManifest(dir string) (manifest, error) {
	b, err := readBounded(filepath.Join(dir, manifestName))
	if err != nil {
		return manifest{}, err
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		var s struct{ Schema int }
		if json.Unmarshal(b, &s) == nil && s.Schema > manifestSchema {
			err = errNewer
		}
		return manifest{}, fmt.Errorf("manifest in %s: %w", dir, err)
	}
	if m.Schema > manifestSchema {
		return manifest{}, fmt.Errorf("manifest in %s: %w", dir, errNewer)
	}
	if m.Schema < 1 || folder(m.ID) != filepath.Base(dir) || len(m.ID) > messages.MaxModelName || strings.ContainsFunc(m.ID, unicode.IsControl) {
		return manifest{}, fmt.Errorf("manifest in %s is not its folder's", dir)
	}
	m.Refs = slices.DeleteFunc(m.Refs, func(ref string) bool { return len(ref) > messages.MaxRef })
	m.Refs = m.Refs[max(0, len(m.Refs)-maxRefs):]
	if m.Schema == 1 {
		m.Files = []file{{Name: m.ID, Kind: vendor.Model, SizeBytes: m.SizeBytes, Digest: m.Digest, InPlace: m.InPlace}}
		if m.InPlace == "" {
			m.Files[0].InPlace = filepath.Join(dir, ofSchema1)
		}
		m.Schema, m.InPlace, m.SizeBytes, m.Digest = manifestSchema, "", 0, ""
	}
	return m, nil
}

// readBounded reads a manifest. What is no regular file does not exist.
func readBounded(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() { // a named pipe would wait for its writer
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	if fi.Size() > maxManifest {
		return nil, fmt.Errorf("%s has %d bytes, which is too much", path, fi.Size())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxManifest))
}

// write replaces the manifest in dir, whole or not at all. The caller holds the lock of [Catalog.changing].
func (m manifest) write(dir string) error {
	m.Refs = m.Refs[max(0, len(m.Refs)-maxRefs):]
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if len(b) >= maxManifest {
		return messages.Errorf(messages.CodeBadModel, opResolve, "what is known of model %s takes %d bytes", m.ID, len(b))
	}
	path := filepath.Join(dir, manifestName)
	if err := os.Remove(path + ".part"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) // never through a link
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// manifests reads every entry, sorted by public name. What is unreadable or unfinished is no entry.
func (c *Catalog) manifests() []manifest {
	dirs, _ := os.ReadDir(c.dir) // none yet
	var out []manifest
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		if m, err := readManifest(filepath.Join(c.dir, d.Name())); err == nil {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b manifest) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

var anyDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// needed is every digest of a blob that a model has, and every one that a manifest of a newer version or a damaged one
// names. Where one cannot be read nobody knows what is needed: that is an error.
func (c *Catalog) needed() (map[string]bool, error) {
	dirs, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out := map[string]bool{}
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		b, err := readBounded(filepath.Join(c.dir, d.Name(), manifestName))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if m, err := readManifest(filepath.Join(c.dir, d.Name())); err == nil {
			for _, f := range m.Files {
				if f.InPlace == "" {
					out[f.Digest] = true
				}
			}
			continue
		}
		for _, digest := range anyDigest.FindAll(b, -1) {
			out[string(digest)] = true
		}
	}
	return out, nil
}

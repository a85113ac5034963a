package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

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
	if len(w) == 1 {
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

// present is the model if its files are where the manifest says; else an error of [messages.CodeBadModel].
func (c *Catalog) present(m *manifest) (messages.Model, error) {
	out := messages.Model{ID: m.ID, Refs: slices.Clone(m.Refs), Digest: m.digest(), License: m.License, Architecture: m.Architecture,
		Quantization: m.Quantization, ContextLength: m.ContextLength, Vendor: m.Vendor, Revision: m.Revision, Full: m.Full, AddedAt: m.AddedAt}
	parts := 0
	for i := range m.Files {
		f := &m.Files[i]
		path, err := c.path(f)
		if err != nil {
			return out, err
		}
		size, err := fileSize(path)
		if err != nil {
			return out, err
		}
		if f.InPlace == "" && size != f.SizeBytes {
			return out, because(path, fmt.Sprintf("has %d bytes, not %d", size, f.SizeBytes), nil, "rbee model pull "+m.ID+" fetches it again")
		}
		if f.Kind == vendor.Model {
			parts++
			out.SizeBytes += f.SizeBytes
		}
		out.Files = append(out.Files, messages.ModelFile{Name: f.Name, Kind: string(f.Kind), Path: path, SizeBytes: f.SizeBytes,
			Digest: f.Digest, InPlace: f.InPlace != ""})
	}
	switch {
	case parts == 0:
		return out, messages.Errorf(messages.CodeBadModel, opFind, "model %s is registered without weights", m.ID)
	case parts == 1:
		out.Path = out.Files[0].Path
	default:
		out.Path = filepath.Join(c.dir, folder(m.ID), vendor.PartName(partStem, 1, parts))
		if _, err := fileSize(out.Path); err != nil {
			return out, err
		}
	}
	return out, nil
}

// partStem is how a split model's files are called in its folder: llama.cpp finds the parts by their names.
const partStem = "model"

// linkParts makes the links by which llama.cpp finds the parts of a split model.
func (c *Catalog) linkParts(dir string, m *manifest) error {
	w := m.weights()
	if len(w) < 2 {
		return nil
	}
	for i := range w {
		target, err := c.path(&w[i])
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(dir, target); err == nil && w[i].InPlace == "" {
			target = rel // the data dir may be moved
		}
		link := filepath.Join(dir, vendor.PartName(partStem, i+1, len(w)))
		if old, err := os.Readlink(link); err == nil && old == target {
			continue
		}
		_ = os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return nil
}

func readManifest(dir string) (manifest, error) {
	f, err := os.Open(filepath.Join(dir, manifestName))
	if err != nil {
		return manifest{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return manifest{}, err
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return manifest{}, fmt.Errorf("manifest in %s: %w", dir, err)
	}
	if m.Schema < 1 || m.Schema > manifestSchema || folder(m.ID) != filepath.Base(dir) {
		return manifest{}, fmt.Errorf("manifest in %s is not its folder's", dir)
	}
	if m.Schema == 1 {
		m.Files = []file{{Name: m.ID, Kind: vendor.Model, SizeBytes: m.SizeBytes, Digest: m.Digest, InPlace: m.InPlace}}
		if m.InPlace == "" {
			m.Files[0].InPlace = filepath.Join(dir, "model.gguf")
		}
		m.Schema, m.InPlace, m.SizeBytes, m.Digest = manifestSchema, "", 0, ""
	}
	return m, nil
}

// write replaces the manifest in dir, whole or not at all. The caller holds the folder's lock.
func (m manifest) write(dir string) error {
	if len(m.Refs) > maxRefs {
		m.Refs = m.Refs[len(m.Refs)-maxRefs:]
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, manifestName)
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
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

// The folders beside those of models.
const (
	blobsDir   = "blobs"
	partialDir = "partial"
	claimsDir  = "claims"
)

var (
	plainName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	notInNames = regexp.MustCompile(`[^a-z0-9._-]+`)
	reserved   = regexp.MustCompile(`^(con|prn|aux|nul|com\d|lpt\d)(\.|$)`) // device names of Windows
)

// folder is the name of a model's folder. It is one plain element of a path whatever the public name
// is, and different for different names, also where upper and lower case are the same.
func folder(id string) string {
	own := id == blobsDir || id == partialDir || id == claimsDir
	if plainName.MatchString(id) && !strings.HasSuffix(id, ".") && !own && !reserved.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	readable := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(id), "_"), "._-")
	// "@" is in no plain name, so the two kinds never meet.
	return readable[:min(len(readable), 80)] + "@" + hex.EncodeToString(sum[:6])
}

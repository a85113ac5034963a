package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const (
	manifestName   = "manifest.json"
	manifestSchema = 1
	// maxRefs bounds how many references one model remembers; the oldest go first.
	maxRefs = 16
)

// manifest is what a model's folder says about it.
type manifest struct {
	Schema        int       `json:"schema"`
	ID            string    `json:"id"`
	Vendor        string    `json:"vendor"`
	Refs          []string  `json:"refs"`
	InPlace       string    `json:"in_place,omitempty"` // absolute path; else the file is in the folder
	SizeBytes     int64     `json:"size_bytes"`
	Digest        string    `json:"digest,omitempty"`
	Architecture  string    `json:"architecture,omitempty"`
	Quantization  string    `json:"quantization,omitempty"`
	ContextLength int       `json:"context_length,omitempty"`
	AddedAt       time.Time `json:"added_at"`
}

// path is where the model's file is; root is the folder of all models.
func (m manifest) path(root string) (string, error) {
	switch {
	case m.InPlace == "":
		return filepath.Join(root, folder(m.ID), modelFile), nil
	case filepath.IsAbs(m.InPlace):
		return m.InPlace, nil
	default:
		return "", messages.Errorf(messages.CodeBadModel, opFind, "model %s is registered with the relative path %s", m.ID, m.InPlace)
	}
}

func (m manifest) model(path string) messages.Model {
	return messages.Model{
		ID: m.ID, Refs: slices.Clone(m.Refs), Path: path, SizeBytes: m.SizeBytes, Digest: m.Digest,
		Architecture: m.Architecture, Quantization: m.Quantization, ContextLength: m.ContextLength,
	}
}

func readManifest(dir string) (manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return manifest{}, err
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return manifest{}, fmt.Errorf("manifest in %s: %w", dir, err)
	}
	if m.Schema != manifestSchema || folder(m.ID) != filepath.Base(dir) {
		return manifest{}, fmt.Errorf("manifest in %s is not its folder's", dir)
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

var (
	plainName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	notInNames = regexp.MustCompile(`[^a-z0-9._-]+`)
)

// folder is the name of a model's folder. It is one plain element of a path whatever the public name
// is, and different for different names, also where upper and lower case are the same.
func folder(id string) string {
	if plainName.MatchString(id) && !strings.HasSuffix(id, ".") {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	readable := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(id), "_"), "._-")
	// "@" is in no plain name, so the two kinds never meet.
	return readable[:min(len(readable), 80)] + "@" + hex.EncodeToString(sum[:6])
}

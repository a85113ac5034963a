package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// The folders beside those of models.
const (
	blobsDir   = "blobs"
	partialDir = "partial"
	claimsDir  = "claims"
	peaksName  = "peaks.json" // a file, with others whose names start like this
)

var (
	plainName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	notInNames = regexp.MustCompile(`[^a-z0-9._-]+`)
	reserved   = regexp.MustCompile(`^(con|prn|aux|nul|com\d|lpt\d)(\.|$)`) // device names of Windows
)

// folder is the name of a model's folder. It is one plain element of a path whatever the public name
// is, and different for different names, also where upper and lower case are the same.
func folder(id string) string {
	own := id == blobsDir || id == partialDir || id == claimsDir || strings.HasPrefix(id, peaksName)
	if plainName.MatchString(id) && !strings.HasSuffix(id, ".") && !own && !reserved.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	readable := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(id), "_"), "._-")
	if reserved.MatchString(readable) {
		readable = "_" + readable
	}
	// "@" is in no plain name, so the two kinds never meet.
	return readable[:min(len(readable), 80)] + "@" + hex.EncodeToString(sum[:6])
}

// ofSchema1 is the file of a model of schema 1 that is not in place.
const ofSchema1 = "model.gguf"

// partStem is how a split model's files are called in the folder of its parts: llama.cpp finds them by their names.
const partStem = "model"

var partsName = regexp.MustCompile(`^parts-[0-9a-f]{12}$`)

// parts is the folder with the links to a split model's files. Other files have another folder, so that an update
// changes nothing of the model that is there.
func (c *Catalog) parts(m *manifest) string {
	sum := sha256.New()
	for _, f := range m.weights() {
		_, _ = io.WriteString(sum, f.Digest+"\n"+f.InPlace+"\n")
	}
	return filepath.Join(c.dir, folder(m.ID), "parts-"+hex.EncodeToString(sum.Sum(nil)[:6]))
}

// linkParts makes the links by which llama.cpp finds the parts of a split model.
func (c *Catalog) linkParts(m *manifest) error {
	w := m.weights()
	if len(w) < 2 {
		return nil
	}
	dir := c.parts(m)
	if err := notLink(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
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

// madeHere says whether the catalog gives such a name in a model's folder.
func madeHere(e fs.DirEntry) bool {
	name := e.Name()
	if e.IsDir() {
		return partsName.MatchString(name)
	}
	return strings.HasPrefix(name, ofSchema1) || strings.HasPrefix(name, manifestName) || name == ".lock"
}

// tidy removes from a model's folder what an earlier manifest of it needed.
func (c *Catalog) tidy(dir string, m *manifest) {
	needed := map[string]bool{manifestName: true, filepath.Base(c.parts(m)): len(m.weights()) > 1}
	for i := range m.Files {
		if f := &m.Files[i]; f.InPlace != "" && c.own(m, f) {
			needed[filepath.Base(f.InPlace)] = true
		}
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !needed[e.Name()] && madeHere(e) {
			_ = os.RemoveAll(filepath.Join(dir, e.Name())) // gc is for what stays
		}
	}
}

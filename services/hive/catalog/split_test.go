package catalog

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/plan"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// wantParts checks that an engine finds all parts by the model's path.
func wantParts(t *testing.T, m messages.Model, parts int, size int64) {
	t.Helper()
	h, err := plan.OfFile(m.Path)
	if err != nil || h.Files != parts || len(h.Tensors) != parts {
		t.Fatalf("%s: %+v, %v", m.Path, h, err)
	}
	if !slices.IsSortedFunc(h.Tensors, func(a, b gguf.Tensor) int { return cmp.Compare(a.Name, b.Name) }) {
		t.Fatalf("the parts are in no order: %v", h.Tensors)
	}
	if _, part, of, ok := vendor.Split(filepath.Base(m.Path)); !ok || part != 1 || of != parts || m.SizeBytes != size {
		t.Fatalf("%+v", m)
	}
}

func sum(parts [][]byte) (n int64) {
	for _, p := range parts {
		n += int64(len(p))
	}
	return n
}

func TestSplitModel(t *testing.T) {
	s := newStock()
	parts := split(1, 3, 4096)
	s.put("test:a", "org/a:Q4", parts...)
	home := t.TempDir()
	data := filepath.Join(home, "data")
	c := at(data, s)
	m := pull(t, c, Pull{Ref: "test:a"})
	wantParts(t, m, 3, sum(parts))
	if len(m.Digest) != len(digestPrefix)+64 || m.Digest == digestOfBytes(parts[0]) {
		t.Errorf("digest %s", m.Digest)
	}
	if used, err := c.usable("org/a:Q4"); err != nil || used.Path != m.Path {
		t.Errorf("%+v, %v", used, err)
	}
	// The data directory may be moved.
	moved := filepath.Join(home, "moved")
	if err := os.Rename(data, moved); err != nil {
		t.Fatal(err)
	}
	c = at(moved, s)
	m, err := c.Find("test:a")
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, m, 3, sum(parts))
	// A link that is gone, or a part, makes it no model, and the next pull mends it.
	for _, path := range []string{filepath.Join(filepath.Dir(m.Path), vendor.PartName(partStem, 2, 3)), m.Files[2].Path} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if len(c.List()) != 0 {
			t.Errorf("listed without %s", path)
		}
		_, err := c.Find("test:a")
		wantError(t, err, messages.CodeBadModel, "does not exist")
		wantParts(t, pull(t, c, Pull{Ref: "test:a", IfMissing: true}), 3, sum(parts))
	}
	// With other parts, the links of these go.
	fewer := split(11, 2, 4096)
	s.put("test:a", "org/a:Q4", fewer...)
	m = pull(t, c, Pull{Ref: "test:a"})
	wantParts(t, m, 2, sum(fewer))
	if links, _ := filepath.Glob(filepath.Join(filepath.Dir(m.Path), "..", "*", "*.gguf")); len(links) != 2 {
		t.Errorf("links %q", links)
	}
	// One without parts has none.
	s.put("test:a", "org/a:Q4", weights(20, 4096))
	m = pull(t, c, Pull{Ref: "test:a"})
	if links, _ := filepath.Glob(filepath.Join(c.dir, folder("org/a:Q4"), "*", "*")); len(links) != 0 || m.Path != m.Files[0].Path {
		t.Errorf("links %q, %+v", links, m)
	}
	remove(t, c, "test:a")
	gc(t, c, false, true)
	wantBlobs(t, c)
}

// An update that fails, or is killed, at its last step leaves the old model as it was.
func TestSplitModelHalfUpdated(t *testing.T) {
	s := newStock()
	old := split(1, 3, 4096)
	s.put("test:a", "a", old...)
	c := at(t.TempDir(), s)
	pull(t, c, Pull{Ref: "test:a"})
	stuck := write(t, filepath.Join(c.dir, "a", manifestName+".part", "x"), nil)
	s.put("test:a", "a", split(11, 3, 4096)...)
	if _, err := c.Pull(t.Context(), Pull{Ref: "test:a"}, Watcher{}); err == nil {
		t.Fatal("registered")
	}
	m, err := c.Find("a")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range old {
		path := filepath.Join(filepath.Dir(m.Path), vendor.PartName(partStem, i+1, 3))
		if got, err := digestOf(t.Context(), path, nil); err != nil || got != digestOfBytes(part) {
			t.Errorf("part %d is %s, %v", i+1, got, err)
		}
	}
	if err := os.RemoveAll(filepath.Dir(stuck)); err != nil {
		t.Fatal(err)
	}
	wantParts(t, pull(t, c, Pull{Ref: "test:a"}), 3, sum(split(11, 3, 4096)))
}

func TestSplitModelInPlace(t *testing.T) {
	c := at(t.TempDir(), local{})
	dir := t.TempDir()
	parts := split(1, 3, 4096)
	var paths []string
	for i, p := range parts {
		paths = append(paths, write(t, filepath.Join(dir, vendor.PartName("big", i+1, 3)), p))
	}
	for i, ref := range []string{paths[0], paths[2], dir} { // by any part, or the folder
		m := pull(t, c, Pull{Ref: ref})
		wantParts(t, m, 3, sum(parts))
		if m.ID != "big" || len(m.Refs) != i+1 || m.Files[1].Path != paths[1] || !m.Files[1].InPlace {
			t.Errorf("%+v", m)
		}
	}
	m := pull(t, c, Pull{Ref: paths[0], Copy: true})
	wantParts(t, m, 3, sum(parts))
	if m.Files[0].InPlace {
		t.Errorf("%+v", m)
	}
	whole(t, c)
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	_, err := c.Pull(t.Context(), Pull{Ref: paths[0], Name: "other"}, Watcher{})
	wantError(t, err, messages.CodeBadModel, paths[1], "does not exist")
}

// A part under another name is no whole model.
func TestPartAlone(t *testing.T) {
	s := newStock()
	s.put("test:a", "a", split(1, 3, 4096)[0])
	c := at(t.TempDir(), s)
	_, err := c.Pull(t.Context(), Pull{Ref: "test:a"}, Watcher{})
	wantError(t, err, messages.CodeBadModel, "split into 3 files and has 1")
	if len(c.manifests()) != 0 {
		t.Error("registered")
	}
}

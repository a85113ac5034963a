package catalog

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/stores"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// store is another program's, with what a test puts there.
type store struct {
	name  string
	found []stores.Found
	err   error
}

func (s store) Name() string                                 { return s.name }
func (s store) Places() []string                             { return nil }
func (s store) Find(context.Context) ([]stores.Found, error) { return slices.Clone(s.found), s.err }

// has adds a model whose file is at path; digest is what the store says of it.
func (s *store) has(name, path, digest string, more ...vendor.File) *stores.Found {
	files := append([]vendor.File{{Name: filepath.Base(path), Kind: vendor.Model, SizeBytes: -1, InPlace: path, Digest: digest}}, more...)
	s.found = append(s.found, stores.Found{Store: s.name, Artifact: vendor.Artifact{Name: name, Files: files}, Refs: []string{"hf:org/" + name}})
	return &s.found[len(s.found)-1]
}

func importAll(t *testing.T, c *Catalog, s *store, dryRun bool, names ...string) map[string]messages.ImportedModel {
	t.Helper()
	out, err := c.Import(t.Context(), []stores.Store{s}, nil, names, dryRun, Watcher{})
	if err != nil {
		t.Fatal(err)
	}
	models := map[string]messages.ImportedModel{}
	for _, m := range out.Models {
		models[m.Model] = m
	}
	return models
}

func TestImport(t *testing.T) {
	dir := t.TempDir()
	path := func(name string, seed uint64) (string, string) {
		w := weights(seed, 4096)
		return write(t, filepath.Join(dir, name), w), digestOfBytes(w)
	}
	s := &store{name: "other"}
	good, digest := path("good.gguf", 1)
	template := vendor.File{Name: "template", Kind: vendor.GoTemplate, InPlace: write(t, filepath.Join(dir, "template"), []byte("x")), SizeBytes: 1}
	projector := vendor.File{Name: "mmproj", Kind: vendor.Projector, InPlace: filepath.Join(dir, "none")}
	s.has("good", good, digest, template, projector)
	plain, _ := path("plain.gguf", 2)
	s.has("plain", plain, "")
	var parts []string
	f := s.has("split", good, "")
	f.Files = nil
	for i, b := range split(20, 2, 4096) {
		parts = append(parts, write(t, filepath.Join(dir, digestOfBytes(b)[len(digestPrefix):]), b))
		f.Files = append(f.Files, vendor.File{Name: "x", Kind: vendor.Model, InPlace: parts[i], Digest: digestOfBytes(b)})
	}
	taken, _ := path("taken.gguf", 3)
	s.has("taken", taken, "")
	s.has("broken", write(t, filepath.Join(dir, "broken.gguf"), []byte("no model")), "")
	s.has("missing", filepath.Join(dir, "none.gguf"), "")
	noTemplate, _ := path("no-template.gguf", 4)
	s.has("no-template", noTemplate, "", vendor.File{Name: "t", Kind: vendor.Template, InPlace: filepath.Join(dir, "none")})
	s.has("half", plain, "").Problem = "half of it is there"
	s.has("bad name", plain, "")
	s.has(strings.Repeat("long", 100), plain, "")

	st := newStock()
	st.put("test:taken", "taken", weights(99, 4096))
	c := at(t.TempDir(), st)
	pull(t, c, Pull{Ref: "test:taken"})
	before := tree(t, dir)

	problems := map[string]string{"taken": "cannot have it; rbee model rm that one first", "half": "half of it is there", "bad name": "cannot be a model's name", strings.Repeat("long", 100): "cannot be"}
	for name, m := range importAll(t, c, s, true) {
		want := StateFound
		if problems[name] != "" {
			want = StateProblem
		}
		if m.State != want || !strings.Contains(m.Text, problems[name]) {
			t.Errorf("dry run: %s: %+v", name, m)
		}
	}
	if len(c.manifests()) != 1 {
		t.Fatal("a dry run has registered")
	}
	problems["broken"], problems["missing"], problems["no-template"] = "not a GGUF", "does not exist", "does not exist"
	for name, m := range importAll(t, c, s, false) {
		want := StateImported
		if problems[name] != "" {
			want = StateProblem
		}
		if m.State != want || !strings.Contains(m.Text, problems[name]) || m.Store != "other" {
			t.Errorf("%s: %+v", name, m)
		}
	}
	var registered []string
	for _, m := range c.manifests() { // also what would not be listed
		registered = append(registered, m.ID)
	}
	if want := []string{"good", "plain", "split", "taken"}; !slices.Equal(registered, want) || !slices.Equal(ids(c.List()), want) {
		t.Fatalf("registered %q, listed %q", registered, ids(c.List()))
	}
	m, err := c.Find("org/good")
	if err != nil || m.Path != good || m.Digest != digest || len(m.Files) != 2 || !m.Files[0].InPlace || m.Vendor != "other" || m.SizeBytes != m.Files[0].SizeBytes {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := c.Find("split"); err != nil || filepath.Dir(filepath.Dir(m.Path)) != filepath.Join(c.dir, "split") || m.Digest == "" {
		t.Errorf("%+v, %v", m, err)
	}
	for name, m := range importAll(t, c, s, false) {
		if problems[name] == "" && m.State != StateThere {
			t.Errorf("again: %+v", m)
		}
	}
	for _, name := range []string{"good", "plain", "split"} {
		remove(t, c, name)
	}
	gc(t, c, false, true)
	if after := tree(t, dir); after != before {
		t.Errorf("the other program's folder was\n%s\nand is\n%s", before, after)
	}
}

// tree is what is in a folder: names, kinds, sizes and times.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(e.Name() + " " + fi.Mode().String() + " " + fi.ModTime().String() + "\n")
	}
	return out.String()
}

func TestImportChooses(t *testing.T) {
	s := &store{name: "other"}
	for i, name := range []string{"a", "b"} {
		s.has(name, write(t, filepath.Join(t.TempDir(), name), weights(uint64(i), 4096)), "")
	}
	c := at(t.TempDir())
	for _, names := range [][]string{{"a"}, {"hf:org/a"}, {"org/a"}} {
		if got := importAll(t, c, s, true, names...); len(got) != 1 || got["a"].State != StateFound {
			t.Errorf("%q: %+v", names, got)
		}
	}
	_, err := c.Import(t.Context(), []stores.Store{s}, nil, []string{"a", "c"}, true, Watcher{})
	wantError(t, err, messages.CodeModelUnknown, `"c"`, "--dry-run")
	_, err = c.Import(t.Context(), []stores.Store{s}, []string{"none"}, nil, true, Watcher{})
	wantError(t, err, messages.CodeBadRequest, `"none"`, "other")
	two := &store{name: "two", err: os.ErrClosed}
	if out, err := c.Import(t.Context(), []stores.Store{s, two}, []string{"other"}, nil, true, Watcher{}); err != nil || len(out.Models) != 2 {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := c.Import(t.Context(), []stores.Store{s, two}, nil, nil, true, Watcher{}); err == nil {
		t.Error("a store that fails is left out")
	}
}

// A file that changed is imported anew; one that did not keeps the digest that was read.
func TestImportAgain(t *testing.T) {
	s := &store{name: "other"}
	path := write(t, filepath.Join(t.TempDir(), "m.gguf"), weights(1, 4096))
	s.has("m", path, "")
	c := at(t.TempDir(), local{})
	pull(t, c, Pull{Ref: path, Hash: true})
	digest := digestOfBytes(weights(1, 4096))
	if m := importAll(t, c, s, false)["m"]; m.State != StateThere {
		t.Errorf("%+v", m)
	}
	s.has("other-name", path, "")
	importAll(t, c, s, false)
	for _, name := range []string{"m", "other-name"} {
		if m, err := c.Find(name); err != nil || m.Digest != digest {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	write(t, path, weights(2, 4096))
	touch(t, path, 5)
	s.found = s.found[:1]
	s.found[0].Files[0].Digest = digestOfBytes(weights(2, 4096))
	if m := importAll(t, c, s, false)["m"]; m.State != StateImported {
		t.Errorf("%+v", m)
	}
	if m, err := c.Find("m"); err != nil || m.Digest != digestOfBytes(weights(2, 4096)) || !slices.Contains(m.Refs, path) {
		t.Errorf("%+v, %v", m, err)
	}
}

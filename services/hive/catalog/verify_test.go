package catalog

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func verify(t *testing.T, c *Catalog, names ...string) map[string]messages.VerifiedFile {
	t.Helper()
	out, err := c.Verify(t.Context(), names, Watcher{})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]messages.VerifiedFile{}
	damaged := 0
	for _, f := range out.Files {
		files[f.Model] = f
		if f.State == StateDamaged || f.State == StateMissing {
			damaged++
		}
	}
	if damaged != out.Damaged {
		t.Errorf("%d damaged of %+v", out.Damaged, out.Files)
	}
	return files
}

// flip changes one byte in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	s := newStock()
	for i, name := range []string{"good", "flipped", "gone", "short"} {
		s.put("test:"+name, name, weights(uint64(i), 4096))
	}
	files := t.TempDir()
	c := at(t.TempDir(), s, local{})
	models := map[string]messages.Model{}
	for ref := range s.artifacts {
		m := pull(t, c, Pull{Ref: ref})
		models[m.ID] = m
	}
	for i, name := range []string{"in-place", "in-place-flipped", "unhashed", "unhashed-damaged"} {
		path := write(t, filepath.Join(files, name+".gguf"), weights(uint64(10+i), 4096))
		models[name] = pull(t, c, Pull{Ref: path, Hash: !strings.HasPrefix(name, "unhashed")})
	}
	for _, name := range []string{"flipped", "in-place-flipped"} {
		flip(t, models[name].Path)
	}
	for _, name := range []string{"short", "unhashed-damaged"} {
		if err := os.Truncate(models[name].Path, 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(models["gone"].Path); err != nil {
		t.Fatal(err)
	}
	var said said
	if _, err := c.Verify(t.Context(), []string{"good"}, said.watcher()); err != nil || len(said.texts) != 0 || !said.did("read good") {
		t.Errorf("%v: said %q", err, said.texts)
	}
	got := verify(t, c)
	for name, want := range map[string]struct{ state, text string }{
		"good": {StateOK, ""}, "flipped": {StateDamaged, "removed"}, "gone": {StateMissing, "does not exist"}, "short": {StateDamaged, "removed"},
		"in-place": {StateOK, ""}, "in-place-flipped": {StateDamaged, "stays"}, "unhashed": {StateUnhashed, ""}, "unhashed-damaged": {StateDamaged, "truncated"},
	} {
		if f := got[name]; f.State != want.state || !strings.Contains(f.Text, want.text) || (f.Text == "") != (want.text == "") {
			t.Errorf("%s: %+v, want %+v", name, f, want)
		}
		if stays := !strings.Contains(want.text, "removed") && name != "gone"; lstat(models[name].Path) != stays {
			t.Errorf("%s: is there: %v", name, !stays)
		}
	}
	for _, name := range []string{"flipped", "gone", "short"} { // nobody serves it, and a pull mends it
		if _, err := c.Find(name); messages.CodeOf(err) != messages.CodeBadModel {
			t.Errorf("%s: %v", name, err)
		}
		pull(t, c, Pull{Ref: "test:" + name, IfMissing: true})
	}
	for name, f := range verify(t, c, "test:flipped", "gone", "SHORT") {
		if f.State != StateOK {
			t.Errorf("%s: %+v", name, f)
		}
	}
	_, err := c.Verify(t.Context(), []string{"good", "none"}, Watcher{})
	wantError(t, err, messages.CodeModelUnknown, "none")
	ctx, cancel := context.WithCancel(t.Context())
	if _, err = c.Verify(ctx, nil, Watcher{Step: func(Step) { cancel() }}); err == nil || !lstat(models["good"].Path) {
		t.Errorf("it was called off: %v", err)
	}
}

// A file of several models is read once, and all of them are told.
func TestVerifyShared(t *testing.T) {
	s := newStock()
	w := weights(1, 4096)
	s.put("test:a", "a", w)
	s.put("test:b", "b", w)
	c := at(t.TempDir(), s)
	pull(t, c, Pull{Ref: "test:a"})
	m := pull(t, c, Pull{Ref: "test:b"})
	var last Step
	if _, err := c.Verify(t.Context(), nil, Watcher{Step: func(st Step) { last = st }}); err != nil || last.Done != int64(len(w)) || last.Total != last.Done {
		t.Errorf("%+v, %v", last, err)
	}
	flip(t, m.Path)
	for _, f := range verify(t, c) {
		if f.State != StateDamaged || f.Name != "part1.gguf" {
			t.Errorf("%+v", f)
		}
	}
}

// A damaged file that was brought anew while it was read stays.
func TestVerifyAgainstPull(t *testing.T) {
	s := newStock()
	w := weights(1, 8<<20)
	s.put("test:a", "a", w)
	c := at(t.TempDir(), s)
	m := pull(t, c, Pull{Ref: "test:a"})
	if err := os.Truncate(m.Path, 6<<20); err != nil {
		t.Fatal(err)
	}
	done := false
	out, err := c.Verify(t.Context(), nil, Watcher{Step: func(Step) {
		if !done {
			done = true
			pull(t, c, Pull{Ref: "test:a"})
		}
	}})
	if err != nil || out.Damaged != 0 || out.Files[0].State != StateOK || !lstat(m.Path) {
		t.Errorf("%+v, %v", out, err)
	}
	whole(t, c)
	if len(c.List()) != 1 {
		t.Error("it is gone")
	}
}

// A file that lies in another program's folder is no business of ours, whatever a manifest says.
func TestVerifyHostileManifest(t *testing.T) {
	c := at(t.TempDir())
	path := write(t, filepath.Join(t.TempDir(), "m.gguf"), weights(1, 4096))
	m := manifest{Schema: manifestSchema, ID: "m", Files: []file{
		{Name: "m", Kind: vendor.Model, InPlace: path, Digest: "sha256:nonsense", SizeBytes: 1},
		{Name: "t", Kind: vendor.Template, Digest: "sha256:../../../../" + path},
	}}
	dir := filepath.Join(c.dir, "m")
	write(t, filepath.Join(dir, "x"), nil)
	if err := m.write(dir); err != nil {
		t.Fatal(err)
	}
	out, err := c.Verify(t.Context(), nil, Watcher{})
	if err != nil || out.Damaged != 2 || !lstat(path) {
		t.Errorf("%+v, %v", out, err)
	}
	remove(t, c, "m")
	if !lstat(path) {
		t.Error("it is gone")
	}
}

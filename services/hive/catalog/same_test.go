package catalog

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// A model is the same one, grown older, by whatever spelling of its reference it is pulled again.
func TestUpdateByAnotherSpelling(t *testing.T) {
	s := newStock()
	offer := func(revision string, seed uint64) *vendor.Artifact {
		a := s.put("test:a", "m", weights(seed, 4096))
		a.Ref, a.Revision = "test:a@"+revision, revision
		for _, ref := range []string{"test:a", "test:also-a", "test:a@" + revision} {
			s.set(ref, *a)
		}
		return a
	}
	c := at(t.TempDir(), s)
	offer("1", 1)
	old := pull(t, c, Pull{Ref: "test:a"})
	now := offer("2", 2)
	if m := pull(t, c, Pull{Ref: "test:also-a"}); m.Digest == old.Digest || !slices.Equal(m.Refs, []string{"test:a", "test:also-a"}) {
		t.Errorf("%+v", m)
	}
	if m, err := c.Find("test:a"); err != nil || m.Digest != now.Files[0].Digest {
		t.Errorf("%+v, %v", m, err)
	}
	offer("3", 3)
	_, err := c.Pull(t.Context(), Pull{Ref: "test:a@3"}, Watcher{}) // this one revision, beside the other
	wantError(t, err, messages.CodeConflict, "--name")
	remove(t, c, "m")
	pull(t, c, Pull{Ref: "test:a@3"})
	offer("4", 4)
	_, err = c.Pull(t.Context(), Pull{Ref: "test:a"}, Watcher{}) // who wanted revision 3 keeps it
	wantError(t, err, messages.CodeConflict, "--name")
	whole(t, c)
}

// The same weights with another template are another model, whose template nobody loses.
func TestSameWeightsWithAnotherTemplate(t *testing.T) {
	s := newStock()
	w := weights(1, 4096)
	for ref, template := range map[string]string{"test:a": "A", "test:b": "B", "test:again": "A"} {
		a := s.put(ref, "m", w)
		a.Files = append(a.Files, s.file("template", vendor.GoTemplate, []byte(template)))
		s.set(ref, *a)
	}
	s.put("test:plain", "m", w)
	c := at(t.TempDir(), s)
	pull(t, c, Pull{Ref: "test:a"})
	for _, ref := range []string{"test:b", "test:plain"} {
		_, err := c.Pull(t.Context(), Pull{Ref: ref}, Watcher{})
		wantError(t, err, messages.CodeConflict, "test:a", "--name")
	}
	m := pull(t, c, Pull{Ref: "test:again"})
	if len(m.Files) != 2 || m.Files[1].Digest != digestOfBytes([]byte("A")) || !slices.Equal(m.Refs, []string{"test:a", "test:again"}) {
		t.Errorf("%+v", m)
	}
}

// What a source gives no digest of is fetched again only when its version is another.
func TestUnchangedIsNotFetchedAgain(t *testing.T) {
	s := newStock()
	offer := func(version string, seed uint64) string {
		a := s.put("test:a", "m", weights(seed, 4096))
		a.Revision, a.Ref = version, "test:a"
		digest := a.Files[0].Digest
		a.Files[0].Digest = ""
		s.set("test:a", *a)
		return digest
	}
	c := at(t.TempDir(), s)
	first := offer("v1", 1)
	for range 2 {
		if m := pull(t, c, Pull{Ref: "test:a"}); m.Digest != first || s.bytesRead() != m.SizeBytes {
			t.Errorf("%s, %d bytes were fetched for %d", m.Digest, s.bytesRead(), m.SizeBytes)
		}
	}
	path, err := c.blob(first)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, path)
	verify(t, c) // removes it
	if m := pull(t, c, Pull{Ref: "test:a"}); m.Digest != first || s.bytesRead() != 2*m.SizeBytes {
		t.Errorf("%s, %d bytes were fetched", m.Digest, s.bytesRead())
	}
	for _, version := range []string{"v2", ""} {
		second := offer(version, uint64(2+len(version)))
		if m := pull(t, c, Pull{Ref: "test:a"}); m.Digest != second {
			t.Errorf("version %q: an old file was taken for the new one", version)
		}
	}
	whole(t, c)
}

// A name that commands take for a path would be one that nobody can remove or serve.
func TestNamesLikePaths(t *testing.T) {
	c := at(t.TempDir(), builtin{})
	for _, name := range []string{".", "..", "./m", "../../evil", "~m", "/m", "m.gguf", "org/M.GGUF"} {
		_, err := c.Pull(t.Context(), Pull{Ref: "builtin:bee-tiny", Name: name}, Watcher{})
		wantError(t, err, messages.CodeBadRequest, "--name")
	}
	if len(c.List()) != 0 {
		t.Errorf("%q", ids(c.List()))
	}
	pull(t, c, Pull{Ref: "builtin:bee-tiny", Name: ".m"})
}

// The copy of a file that others use in place goes with the model that it was made for.
func TestRemoveCopyOfAFileInPlace(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "m.gguf"), weights(1, 4096))
	c := at(t.TempDir(), local{})
	for _, last := range []string{"m", "copy"} {
		pull(t, c, Pull{Ref: path, Name: "copy", Copy: true})
		pull(t, c, Pull{Ref: path, Hash: true})
		for _, name := range []string{map[string]string{"m": "copy", "copy": "m"}[last], last} {
			remove(t, c, name)
			if name == "copy" {
				wantBlobs(t, c)
			}
		}
		wantBlobs(t, c)
	}
	if !lstat(path) {
		t.Error("the file in place is gone")
	}
}

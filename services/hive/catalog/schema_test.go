package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// A model of the first schema is listed, served, removed, and pulled anew.
func TestSchema1(t *testing.T) {
	s := newStock()
	w := weights(1, 4096)
	s.put("test:a", "a", w)
	elsewhere := write(t, filepath.Join(t.TempDir(), "x.gguf"), w)
	make1 := func(c *Catalog) {
		write(t, filepath.Join(c.dir, "a", ofSchema1), w)
		write(t, filepath.Join(c.dir, "a", manifestName), fmt.Appendf(nil, `{"schema":1,"id":"a","vendor":"builtin","refs":["old:a"],"size_bytes":%d,"digest":%q,
			"architecture":"llama","context_length":4096,"added_at":"2026-01-02T03:04:05Z"}`, len(w), digestOfBytes(w)))
		write(t, filepath.Join(c.dir, "b", manifestName), fmt.Appendf(nil, `{"schema":1,"id":"b","vendor":"local","refs":["/x"],"in_place":%q,"size_bytes":%d,
			"added_at":"2026-01-02T03:04:05Z"}`, elsewhere, len(w)))
	}
	c := New(Config{DataDir: t.TempDir(), Vendors: []vendor.Vendor{s}, QuotaBytes: 10000})
	make1(c)
	if got := ids(c.List()); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("list %q", got)
	}
	a, err := c.Find("old:a")
	if err != nil || a.Path != filepath.Join(c.dir, "a", ofSchema1) || a.Digest != digestOfBytes(w) || a.SizeBytes != int64(len(w)) || a.Files[0].InPlace {
		t.Fatalf("%+v, %v", a, err)
	}
	if b, err := c.Find("b"); err != nil || b.Path != elsewhere || !b.Files[0].InPlace {
		t.Fatalf("%+v, %v", b, err)
	}
	if used := c.taken(); used != int64(len(w)) {
		t.Errorf("%d bytes are used", used)
	}
	if _, err := c.Resolve(t.Context(), "a", Watcher{}); err != nil {
		t.Error(err)
	}
	gc(t, c, false, true)
	if out, err := c.Verify(t.Context(), nil, Watcher{}); err != nil || out.Damaged != 0 || len(out.Files) != 2 {
		t.Errorf("%+v, %v", out, err)
	}
	if out := remove(t, c, "a"); out.FreedBytes != int64(len(w)) || lstat(a.Path) {
		t.Errorf("%+v", out)
	}
	remove(t, c, "b")
	if !lstat(elsewhere) {
		t.Error("a file in place is gone")
	}
	make1(c)
	m := pull(t, c, Pull{Ref: "test:a"}) // the same weights
	if lstat(a.Path) || m.Path == a.Path || !slices.Equal(m.Refs, []string{"old:a", "test:a"}) || m.AddedAt.Year() != 2026 {
		t.Errorf("%+v", m)
	}
	make1(c)
	if err := os.WriteFile(a.Path, weights(2, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := c.Verify(t.Context(), []string{"a"}, Watcher{})
	if err != nil || out.Damaged != 1 || lstat(a.Path) {
		t.Errorf("%+v, %v", out, err)
	}
}

// A manifest of a newer version is neither overwritten nor taken for one that can be read.
func TestNewerManifest(t *testing.T) {
	s := newStock()
	s.put("test:a", "a", weights(1, 4096))
	for _, text := range []string{`{"schema":3,"id":"a"}`, `{"schema":99,"id":["a"]}`} {
		c := at(t.TempDir(), s)
		path := write(t, filepath.Join(c.dir, "a", manifestName), []byte(text))
		if len(c.List()) != 0 {
			t.Error("listed")
		}
		_, err := c.Pull(t.Context(), Pull{Ref: "test:a"}, Watcher{})
		wantError(t, err, messages.CodeConflict, "newer version", "--name", filepath.Dir(path))
		if !errors.Is(err, errNewer) {
			t.Error(err)
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("it is %q now", b)
		}
		pull(t, c, Pull{Ref: "test:a", Name: "b"})
		gc(t, c, false, true)
		if !lstat(path) {
			t.Error("gc removed it")
		}
	}
}

package catalog

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func remove(t *testing.T, c *Catalog, name string) messages.RemoveReply {
	t.Helper()
	out, err := c.Remove(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func gc(t *testing.T, c *Catalog, dryRun, partial bool) messages.RemoveReply {
	t.Helper()
	out, err := c.GC(t.Context(), dryRun, partial)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRemoveKeepsWhatOthersNeed(t *testing.T) {
	s := newStock()
	shared := weights(1, 4096)
	for _, name := range []string{"a", "b"} {
		a := s.put("test:"+name, name, shared)
		a.Files = append(a.Files, s.file("template", vendor.Template, []byte(name)))
		s.set("test:"+name, *a)
	}
	c := at(t.TempDir(), s)
	pull(t, c, Pull{Ref: "test:a"})
	m := pull(t, c, Pull{Ref: "test:b"})
	nobodys := digestPrefix + strings.Repeat("0", 64)
	path, _ := c.blob(nobodys)
	write(t, path, []byte("x"))
	out := remove(t, c, "test:a") // by its reference
	if out.FreedBytes != 1 || len(out.Removed) != 2 || out.Removed[0] != (messages.Removed{Kind: "model", Name: "a"}) {
		t.Errorf("%+v", out)
	}
	wantBlobs(t, c, m.Digest, digestOfBytes([]byte("b")), nobodys) // that is for gc
	whole(t, c)
	if out := remove(t, c, "b"); out.FreedBytes != int64(len(shared))+1 {
		t.Errorf("%+v", out)
	}
	wantBlobs(t, c, nobodys)
	if len(c.List()) != 0 || lstat(filepath.Join(c.dir, "a")) || lstat(filepath.Join(c.dir, "b")) {
		t.Error("something is left")
	}
	_, err := c.Remove(t.Context(), "b")
	wantError(t, err, messages.CodeModelUnknown, "b", "rbee model list")
}

func TestRemoveLeavesFilesInPlace(t *testing.T) {
	c := at(t.TempDir(), local{})
	dir := t.TempDir()
	for i, p := range split(1, 2, 4096) {
		write(t, filepath.Join(dir, vendor.PartName("m", i+1, 2)), p)
	}
	one := write(t, filepath.Join(dir, "one.gguf"), weights(9, 4096))
	pull(t, c, Pull{Ref: one, Hash: true})
	pull(t, c, Pull{Ref: filepath.Join(dir, vendor.PartName("m", 1, 2)), Hash: true})
	for _, name := range []string{"one", "m"} {
		if out := remove(t, c, name); out.FreedBytes != 0 || len(out.Removed) != 1 {
			t.Errorf("%+v", out)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 3 || len(c.List()) != 0 {
		t.Errorf("%v are left, listed %q", files, ids(c.List()))
	}
}

// Nothing goes that a pull under way has brought, or found here.
func TestGCKeepsWhatAPullHas(t *testing.T) {
	s := newStock()
	parts := split(1, 2, 4096)
	s.put("test:a", "a", parts...)
	s.put("test:first", "first", weights(7, 4096))
	s.set("test:b", vendor.Artifact{Name: "b", Files: []vendor.File{s.file("1", vendor.Model, weights(7, 4096)), s.file("2", vendor.License, []byte("text"))}})
	dir := t.TempDir()
	pull(t, at(dir, s), Pull{Ref: "test:first"})
	held, goOn := make(chan struct{}, 8), make(chan struct{})
	s.before = func(_ context.Context, f *vendor.File) error {
		if f.Name == "part2.gguf" || f.Name == "2" {
			held <- struct{}{}
			<-goOn
		}
		return nil
	}
	ended := make(chan error, 2)
	for _, ref := range []string{"test:a", "test:b"} {
		go func() {
			_, err := at(dir, s).Pull(context.Background(), Pull{Ref: ref}, Watcher{})
			ended <- err
		}()
	}
	receive(t, held)
	receive(t, held)
	c := at(dir, s)
	gc(t, c, false, true)
	if out := remove(t, c, "first"); out.FreedBytes != 0 { // b has found its file here
		t.Errorf("%+v", out)
	}
	gc(t, c, false, true)
	wantBlobs(t, c, digestOfBytes(parts[0]), digestOfBytes(weights(7, 4096)))
	close(goOn)
	for range 2 {
		if err := receive(t, ended); err != nil {
			t.Error(err)
		}
	}
	gc(t, c, false, true)
	if got := ids(c.List()); !slices.Equal(got, []string{"a", "b"}) || len(blobs(t, c)) != 4 {
		t.Errorf("list %q, blobs %q", got, blobs(t, c))
	}
	whole(t, c)
	if claims, _ := os.ReadDir(filepath.Join(c.dir, claimsDir)); len(claims) != 0 {
		t.Errorf("claims are left: %v", claims)
	}
}

func TestGC(t *testing.T) {
	s := newStock()
	s.put("test:a", "a", weights(1, 4096))
	c := at(t.TempDir(), s)
	a := pull(t, c, Pull{Ref: "test:a"})
	hex := strings.Repeat("0", 63)
	blob := write(t, filepath.Join(c.dir, blobsDir, blobPrefix+hex+"1"), make([]byte, 100))
	old := write(t, filepath.Join(c.dir, partialDir, hex+"2", partialData), make([]byte, 1000))
	fresh := write(t, filepath.Join(c.dir, partialDir, hex+"3", partialData), make([]byte, 10000))
	touch(t, old, 8*24)
	touch(t, fresh, 6*24)
	note := write(t, filepath.Join(c.dir, partialDir, "source-"+hex[:32], "done"), []byte("x"))
	if err := os.Chtimes(filepath.Dir(note), time.Now(), time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(write(t, filepath.Join(c.dir, "killed", manifestName+".part"), []byte("{")))
	write(t, filepath.Join(c.dir, claimsDir, "c-dead"), []byte(digestPrefix+hex+"1\n"))
	stay := []string{a.Path, // and what is not of the catalog
		write(t, filepath.Join(c.dir, blobsDir, "notes.txt"), []byte("mine")), write(t, filepath.Join(c.dir, partialDir, "mine", partialData), []byte("mine")),
		write(t, filepath.Join(c.dir, "mine", "x.gguf"), []byte("mine")), write(t, filepath.Join(c.dir, "mine too", manifestName), []byte("{}")),
		write(t, filepath.Join(c.dir, partialDir, "file"), []byte("mine"))}
	touch(t, stay[2], 1000)

	dry := gc(t, c, true, false)
	for _, path := range append(stay, blob, old, fresh, note, folder) {
		if !lstat(path) {
			t.Errorf("a dry run removed %s", path)
		}
	}
	if out := gc(t, c, false, false); !slices.Equal(out.Removed, dry.Removed) || out.FreedBytes != dry.FreedBytes || len(out.Removed) != 4 || out.FreedBytes != 100+1000+1+1 {
		t.Errorf("%+v, in the dry run %+v", out, dry)
	}
	for _, path := range []string{blob, old, note, folder} {
		if lstat(path) {
			t.Errorf("%s is left", path)
		}
	}
	for _, path := range append(stay, fresh) {
		if !lstat(path) {
			t.Errorf("%s is gone", path)
		}
	}
	if out := gc(t, c, false, true); lstat(fresh) || len(out.Removed) != 1 || out.FreedBytes != 10000 {
		t.Errorf("%+v", out)
	}
	if out := gc(t, c, false, true); len(out.Removed) != 0 {
		t.Errorf("%+v", out)
	}
}

// Who cannot tell what is needed removes nothing, and what a manifest that this version cannot read names is
// needed.
func TestGCInDoubt(t *testing.T) {
	hex := strings.Repeat("0", 64)
	for name, tc := range map[string]struct {
		prepare func(c *Catalog)
		fails   bool
	}{
		"newer": {func(c *Catalog) {
			write(t, filepath.Join(c.dir, "m", manifestName), []byte(`{"schema":3,"id":{"new":"m"},"parts":["sha256:`+hex+`"]}`))
		}, false},
		"damaged": {func(c *Catalog) {
			write(t, filepath.Join(c.dir, "m", manifestName), []byte(`{"schema":2,"id":"m","files":[{"digest":"sha256:`+hex+`"`))
		}, false},
		"huge": {func(c *Catalog) {
			write(t, filepath.Join(c.dir, "m", manifestName), make([]byte, maxManifest+1))
		}, true},
		"claims": {func(c *Catalog) { write(t, filepath.Join(c.dir, claimsDir), nil) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := at(t.TempDir(), newStock())
			blob := write(t, filepath.Join(c.dir, blobsDir, blobPrefix+hex), []byte("x"))
			tc.prepare(c)
			if _, err := c.GC(t.Context(), false, true); (err != nil) != tc.fails {
				t.Error(err)
			}
			if !lstat(blob) {
				t.Error("the file is gone")
			}
		})
	}
}

// Pulls, removals and sweeps of several processes at once: who pulls last has the model.
func TestPullAgainstRemove(t *testing.T) {
	s := newStock()
	shared := weights(1, 4096)
	s.put("test:a", "a", shared)
	s.put("test:b", "b", shared)
	s.put("test:s", "s", split(3, 2, 4096)...)
	dir := t.TempDir()
	ended := make(chan struct{})
	var others, pulls sync.WaitGroup
	loop := func(do func(c *Catalog) error) {
		others.Go(func() {
			for c := at(dir, s); ; {
				select {
				case <-ended:
					return
				default:
				}
				if err := do(c); err != nil && messages.CodeOf(err) != messages.CodeModelUnknown {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, name := range []string{"a", "s"} {
		loop(func(c *Catalog) error { _, err := c.Remove(t.Context(), name); return err })
	}
	loop(func(c *Catalog) error { _, err := c.GC(t.Context(), false, true); return err })
	for _, ref := range []string{"test:a", "test:b", "test:s"} {
		pulls.Go(func() {
			c := at(dir, s)
			for range 15 {
				m, err := c.Pull(t.Context(), Pull{Ref: ref}, Watcher{})
				if err != nil {
					t.Error(err)
					return
				}
				if m.ID != "b" {
					continue
				}
				if found, err := c.Find("b"); err != nil { // nobody removes it
					t.Errorf("%+v, %v", found, err)
				}
			}
		})
	}
	pulls.Wait()
	close(ended)
	others.Wait()
	c := at(dir, s)
	for _, m := range c.manifests() {
		if _, err := c.present(&m); err != nil {
			t.Error(err)
		}
	}
	whole(t, c)
}

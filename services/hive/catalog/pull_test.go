package catalog

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// said is a watcher and what it was told.
type said struct {
	mu    sync.Mutex
	texts []string
	steps []Step
}

func (s *said) watcher() Watcher {
	return Watcher{
		Say:  func(text string) { s.mu.Lock(); defer s.mu.Unlock(); s.texts = append(s.texts, text) },
		Step: func(st Step) { s.mu.Lock(); defer s.mu.Unlock(); s.steps = append(s.steps, st) },
	}
}

func (s *said) has(word string) bool {
	return slices.ContainsFunc(s.texts, func(t string) bool { return strings.Contains(t, word) })
}

func (s *said) did(word string) bool {
	return slices.ContainsFunc(s.steps, func(t Step) bool { return strings.Contains(t.Text, word) })
}

func TestConflictAndName(t *testing.T) {
	s := newStock()
	s.put("test:a", "m", weights(1, 4096))
	s.put("test:b", "m", weights(2, 4096))
	c := at(t.TempDir(), s)
	first := pull(t, c, Pull{Ref: "test:a"})
	read := s.bytesRead()
	_, err := c.Pull(t.Context(), Pull{Ref: "test:b"}, Watcher{})
	wantError(t, err, messages.CodeConflict, "test:a", "test:b", first.Path, "--name", "rbee model rm m")
	if s.bytesRead() != read {
		t.Error("it was fetched before the conflict was seen")
	}
	if m := pull(t, c, Pull{Ref: "test:b", Name: "other"}); m.ID != "other" || m.Digest == first.Digest {
		t.Errorf("%+v", m)
	}
	if found, err := c.Find("m"); err != nil || found.Digest != first.Digest || !slices.Equal(found.Refs, []string{"test:a"}) {
		t.Errorf("%+v, %v", found, err)
	}
	_, err = c.Pull(t.Context(), Pull{Ref: "test:a", Name: "other"}, Watcher{})
	wantError(t, err, messages.CodeConflict, "other")
	whole(t, c)
}

// Without a digest only the fetch tells that it is another file.
func TestConflictAfterTheFetch(t *testing.T) {
	s := newStock()
	s.put("test:a", "m", weights(1, 4096))
	b := s.put("test:b", "m", weights(2, 4096))
	b.Files[0].Digest = ""
	s.set("test:b", *b)
	c := at(t.TempDir(), s)
	first := pull(t, c, Pull{Ref: "test:a"})
	_, err := c.Pull(t.Context(), Pull{Ref: "test:b"}, Watcher{})
	wantError(t, err, messages.CodeConflict)
	if _, err := c.GC(t.Context(), false, false); err != nil {
		t.Fatal(err)
	}
	wantBlobs(t, c, first.Digest)
}

// A reference means what it meant at its last pull.
func TestMovedReference(t *testing.T) {
	s := newStock()
	s.put("test:a", "m", weights(1, 4096))
	c := at(t.TempDir(), s)
	old := pull(t, c, Pull{Ref: "test:a"})
	s.put("test:a", "m", weights(2, 4096))
	if again := pull(t, c, Pull{Ref: "test:a", IfMissing: true}); again.Digest != old.Digest {
		t.Fatal("it was asked for anew though it is there")
	}
	var said said
	now, err := c.Pull(t.Context(), Pull{Ref: "test:a"}, said.watcher())
	if err != nil || now.Digest == old.Digest || now.ID != "m" || !said.has(short(old.Digest)) || !said.has(short(now.Digest)) {
		t.Fatalf("%+v, %v, said %q", now, err, said.texts)
	}
	if _, err := c.GC(t.Context(), false, false); err != nil {
		t.Fatal(err)
	}
	wantBlobs(t, c, now.Digest)

	s.put("test:a", "a-new-name", weights(3, 4096)) // sorts before the old one
	s.put("test:b", "z-name", weights(2, 4096))
	pull(t, c, Pull{Ref: "test:a", Name: "z-name"})
	for _, name := range []string{"a-new-name", "b-name"} {
		named := pull(t, c, Pull{Ref: "test:a", Name: name})
		if found, err := c.Find("test:a"); err != nil || found.Digest != named.Digest {
			t.Fatalf("%+v, %v", found, err)
		}
	}
	if found, err := c.Find("m"); err != nil || found.Digest != now.Digest || slices.Contains(found.Refs, "test:a") {
		t.Fatalf("the old one: %+v, %v", found, err)
	}
	if found, err := c.Find("z-name"); err != nil || !slices.Contains(found.Refs, "test:a") { // the same weights
		t.Fatalf("%+v, %v", found, err)
	}
}

// Offline everything that is here works, and no source is asked.
func TestOffline(t *testing.T) {
	s := newStock()
	s.put("test:a", "m", weights(1, 4096))
	dir := t.TempDir()
	path := write(t, filepath.Join(t.TempDir(), "local.gguf"), weights(2, 4096))
	pull(t, at(dir, s), Pull{Ref: "test:a"})
	for name, offline := range map[string]struct{ hive, pull bool }{"hive": {true, false}, "pull": {false, true}, "both": {true, true}} {
		t.Run(name, func(t *testing.T) {
			c := New(Config{DataDir: dir, Offline: offline.hive, Vendors: []vendor.Vendor{builtin{}, forbidden{s, t}, local{}}})
			for _, ref := range []string{"m", "test:a", "M", "test:a@1", path, "builtin:bee-tiny"} {
				if _, err := c.Pull(t.Context(), Pull{Ref: ref, Offline: offline.pull}, Watcher{}); err != nil {
					t.Errorf("%s: %v", ref, err)
				}
				if _, err := c.Plan(t.Context(), PlanFor{Ref: ref, Offline: offline.pull}, Watcher{}); err != nil {
					t.Errorf("plan %s: %v", ref, err)
				}
			}
			_, err := c.Pull(t.Context(), Pull{Ref: "test:b", Offline: offline.pull}, Watcher{})
			wantError(t, err, messages.CodeUnavailable, "test:b", "offline")
			_, err = c.Plan(t.Context(), PlanFor{Ref: "test:b", Offline: offline.pull}, Watcher{})
			wantError(t, err, messages.CodeUnavailable, "test:b", "offline")
			if out, err := c.Verify(t.Context(), nil, Watcher{}); err != nil || out.Damaged != 0 {
				t.Errorf("%+v, %v", out, err)
			}
			if _, err := c.GC(t.Context(), false, true); err != nil || len(c.List()) != 3 {
				t.Errorf("%v, list %q", err, ids(c.List()))
			}
		})
	}
}

func TestIfMissing(t *testing.T) {
	s := newStock()
	s.put("test:a", "m", weights(1, 4096))
	dir := t.TempDir()
	m := pull(t, at(dir, s), Pull{Ref: "test:a", IfMissing: true})
	pull(t, at(dir, forbidden{s, t}), Pull{Ref: "test:a", IfMissing: true})
	pull(t, at(dir, forbidden{s, t}), Pull{Ref: "m", IfMissing: true})
	pull(t, at(dir, s), Pull{Ref: "test:a"})
	if s.resolved != 2 {
		t.Errorf("asked %d times", s.resolved)
	}
	// What cannot be used is missing.
	if err := os.Truncate(m.Path, 100); err != nil {
		t.Fatal(err)
	}
	pull(t, at(dir, s), Pull{Ref: "test:a", IfMissing: true})
	whole(t, at(dir, s))
	if err := os.WriteFile(m.Path, make([]byte, m.SizeBytes), 0o600); err != nil { // of the right size
		t.Fatal(err)
	}
	pull(t, at(dir, s), Pull{Ref: "test:a", IfMissing: true})
	whole(t, at(dir, s))
}

// The second model that needs a file does not fetch it.
func TestOneCopy(t *testing.T) {
	s := newStock()
	w := weights(1, 4096)
	s.put("test:a", "a", w)
	s.put("test:b", "b", w)
	c := at(t.TempDir(), s)
	a, b := pull(t, c, Pull{Ref: "test:a"}), pull(t, c, Pull{Ref: "test:b"})
	if a.Path != b.Path || s.bytesRead() != int64(len(w)) {
		t.Errorf("%s and %s, %d bytes fetched for %d", a.Path, b.Path, s.bytesRead(), len(w))
	}
	wantBlobs(t, c, a.Digest)
}

// A source whose file is bad, though it is what the source says, is not asked again and again.
func TestBadFileOfTheRightDigest(t *testing.T) {
	s := newStock()
	s.put("test:a", "a", []byte("no model at all, no model at all"))
	c := at(t.TempDir(), s)
	for range 3 {
		_, err := c.Pull(t.Context(), Pull{Ref: "test:a"}, Watcher{})
		wantError(t, err, messages.CodeBadModel, "not a GGUF")
	}
	if s.bytesRead() != 32 || len(c.manifests()) != 0 {
		t.Errorf("%d bytes were fetched", s.bytesRead())
	}
}

func TestNotesAndKinds(t *testing.T) {
	s := newStock()
	a := s.put("test:a", "m", weights(1, 4096))
	a.Notes = []string{"chosen because 100% good"}
	template, nothing := []byte("{{ .Prompt }}"), []byte(nil)
	a.Files = append(a.Files, s.file("template", vendor.GoTemplate, template), s.file("system", vendor.System, nothing),
		vendor.File{Name: "mmproj", Kind: vendor.Projector, SizeBytes: 1 << 40, Source: "none"})
	a.License, a.Revision, a.Quantization = "mit", "abc", "Q4_K_M"
	s.set("test:a", *a)
	c := at(t.TempDir(), s)
	var said said
	m, err := c.Pull(t.Context(), Pull{Ref: "test:a"}, said.watcher())
	if err != nil || !said.has("chosen because 100% good") {
		t.Fatalf("%v, said %q", err, said.texts)
	}
	wantBlobs(t, c, m.Digest, digestOfBytes(template), digestOfBytes(nothing))
	if len(m.Files) != 3 || m.Files[1].Kind != string(vendor.GoTemplate) || m.Files[2].SizeBytes != 0 || m.License != "mit" || m.Revision != "abc" ||
		m.Vendor != "test" || m.Full != "test:a@1" || m.SizeBytes != m.Files[0].SizeBytes || m.ContextLength != 4096 || m.Architecture != "llama" {
		t.Errorf("%+v", m)
	}
	if b, err := os.ReadFile(m.Files[1].Path); err != nil || string(b) != string(template) {
		t.Errorf("%q, %v", b, err)
	}
}

// Equal downloads without a digest are one, too.
func TestEqualPullsWithoutDigest(t *testing.T) {
	s := newStock()
	w := weights(1, 1<<20)
	a := s.put("test:a", "m", w)
	a.Files[0].Digest = ""
	s.set("test:a", *a)
	dir := t.TempDir()
	started, all := make(chan struct{}, 8), make(chan struct{})
	s.before = func(context.Context, *vendor.File) error { <-all; return nil }
	var wg sync.WaitGroup
	for range 8 {
		var once sync.Once
		watcher := Watcher{Step: func(st Step) {
			if strings.HasPrefix(st.Text, "fetch") {
				once.Do(func() { started <- struct{}{} })
			}
		}}
		wg.Go(func() {
			m, err := at(dir, s).Pull(t.Context(), Pull{Ref: "test:a"}, watcher)
			if err != nil || m.Digest != digestOfBytes(w) {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	for range 8 { // all are on their way: one fetches, the others see how far it is
		receive(t, started)
	}
	close(all)
	wg.Wait()
	if s.bytesRead() != int64(len(w)) {
		t.Errorf("%d bytes were fetched for %d", s.bytesRead(), len(w))
	}
	// A later pull asks anew: the file may be another one by now.
	s.content[a.Files[0].Source] = weights(2, 1<<20)
	if m := pull(t, at(dir, s), Pull{Ref: "test:a"}); m.Digest == digestOfBytes(w) {
		t.Error("an old file was taken for the new one")
	}
}

// A path that leads to a blob means the blob: no other model's removal takes it away.
func TestPathOfABlob(t *testing.T) {
	s := newStock()
	s.put("test:a", "a", weights(1, 4096))
	s.put("test:s", "s", split(5, 2, 4096)...)
	c := at(t.TempDir(), s, local{})
	a, sp := pull(t, c, Pull{Ref: "test:a"}), pull(t, c, Pull{Ref: "test:s"})
	link := filepath.Join(t.TempDir(), "link.gguf")
	if err := os.Symlink(a.Path, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Pull{{Ref: a.Path, Name: "b"}, {Ref: link, Name: "c"}, {Ref: sp.Path, Name: "d"}} {
		if m := pull(t, c, p); m.Files[0].InPlace || m.Digest == "" {
			t.Errorf("%s: %+v", p.Ref, m)
		}
	}
	for _, name := range []string{"a", "s"} {
		if _, err := c.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(c.List()); !slices.Equal(got, []string{"b", "c", "d"}) {
		t.Errorf("list %q", got)
	}
	whole(t, c)
}

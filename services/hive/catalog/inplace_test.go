package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A file that another program has is used where it lies, once it was read.
func TestFileOfAnotherProgram(t *testing.T) {
	s := newStock()
	w := weights(1, 4096)
	s.put("test:a", "a", w)
	path := write(t, filepath.Join(t.TempDir(), "x.gguf"), w)
	c := at(t.TempDir(), s, local{})
	pull(t, c, Pull{Ref: path, Hash: true})
	if m := pull(t, c, Pull{Ref: "test:a"}); m.Path != path || s.bytesRead() != 0 || m.Digest != digestOfBytes(w) {
		t.Errorf("%+v, %d bytes fetched", m, s.bytesRead())
	}
	if got, _ := c.Locate(digestOfBytes(w)); got != path {
		t.Errorf("located at %q", got)
	}
	// When it changes, though not in size, nobody takes it for what it was.
	write(t, path, weights(2, 4096))
	touch(t, path, 7)
	if got, _ := c.Locate(digestOfBytes(w)); got != "" {
		t.Errorf("located at %q", got)
	}
	if m, err := c.Find("a"); err != nil || m.Digest != "" {
		t.Errorf("%+v, %v", m, err)
	}
	if m := pull(t, c, Pull{Ref: "test:a"}); m.Path == path || m.Digest != digestOfBytes(w) {
		t.Errorf("%+v", m)
	}
	whole(t, c)
}

// What another program says of its file is not believed.
func TestFileOfALiar(t *testing.T) {
	s := newStock()
	w := weights(1, 4096)
	s.put("test:a", "a", w)
	c := at(t.TempDir(), s)
	liar := &store{name: "liar"}
	path := write(t, filepath.Join(t.TempDir(), "x.gguf"), weights(2, 4096))
	liar.has("x", path, digestOfBytes(w))
	importAll(t, c, liar, false)
	if m := pull(t, c, Pull{Ref: "test:a"}); m.Path == path || m.Digest != digestOfBytes(w) {
		t.Errorf("%+v", m)
	}
}

// touch gives a file a time of change in the past, some hours ago.
func touch(t *testing.T, path string, hours int) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	at := fi.ModTime().Add(-time.Duration(hours) * time.Hour)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestCopy(t *testing.T) {
	c := at(t.TempDir(), local{})
	var wg sync.WaitGroup
	for i := range 6 { // at once, and each keeps its own bytes
		w := weights(uint64(i), 256<<10)
		path := write(t, filepath.Join(t.TempDir(), fmt.Sprintf("m%d.gguf", i)), w)
		wg.Go(func() {
			m, err := c.Pull(t.Context(), Pull{Ref: path, Copy: true}, Watcher{})
			if err != nil || m.Digest != digestOfBytes(w) || m.Files[0].InPlace {
				t.Errorf("%+v, %v", m, err)
			}
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(c.List()) != 6 {
		t.Errorf("list %q", ids(c.List()))
	}
	whole(t, c)
}

func TestHash(t *testing.T) {
	c := at(t.TempDir(), local{})
	path := write(t, filepath.Join(t.TempDir(), "m.gguf"), weights(1, 4096))
	if m := pull(t, c, Pull{Ref: path}); m.Digest != "" {
		t.Errorf("read without need: %+v", m)
	}
	steps := []struct {
		content uint64 // 0: as it is
		reads   bool
	}{{0, true}, {0, false}, {2, true}, {0, false}}
	for i, st := range steps {
		if st.content > 0 {
			write(t, path, weights(st.content, 4096))
			touch(t, path, 3)
			if m, err := c.Find("m"); err != nil || m.Digest != "" {
				t.Errorf("changed, and has a digest still: %+v, %v", m, err)
			}
		}
		var said said
		m, err := c.Pull(t.Context(), Pull{Ref: path, Hash: true}, said.watcher())
		if err != nil || said.did("read ") != st.reads {
			t.Errorf("%d: %v, read %v", i, err, said.did("read "))
		}
		if b, _ := os.ReadFile(path); m.Digest != digestOfBytes(b) || m.Path != path {
			t.Errorf("%d: %+v", i, m)
		}
	}
	if m := pull(t, c, Pull{Ref: path}); m.Digest == "" { // without being asked to, what is known stays known
		t.Error("the digest is forgotten")
	}
}

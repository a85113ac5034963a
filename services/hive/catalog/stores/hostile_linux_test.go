package stores

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe that nobody writes to would hang whoever opens it.
func TestPipesAndSockets(t *testing.T) {
	home := t.TempDir()
	pipe := func(path string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pipe(filepath.Join(home, ".lmstudio/models/a/b/m-Q8_0.gguf"))
	pipe(filepath.Join(home, ".lmstudio/settings.json"))
	pipe(filepath.Join(home, ".ollama/models/manifests/registry.ollama.ai/library/m/1"))
	pipe(filepath.Join(home, ".cache/llama.cpp/x.gguf"))
	pipe(filepath.Join(home, ".cache/llama.cpp/x.gguf.json"))
	hub := filepath.Join(home, ".cache/huggingface/hub/models--o--r")
	pipe(filepath.Join(hub, "refs/main"))
	pipe(filepath.Join(hub, "blobs", strings.Repeat("0", 64)))
	symlink(t, "../../blobs/"+strings.Repeat("0", 64), filepath.Join(hub, "snapshots", commitA, "m-Q8_0.gguf"))
	done := make(chan []Found, 1)
	go func() {
		var all []Found
		for _, s := range All(env(), home) {
			found, _ := s.Find(t.Context())
			all = append(all, found...)
		}
		done <- all
	}()
	select {
	case found := <-done:
		if len(found) != 4 {
			t.Fatalf("found\n%s", list(found))
		}
		for _, f := range found {
			unusable(t, f, "not a regular file")
		}
	case <-time.After(time.Minute):
		t.Fatal("it hangs")
	}
}

func TestDevices(t *testing.T) {
	c, s := newCache(t)
	symlink(t, "/dev/zero", filepath.Join(c.repo("o/r"), "snapshots", commitA, "m-Q8_0.gguf"))
	unusable(t, named(t, findAll(t, s, c.dir), "o/r:Q8_0"), "leads out of the store")
	if _, _, err := openRegular("/dev/zero"); err == nil {
		t.Error("a device was opened")
	}
}

// asNobody runs fn with the rights of a user who owns nothing. Its thread is not used again.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		fn()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Error(err)
		}
		fn()
	}()
	<-done
}

func TestUnreadable(t *testing.T) {
	home := t.TempDir()
	if err := os.Chmod(filepath.Dir(home), 0o755); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(home, ".lmstudio/models")
	write(t, filepath.Join(root, "a/b/m-Q8_0.gguf"), model(t, "a"))
	closed := write(t, filepath.Join(root, "a/b/m-Q4_0.gguf"), model(t, "b"))
	write(t, filepath.Join(root, "closed/b/m-Q4_0.gguf"), model(t, "b"))
	o := fakeOllama{t, filepath.Join(home, ".ollama/models")}
	o.manifest("registry.ollama.ai/library/m/1", o.blob("model", model(t, "a")))
	for _, path := range []string{closed, filepath.Join(root, "closed"), filepath.Join(home, ".ollama")} {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(path, 0o755) })
	}
	asNobody(t, func() {
		found, err := store(t, "lmstudio", env(), home).Find(t.Context())
		if err != nil || len(found) != 3 {
			t.Errorf("%v, found\n%s", err, list(found))
			return
		}
		for _, f := range found {
			if f.Name != "a/b:Q8_0" {
				unusable(t, f, "may not be read by the hive's user")
			} else if f.Problem != "" {
				t.Errorf("%+v", f)
			}
		}
		found, err = store(t, "ollama", env(), home).Find(t.Context())
		if err != nil || len(found) != 1 || !strings.Contains(found[0].Problem, "may not be read") || found[0].Name != filepath.Join(home, ".ollama/models") {
			t.Errorf("%v, found\n%s", err, list(found))
		}
	})
}

// Not even times of access change where the files are ours.
func TestTimesOfAccess(t *testing.T) {
	home := t.TempDir()
	o := fakeOllama{t, filepath.Join(home, ".ollama/models")}
	path := o.manifest("registry.ollama.ai/library/m/1", o.blob("model", model(t, "a")), o.blob("system", []byte("x")))
	old := time.Unix(1_000_000_000, 0)
	paths := []string{path, filepath.Dir(path)}
	blobs, _ := filepath.Glob(filepath.Join(o.dir, "blobs/*"))
	paths = append(paths, blobs...)
	for _, p := range paths {
		if err := os.Chtimes(p, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store(t, "ollama", env(), home).Find(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil || st.Atim.Sec != old.Unix() {
			t.Errorf("%s: %v, read at %d", p, err, st.Atim.Sec)
		}
	}
}

func TestBounds(t *testing.T) {
	root := t.TempDir()
	for i := range 30 {
		write(t, filepath.Join(root, "a", fmt.Sprint(i), "m-Q8_0.gguf"), []byte("x"))
	}
	deep := filepath.Join(root, strings.Repeat("d/", maxDepth), "m-Q8_0.gguf")
	write(t, deep, model(t, "too deep"))
	l := &look{ctx: t.Context(), left: 20}
	n := 0
	l.walk(root, func(string, os.DirEntry) { n++ })
	if !l.full || l.left != 0 || n > 20 {
		t.Errorf("%d visited, %d left, full: %v", n, l.left, l.full)
	}
	l = &look{ctx: t.Context(), left: maxEntries}
	var names []string
	l.walk(root, func(rel string, _ os.DirEntry) { names = append(names, rel) })
	if len(names) != 30 || l.full {
		t.Errorf("%d visited: %q", len(names), names)
	}
}

// A folder with more names than are looked at is said to be too large.
func TestTooMany(t *testing.T) {
	root := t.TempDir()
	for i := range 30 {
		write(t, filepath.Join(root, "a", fmt.Sprint(i), "m-Q8_0.gguf"), []byte("x"))
	}
	found, err := findAmong(t.Context(), 20, "lmstudio", []string{root}, func(l *look, root string) { l.walk(root, func(string, os.DirEntry) {}) })
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Problem, "only the first 20 names") {
		t.Fatalf("%v, found\n%s", err, list(found))
	}
}

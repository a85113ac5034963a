package stores

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// model is a small GGUF file. The pairs are more keys and their values.
func model(t testing.TB, name string, pairs ...any) []byte {
	t.Helper()
	var w gguf.Writer
	w.Set("general.architecture", "llama")
	w.Set("general.name", name)
	w.Set("general.license", "apache-2.0")
	w.Set("general.file_type", uint32(15))
	w.Set("llama.context_length", uint32(4096))
	for i := 0; i < len(pairs); i += 2 {
		w.Change(pairs[i].(string), pairs[i+1])
	}
	w.Set("test.padding", strings.Repeat("x", 100))
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func write(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// state is everything that can be seen of a tree but times of access.
func state(t testing.TB, root string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%q %v %d %d", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out.WriteString(" " + hash(b))
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			out.WriteString(" -> " + target)
		}
		out.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// look finds in a store and checks that nothing in its tree changes, and what holds for everything found.
func findAll(t testing.TB, s Store, tree string) []Found {
	t.Helper()
	before := state(t, tree)
	found, err := s.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after := state(t, tree); after != before {
		t.Errorf("the store has changed: before\n%s\nafter\n%s", before, after)
	}
	for _, f := range found {
		wellFormed(t, s, f)
	}
	return found
}

func wellFormed(t testing.TB, s Store, f Found) {
	t.Helper()
	texts := append([]string{f.Store, f.Place, f.Name, f.Ref, f.License, f.Quantization, f.Architecture, f.Problem}, f.Refs...)
	texts = append(texts, f.Notes...)
	for _, file := range f.Files {
		texts = append(texts, file.Name)
		info, err := os.Lstat(file.InPlace)
		if f.Problem == "" && (err != nil || !info.Mode().IsRegular() || !filepath.IsAbs(file.InPlace) || info.Size() != file.SizeBytes) {
			t.Errorf("%s: %+v: %v", f.Name, file, err)
		}
		if f.Problem == "" && file.Digest != "" {
			if b, _ := os.ReadFile(file.InPlace); "sha256:"+hash(b) != file.Digest {
				t.Errorf("%s: %s has another digest than %s", f.Name, file.InPlace, file.Digest)
			}
		}
	}
	for _, text := range texts {
		if clean(text) != text {
			t.Errorf("%q is not clean", text)
		}
	}
	if f.Store != s.Name() || f.Name == "" || f.Problem == "" && (len(f.Files) == 0 || f.Files[0].Kind != vendor.Model) {
		t.Errorf("%+v", f)
	}
	if f.Ref != "" && (len(f.Refs) == 0 || f.Refs[len(f.Refs)-1] != f.Ref) {
		t.Errorf("%s: the last of %q is not %q", f.Name, f.Refs, f.Ref)
	}
}

// named is the only thing found by that name.
func named(t testing.TB, found []Found, name string) Found {
	t.Helper()
	var out []Found
	for _, f := range found {
		if f.Name == name {
			out = append(out, f)
		}
	}
	if len(out) != 1 {
		t.Fatalf("%d are called %q, want one of\n%s", len(out), name, list(found))
	}
	return out[0]
}

func list(found []Found) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%q refs %q problem %q files %d\n", f.Name, f.Refs, f.Problem, len(f.Files))
	}
	return b.String()
}

// usable fails unless f has these references.
func usable(t testing.TB, f Found, refs ...string) {
	t.Helper()
	if f.Problem != "" || !slices.Equal(f.Refs, refs) {
		t.Errorf("%s: refs\n%q, want\n%q; problem %q", f.Name, f.Refs, refs, f.Problem)
	}
	if f.Architecture != "llama" || f.ContextLength != 4096 || f.License != "apache-2.0" || f.Quantization == "" {
		t.Errorf("%s: %+v", f.Name, f.Artifact)
	}
}

func unusable(t testing.TB, f Found, words string) {
	t.Helper()
	if !strings.Contains(f.Problem, words) {
		t.Errorf("%s: problem %q does not say %q", f.Name, f.Problem, words)
	}
}

// env reads variables from pairs.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func store(t testing.TB, name string, getenv func(string) string, home string) Store {
	t.Helper()
	for _, s := range All(getenv, home) {
		if s.Name() == name {
			return s
		}
	}
	t.Fatalf("there is no store %s", name)
	return nil
}

func TestPlaces(t *testing.T) {
	getenv := env("HF_HOME", "~/hf", "OLLAMA_MODELS", ` "/big/models" `, "LLAMA_CACHE", "relative", "XDG_CACHE_HOME", "/c")
	for name, want := range map[string][]string{
		"ollama":      {"/big/models", "/home/u/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models", "/var/lib/ollama/models"},
		"huggingface": {"/home/u/hf/hub", "/c/huggingface/hub", "/home/u/.cache/huggingface/hub"},
		"lmstudio":    {"/home/u/.lmstudio/models", "/home/u/.cache/lm-studio/models"},
		"llama.cpp":   {"/c/llama.cpp", "/home/u/.cache/llama.cpp", "/home/u/Library/Caches/llama.cpp"},
	} {
		if got := store(t, name, getenv, "/home/u").Places(); !slices.Equal(got, want) {
			t.Errorf("%s: places %q, want %q", name, got, want)
		}
	}
	for _, s := range All(env(), "") {
		for _, p := range s.Places() {
			if !strings.HasPrefix(p, "/usr/share/ollama") && !strings.HasPrefix(p, "/var/lib/ollama") {
				t.Errorf("%s: %s without a home", s.Name(), p)
			}
		}
	}
}

func TestNothingThere(t *testing.T) {
	for _, s := range All(env("HF_HUB_CACHE", "/nonexistent/a"), t.TempDir()) {
		found, err := s.Find(t.Context())
		if err != nil || len(found) != 0 {
			t.Errorf("%s: %v %v", s.Name(), list(found), err)
		}
	}
}

func TestEndsWithItsContext(t *testing.T) {
	home := t.TempDir()
	write(t, filepath.Join(home, ".lmstudio/models/a/b/c.gguf"), model(t, "m"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range All(env(), home) {
		if found, err := s.Find(ctx); !errors.Is(err, context.Canceled) || found != nil {
			t.Errorf("%s: %v %v", s.Name(), found, err)
		}
	}
}

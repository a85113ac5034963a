package catalog

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

// ggufFile writes a valid model file and returns its path.
func ggufFile(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := bees.WriteFile(path, bees.Tiny); err != nil {
		t.Fatal(err)
	}
	return path
}

// at is the catalog of a data directory; without vendors it has those that need no network.
func at(dir string, vendors ...vendor.Vendor) *Catalog {
	if len(vendors) == 0 {
		vendors = []vendor.Vendor{builtin{}, local{}}
	}
	return New(Config{DataDir: dir, Vendors: vendors})
}

func names(c *Catalog) []string {
	names, _ := c.Names()
	return names
}

func resolve(t *testing.T, c *Catalog, ref string) messages.Model {
	t.Helper()
	m, err := c.Resolve(t.Context(), ref, Watcher{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantError(t *testing.T, err error, code messages.Code, words ...string) {
	t.Helper()
	if messages.CodeOf(err) != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestBuiltin(t *testing.T) {
	dir := t.TempDir()
	c := at(dir)
	if len(c.List()) != 0 {
		t.Fatal("something is listed")
	}
	if want := []string{"builtin:bee-endless", "builtin:bee-random", "builtin:bee-slow", "builtin:bee-tiny"}; !slices.Equal(names(c), want) {
		t.Fatalf("names %q", names(c))
	}
	_, err := c.Find("builtin:bee-tiny")
	wantError(t, err, messages.CodeModelUnknown)

	m := resolve(t, c, "builtin:bee-tiny")
	if m.ID != "builtin:bee-tiny" || !slices.Equal(m.Refs, []string{m.ID}) || m.Architecture != "llama" ||
		m.ContextLength != 4096 || m.Quantization == "" || m.SizeBytes < 1<<20 || !strings.HasPrefix(m.Digest, "sha256:") {
		t.Fatalf("%+v", m)
	}
	if fi, err := os.Stat(m.Path); err != nil || fi.Size() != m.SizeBytes || !strings.HasPrefix(m.Path, dir) {
		t.Fatalf("%s: %v", m.Path, err)
	}
	before, _ := os.Stat(m.Path)
	found, err := at(dir).Find("builtin:bee-tiny")
	if err != nil || found.Path != m.Path || found.Digest != m.Digest {
		t.Fatalf("%+v, %v", found, err)
	}
	resolve(t, c, "builtin:bee-tiny")
	if after, _ := os.Stat(m.Path); !os.SameFile(before, after) {
		t.Fatal("written a second time")
	}
	// What is damaged is made anew.
	if err := os.Truncate(m.Path, 100); err != nil {
		t.Fatal(err)
	}
	if again := resolve(t, c, "builtin:bee-tiny"); again.SizeBytes != m.SizeBytes {
		t.Fatalf("%+v", again)
	}
	_, err = c.Resolve(t.Context(), "builtin:wasp", Watcher{})
	wantError(t, err, messages.CodeModelUnknown, "wasp", "builtin:bee-slow")
}

// Whose a reference is, is told by its look.
func TestVendors(t *testing.T) {
	c := New(Config{DataDir: t.TempDir()})
	for ref, want := range map[string]string{
		"builtin:bee-tiny": "builtin", "hf:org/repo": "huggingface", "org/repo": "huggingface", "org/repo:Q4_K_M": "huggingface",
		"org/repo/sub/m.gguf": "huggingface", "org/repo@main": "huggingface", "https://huggingface.co/org/repo": "huggingface",
		"hf.co/org/repo:Q8_0": "huggingface", "ollama:qwen3": "ollama", "ollama:qwen3:8b": "ollama", "https://example.com/m.gguf": "url",
		"http://127.0.0.1/m.gguf": "url", "/models/m.gguf": "local", "/models": "local", "models/m.gguf": "local", "m.gguf": "local",
		"gpt-4": "", "": "", "qwen3:8b": "", "../../etc/passwd": "",
	} {
		got := ""
		if v, ok := c.pick(ref); ok {
			got = v.Name()
		}
		if got != want {
			t.Errorf("%q is %q's, want %q", ref, got, want)
		}
	}
}

func TestLocal(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	c := at(dir)
	path := ggufFile(t, files, "Some Model:1b.GGUF")
	m := resolve(t, c, path)
	if m.ID != "Some-Model-1b" || m.Path != path || m.Digest != "" {
		t.Fatalf("%+v", m)
	}
	for _, name := range []string{m.ID, path} {
		if found, err := c.Find(name); err != nil || found.Path != path {
			t.Fatalf("find %q: %+v, %v", name, found, err)
		}
	}
	if again := resolve(t, c, m.ID); again.Path != path { // by its public name
		t.Fatalf("%+v", again)
	}
	if !slices.Equal(ids(c.List()), []string{m.ID}) {
		t.Fatalf("list %+v", c.List())
	}

	// Another file of the same name is refused while the first is there.
	second := ggufFile(t, t.TempDir(), "Some Model:1b.GGUF")
	_, err := c.Resolve(t.Context(), second, Watcher{})
	wantError(t, err, messages.CodeConflict, path, second, "--name")

	// A file that is gone is no longer listed, and is said to be gone.
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if len(c.List()) != 0 || slices.Contains(names(c), m.ID) {
		t.Fatal("a missing file is listed")
	}
	_, err = c.Resolve(t.Context(), m.ID, Watcher{})
	wantError(t, err, messages.CodeBadModel, path, "does not exist")
	_, err = c.Resolve(t.Context(), path, Watcher{})
	wantError(t, err, messages.CodeModelUnknown, path, "does not exist")
	_, err = c.Find(m.ID)
	wantError(t, err, messages.CodeBadModel, path, "does not exist")
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if len(c.List()) != 1 {
		t.Fatal("it is back but not listed")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if m := resolve(t, c, second); m.Path != second || !slices.Equal(m.Refs, []string{second}) {
		t.Fatalf("%+v", m)
	}
}

func TestBadModels(t *testing.T) {
	files := t.TempDir()
	whole, err := os.ReadFile(ggufFile(t, files, "good.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte, mode os.FileMode) string {
		path := filepath.Join(files, name)
		if err := os.WriteFile(path, b, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct{ path, says string }{
		"missing":          {filepath.Join(files, "none.gguf"), "does not exist"},
		"missing folder":   {filepath.Join(files, "none", "x.gguf"), "does not exist"},
		"garbage":          {write("garbage.gguf", []byte(strings.Repeat("garbage ", 100)), 0o600), "not a GGUF"},
		"empty":            {write("empty.gguf", nil, 0o600), ""},
		"truncated":        {write("half.gguf", whole[:len(whole)/2], 0o600), "truncated"},
		"truncated header": {write("head.gguf", whole[:100], 0o600), "truncated"},
		"escape sequence":  {write("escape.gguf", bytes.Replace(whole, []byte("llama"), []byte("\x1b[31m"), 1), 0o600), "no name"},
		"folder":           {files, "7 models"},
		"device":           {os.DevNull, "not a regular file"},
		"unreadable":       {write("secret.gguf", whole, 0), "may not be read"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "unreadable" && os.Getuid() == 0 {
				return // nothing is unreadable to root
			}
			c := at(t.TempDir())
			_, err := c.Resolve(t.Context(), tc.path, Watcher{})
			code := messages.CodeBadModel
			if strings.HasPrefix(name, "missing") {
				code = messages.CodeModelUnknown
			}
			wantError(t, err, code, tc.path, tc.says)
			if len(c.manifests()) != 0 {
				t.Fatal("it was registered")
			}
		})
	}
	wantError(t, badModel("/m.gguf", &fs.PathError{Op: "open", Path: "/m.gguf", Err: fs.ErrPermission}),
		messages.CodeBadModel, "/m.gguf", "may not be read")
}

func TestUnknownReferences(t *testing.T) {
	c := at(t.TempDir())
	for _, ref := range []string{"", "gpt-4", "hf:owner/repo", "../../etc/passwd", "https://example.com/m.gguf"} {
		_, err := c.Resolve(t.Context(), ref, Watcher{})
		wantError(t, err, messages.CodeModelUnknown, "builtin:bee-tiny", "model.gguf")
	}
	_, err := c.Resolve(t.Context(), "models/x.gguf", Watcher{})
	wantError(t, err, messages.CodeBadRequest, "absolute path")
}

// Whatever a kill leaves behind is no entry, and the next Resolve gets over it.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	c := at(dir)
	entry := filepath.Join(dir, "models", folder("builtin:bee-tiny"))
	if err := os.MkdirAll(entry, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{manifestName + ".part", manifestName} {
		if err := os.WriteFile(filepath.Join(entry, name), []byte("{half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if len(c.List()) != 0 {
			t.Fatalf("with half a %s it is listed", name)
		}
	}
	resolve(t, c, "builtin:bee-tiny")
	if parts, _ := filepath.Glob(filepath.Join(entry, "*.part*")); len(parts) != 0 {
		t.Fatalf("left: %q", parts)
	}
	// A manifest that was copied elsewhere is not believed.
	if err := os.Rename(entry, filepath.Join(dir, "models", "other")); err != nil {
		t.Fatal(err)
	}
	if len(c.List()) != 0 {
		t.Fatal("a moved manifest is listed")
	}
}

func TestCancelledBuiltin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := at(t.TempDir())
	_, err := c.Resolve(ctx, "builtin:bee-tiny", Watcher{Step: func(Step) { cancel() }})
	wantError(t, err, messages.CodeCancelled)
	if len(c.List()) != 0 {
		t.Fatal("registered")
	}
}

func TestAvailable(t *testing.T) {
	c := at(t.TempDir())
	names, _ := c.Names()
	all := c.Available()
	if len(all) != len(names) {
		t.Fatalf("%d models, %d names", len(all), len(names))
	}
	for i, m := range all {
		if m.ID != names[i] || m.SizeBytes != 0 || m.Path != "" || len(m.Refs) != 1 || m.Refs[0] != m.ID {
			t.Errorf("got %+v, want %s", m, names[i])
		}
	}
	if _, err := c.Resolve(t.Context(), "builtin:bee-tiny", Watcher{}); err != nil {
		t.Fatal(err)
	}
	for i, m := range c.Available() {
		if m.ID != names[i] || (m.SizeBytes > 0) != (m.ID == "builtin:bee-tiny") {
			t.Errorf("after a pull: %+v", m)
		}
	}
}

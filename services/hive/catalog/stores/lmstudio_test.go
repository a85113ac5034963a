package stores

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestLMStudio(t *testing.T) {
	home := t.TempDir()
	root := filepath.Join(home, ".lmstudio/models")
	path := write(t, filepath.Join(root, "bartowski/Qwen-GGUF/Qwen-Q4_K_M.gguf"), model(t, "a"))
	write(t, filepath.Join(root, "bartowski/Qwen-GGUF/mmproj-Qwen-f16.gguf"), model(t, "eye"))
	first := write(t, filepath.Join(root, "bartowski/Qwen-GGUF/Q8_0/Qwen-Q8_0-00001-of-00002.gguf"), model(t, "1"))
	write(t, filepath.Join(root, "bartowski/Qwen-GGUF/Q8_0/Qwen-Q8_0-00002-of-00002.gguf"), model(t, "2"))
	write(t, filepath.Join(root, "bartowski/Qwen-GGUF/downloading_x.part"), nil)
	write(t, filepath.Join(root, "mlx-community/x/model.safetensors"), nil)
	lone := write(t, filepath.Join(root, "lone one.gguf"), model(t, "lone"))
	half := write(t, filepath.Join(root, "pub/half.GGUF"), model(t, "half"))
	found := findAll(t, store(t, "lmstudio", env(), home), home)
	if len(found) != 4 {
		t.Fatalf("found\n%s", list(found))
	}
	f := named(t, found, "bartowski/Qwen-GGUF:Q4_K_M")
	usable(t, f, "hf:bartowski/Qwen-GGUF:Q4_K_M", "hf:bartowski/Qwen-GGUF/Qwen-Q4_K_M.gguf", path)
	if f.Files[0].Digest != "" || f.Files[0].InPlace != path || len(f.Files) != 2 {
		t.Errorf("%+v", f.Files)
	}
	f = named(t, found, "bartowski/Qwen-GGUF:Q8_0")
	usable(t, f, "hf:bartowski/Qwen-GGUF:Q8_0", "hf:bartowski/Qwen-GGUF/Q8_0/Qwen-Q8_0-00001-of-00002.gguf")
	if len(f.Files) != 3 || f.Files[0].InPlace != first {
		t.Errorf("%+v", f.Files)
	}
	usable(t, named(t, found, "lone one"), lone)
	usable(t, named(t, found, "half"), half)
}

func TestLMStudioSettings(t *testing.T) {
	home, elsewhere := t.TempDir(), t.TempDir()
	path := write(t, filepath.Join(elsewhere, "a/b/m-Q8_0.gguf"), model(t, "a"))
	settings, _ := json.Marshal(map[string]any{"downloadsFolder": elsewhere + "/", "language": "en"})
	write(t, filepath.Join(home, ".lmstudio/settings.json"), settings)
	s := store(t, "lmstudio", env(), home)
	f := named(t, findAll(t, s, home), "a/b:Q8_0")
	usable(t, f, "hf:a/b:Q8_0", "hf:a/b/m-Q8_0.gguf", path)
	for _, bad := range []string{`{"downloadsFolder":"relative"}`, `{"downloadsFolder":7}`, `{"downloadsFolder":"/x\u0000y"}`, `[`, ``} {
		write(t, filepath.Join(home, ".lmstudio/settings.json"), []byte(bad))
		if got := s.Places(); len(got) != 2 {
			t.Errorf("%s: places %q", bad, got)
		}
	}
}

func TestLMStudioLinks(t *testing.T) {
	home, elsewhere := t.TempDir(), t.TempDir()
	root := filepath.Join(home, ".lmstudio/models")
	outside := write(t, filepath.Join(elsewhere, "b/m-Q4_0.gguf"), model(t, "outside"))
	path := write(t, filepath.Join(root, "a/b/m-Q8_0.gguf"), model(t, "a"))
	symlink(t, outside, filepath.Join(root, "a/b/m-Q4_0.gguf"))
	symlink(t, "m-Q8_0.gguf", filepath.Join(root, "a/b/again-Q5_0.gguf"))
	symlink(t, elsewhere, filepath.Join(root, "publisher"))
	symlink(t, "../..", filepath.Join(root, "a/b/up"))
	symlink(t, "..", filepath.Join(root, "a/b/mmproj-folder.gguf"))
	symlink(t, outside, filepath.Join(root, "a/b/mmproj-outside.gguf"))
	if err := os.MkdirAll(filepath.Join(root, "a/b/folder.gguf"), 0o755); err != nil {
		t.Fatal(err)
	}
	found := findAll(t, store(t, "lmstudio", env(), home), home)
	if len(found) != 4 {
		t.Fatalf("found\n%s", list(found))
	}
	usable(t, named(t, found, "a/b:Q8_0"), "hf:a/b:Q8_0", "hf:a/b/m-Q8_0.gguf", path)
	unusable(t, named(t, found, "a/b:Q4_0"), "leads out of the store")
	unusable(t, named(t, found, "publisher"), "leads out of the store")
	if f := named(t, found, "a/b:Q5_0"); f.Problem != "" || len(f.Files) != 1 || f.Files[0].InPlace != path {
		t.Errorf("%+v", f)
	}
}

package stores

import (
	"path/filepath"
	"testing"
)

func TestLlamaCpp(t *testing.T) {
	dir := t.TempDir()
	newer, older := model(t, "newer"), model(t, "older")
	write(t, filepath.Join(dir, "ggml-org_gemma-GGUF_sub_gemma-Q4_K_M.gguf"), newer)
	write(t, filepath.Join(dir, "ggml-org_gemma-GGUF_sub_gemma-Q4_K_M.gguf.etag"), []byte(`"x"`))
	write(t, filepath.Join(dir, "ggml-org_gemma-GGUF_mmproj-gemma-f16.gguf"), model(t, "eye", "general.architecture", "clip"))
	write(t, filepath.Join(dir, "manifest=ggml-org=gemma-GGUF=latest.json"),
		[]byte(`{"ggufFile":{"rfilename":"sub/gemma-Q4_K_M.gguf","size":1,"lfs":{"sha256":"`+hash(newer)+`"}},"mmprojFile":{"rfilename":"mmproj-gemma-f16.gguf"}}`))
	write(t, filepath.Join(dir, "a_b_m-Q8_0-00001-of-00002.gguf"), older)
	write(t, filepath.Join(dir, "a_b_m-Q8_0-00002-of-00002.gguf"), model(t, "2"))
	write(t, filepath.Join(dir, "a_b_m-Q8_0-00001-of-00002.gguf.json"),
		[]byte(`{"etag":"\"1\"","lastModified":"","url":"https://huggingface.co/a/b/resolve/main/m-Q8_0-00001-of-00002.gguf"}`))
	plain := write(t, filepath.Join(dir, "ai_smollm2_latest.gguf"), model(t, "plain"))
	liar := write(t, filepath.Join(dir, "liar.gguf"), model(t, "liar"))
	write(t, filepath.Join(dir, "liar.gguf.json"), []byte(`{"url":"https://huggingface.co/google/gemma/resolve/main/gemma-Q8_0.gguf"}`))
	write(t, filepath.Join(dir, "x.gguf.downloadInProgress"), nil)
	found := findAll(t, store(t, "llama.cpp", env("LLAMA_CACHE", dir), ""), dir)
	if len(found) != 4 {
		t.Fatalf("found\n%s", list(found))
	}
	f := named(t, found, "ggml-org/gemma-GGUF:Q4_K_M")
	usable(t, f, "hf:ggml-org/gemma-GGUF:Q4_K_M", "hf:ggml-org/gemma-GGUF/sub/gemma-Q4_K_M.gguf", filepath.Join(dir, "ggml-org_gemma-GGUF_sub_gemma-Q4_K_M.gguf"))
	if f.Files[0].Digest != "sha256:"+hash(newer) || len(f.Files) != 2 || f.Files[1].Name != "mmproj-gemma-f16.gguf" {
		t.Errorf("%+v", f.Files)
	}
	f = named(t, found, "a/b:Q8_0")
	usable(t, f, "hf:a/b:Q8_0", "hf:a/b/m-Q8_0-00001-of-00002.gguf")
	if len(f.Files) != 2 || f.Files[1].Name != "m-Q8_0-00002-of-00002.gguf" {
		t.Errorf("%+v", f.Files)
	}
	usable(t, named(t, found, "ai_smollm2_latest"), plain)
	usable(t, named(t, found, "liar"), liar)
}

func FuzzOrigins(f *testing.F) {
	f.Add([]byte(`{"url":"https://huggingface.co/a/b/resolve/main/c.gguf"}`))
	f.Add([]byte(`{"url":"https://huggingface.co/a/b/resolve/main/../../../c.gguf"}`))
	f.Add([]byte(`{"ggufFile":{"rfilename":"x/y.gguf","lfs":{"sha256":"00"}}}`))
	f.Add([]byte(`{"ggufFile":{"rfilename":"/etc/passwd"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := ofManifest(b, "a/b")
		if o, ok := ofAddress(b); ok {
			all = append(all, o)
		}
		for _, o := range all {
			if !plain(o.name) || o.repo == "" || clean(o.repo) != o.repo || o.digest != "" && len(o.digest) != 71 {
				t.Fatalf("%+v", o)
			}
		}
	})
}

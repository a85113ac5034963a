package stores

import (
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/huggingface"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// What lies in the cache has the name and the reference that the vendor would give it, for a cache that holds
// all of a repository.
func TestAsTheVendorNamesIt(t *testing.T) {
	c, s := newCache(t)
	hub := fakehub.Start()
	t.Cleanup(hub.Close)
	v := huggingface.New(env("HF_ENDPOINT", hub.URL(), "HF_HOME", t.TempDir()))
	const repo = "org/Model-8B-GGUF"
	var files []fakehub.File
	names := strings.Fields(`Model-8B-Q4_K_M.gguf Model-8B-UD-Q4_K_XL.gguf Model-8B.Q5_0.gguf model_8b_q6_k.gguf
		Model-8B-IQ2_XXS.gguf Model-8B-mxfp4.gguf other-Q4_K_M.gguf Model-8B-draft-Q8_0.gguf Model-8B-Q8_0.gguf Model-8B.gguf
		BF16/Model-8B-BF16-00001-of-00002.gguf BF16/Model-8B-BF16-00002-of-00002.gguf Q3_K_S/model.gguf
		Model-8B-fp16.gguf Model-8B-Q4_0_4_8.gguf Model-8B-TQ1_0.gguf Model-8B-Q2_K_L-v2.gguf X.GGUF
		odd-00003-of-00002.gguf mmproj-F16.gguf Model-8B.imatrix.gguf imatrix-Q8_0.gguf README.md`)
	for _, name := range names {
		content := model(t, name)
		files = append(files, fakehub.File{Path: name, Content: content, LFS: true})
	}
	commit := hub.Add(fakehub.Repo{Name: repo, Files: files})
	c.ref(repo, "main", commit)
	for _, f := range files {
		c.file(repo, commit, f.Path, f.Content)
	}
	found := findAll(t, s, c.dir)
	if len(found) != 18 {
		t.Errorf("%d found\n%s", len(found), list(found))
	}
	for _, f := range found {
		for _, ref := range f.Refs {
			a, err := v.Resolve(t.Context(), ref)
			if err != nil {
				t.Errorf("%s: %v", ref, err)
				continue
			}
			same := slices.EqualFunc(a.Files, f.Files, func(a, b vendor.File) bool {
				return a.Name == b.Name && a.Kind == b.Kind && a.Digest == b.Digest && a.SizeBytes == b.SizeBytes
			})
			if a.Name != f.Name || a.Ref != f.Ref || a.Revision != f.Revision || !same {
				t.Errorf("%s is\n%q %q %+v, to the vendor\n%q %q %+v", ref, f.Name, f.Ref, f.Files, a.Name, a.Ref, a.Files)
			}
		}
		if !v.Supports(f.Name) {
			t.Errorf("the vendor does not support %s", f.Name)
		}
	}
	if !slices.Contains(named(t, found, repo+":Q4_K_M").Refs, "hf:"+repo+"/other-Q4_K_M.gguf") {
		t.Errorf("found\n%s", list(found))
	}
}

package huggingface

import (
	"io"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
	"github.com/rbee-project/rbee/services/hive/catalog/vendortest"
)

func TestConformance(t *testing.T) {
	big := fakehub.File{Path: "m-Q4_K_M.gguf", Size: 64 << 10, Seed: 1, LFS: true}
	one := fakehub.File{Path: "m-Q8_0-00001-of-00002.gguf", Size: 5000, Seed: 2, LFS: true}
	two := fakehub.File{Path: "m-Q8_0-00002-of-00002.gguf", Size: 3000, Seed: 3, LFS: true}
	eye := fakehub.File{Path: "mmproj-F16.gguf", Size: 900, Seed: 4, LFS: true}
	small := fakehub.File{Path: "dir/tiny model.gguf", Content: []byte("GGUF, not in LFS")}
	held := func(f fakehub.File) vendortest.File {
		content, err := io.ReadAll(fakehub.Reader(f))
		if err != nil {
			t.Fatal(err)
		}
		return vendortest.File{Name: f.Path, Kind: vendor.Model, Content: content}
	}
	projector := vendortest.File{Name: eye.Path, Kind: vendor.Projector}
	gate := new(vendortest.Gate)
	hub := fakehub.Start(gate.Wrap)
	t.Cleanup(hub.Close)
	hub.AddToken(token)
	hub.Add(fakehub.Repo{Name: "bees/model", License: "mit", Files: []fakehub.File{big, one, two, eye, small}})
	hub.Add(fakehub.Repo{Name: "bees/gated", Gated: true, Files: lfs("m-Q4_0.gguf")})
	vendortest.Run(t, vendortest.Case{
		New: func(t testing.TB) vendor.Vendor { return newFor(t, hub, "HF_TOKEN", token) },
		Refs: []vendortest.Ref{
			{Ref: "hf:bees/model", Name: "bees/model:Q4_K_M", Files: []vendortest.File{held(big), projector}},
			{Ref: "bees/model:q8_0", Name: "bees/model:Q8_0", Files: []vendortest.File{held(one), held(two), projector}},
			{Ref: hub.URL() + "/bees/model/blob/main/dir/tiny%20model.gguf", Name: "bees/model:tiny-model", Files: []vendortest.File{held(small), projector}},
		},
		NotMine:   notOurs,
		Malformed: malformedRefs,
		Unknown:   "hf:bees/other",
		Denied:    []string{"hf:bees/gated"},
		Ranges:    true,
		Gate:      gate,
		Secrets:   []string{token, "Signature="},
	})
}

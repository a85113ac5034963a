package catalog

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
	"github.com/rbee-project/rbee/services/hive/catalog/vendortest"
)

func TestBuiltinConforms(t *testing.T) {
	bee, _ := beeBytes(t)
	vendortest.Run(t, vendortest.Case{
		New: func(testing.TB) vendor.Vendor { return builtin{} },
		Refs: []vendortest.Ref{{Ref: "builtin:bee-tiny", Name: "builtin:bee-tiny",
			Files: []vendortest.File{{Name: "bee-tiny.gguf", Kind: vendor.Model, Content: bee}}}},
		NotMine: []string{"hf:bee/tiny", "bee-tiny", "/bee-tiny.gguf", "Builtin:bee-tiny"},
		Unknown: "builtin:wasp",
		Ranges:  true,
		Offline: true,
	})
}

func TestLocalConforms(t *testing.T) {
	bee, _ := beeBytes(t)
	dir := t.TempDir()
	alone, split := filepath.Join(dir, "alone"), filepath.Join(dir, "split")
	for path, content := range map[string][]byte{
		filepath.Join(alone, "bee-Q8_0.gguf"):            bee,
		filepath.Join(alone, "mmproj-bee.gguf"):          {1},
		filepath.Join(split, "hive-00001-of-00002.gguf"): bee,
		filepath.Join(split, "hive-00002-of-00002.gguf"): {2},
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, content)
	}
	one := []vendortest.File{{Name: "bee-Q8_0.gguf", Kind: vendor.Model, Content: bee}}
	two := []vendortest.File{
		{Name: "hive-00001-of-00002.gguf", Kind: vendor.Model, Content: bee},
		{Name: "hive-00002-of-00002.gguf", Kind: vendor.Model, Content: []byte{2}},
	}
	vendortest.Run(t, vendortest.Case{
		New: func(testing.TB) vendor.Vendor { return local{} },
		Refs: []vendortest.Ref{
			{Ref: filepath.Join(alone, "bee-Q8_0.gguf"), Name: "bee-Q8_0", Files: one},
			{Ref: alone, Name: "bee-Q8_0", Files: one},
			{Ref: split, Name: "hive", Files: two},
			{Ref: filepath.Join(split, "hive-00002-of-00002.gguf"), Name: "hive", Files: two},
		},
		NotMine:   []string{"hf:bee/tiny", "bee-tiny", "builtin:bee-tiny", "https://host/bee.gguf"},
		Malformed: []string{"bee.gguf", "./bee.gguf", "../bee.gguf", "/bee\x00.gguf"},
		Unknown:   filepath.Join(dir, "no.gguf"),
		Offline:   true,
	})
}

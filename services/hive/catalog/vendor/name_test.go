package vendor

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPublicName(t *testing.T) {
	long := "x" + strings.Repeat("ä", 200)
	for path, want := range map[string]string{
		"/models/Bee-Q8_0.gguf": "Bee-Q8_0",
		"Bee.GGUF":              "Bee",
		"bee.gguf.GGUF":         "bee",
		"bee.bin":               "bee.bin",
		"a b:c\\d\te.gguf":      "a-b-c-d-e",
		"hf:org.gguf":           "hf-org",
		"a\u202efugg.exe":       "a-fugg.exe",
		"a\xffb.gguf":           "a-b",
		".gguf":                 ".gguf",
		"..gguf":                "-",
		"...gguf":               "-",
		"..":                    "-",
		"":                      "-",
		"/":                     "-",
		long + ".gguf":          "x" + strings.Repeat("ä", 124),
	} {
		if filepath.Separator == '\\' && strings.ContainsAny(path, `\:`) {
			continue // such a path has other parts there
		}
		if got := PublicName(path); got != want {
			t.Errorf("PublicName(%q) is %q, not %q", path, got, want)
		}
	}
}

func FuzzPublicName(f *testing.F) {
	for _, s := range []string{"/a/b.gguf", "..gguf", "a:b", "\xff", strings.Repeat("x", 300), "a\u200bb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		name := PublicName(path)
		if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsAny(name, "/\\: \x00\n") || name == "." || name == ".." {
			t.Errorf("PublicName(%q) is %q", path, name)
		}
	})
}

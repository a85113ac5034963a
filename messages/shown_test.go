package messages

import "testing"

func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"hf:org/repo:Q4_K_M@main":       "hf:org/repo:Q4_K_M@main",
		"what? ollama:bee, user@host":   "what? ollama:bee, user@host",
		"https://cdn/m.gguf":            "https://cdn/m.gguf",
		"https://cdn/m.gguf?X-Sig=s3&a": "https://cdn/m.gguf",
		"https://cdn/m.gguf?s3#sha256=ab other http://h/a?s3": "https://cdn/m.gguf#sha256=ab other http://h/a",
		`model "https://cdn/m.gguf?s3" is away`:               `model "https://cdn/m.gguf" is away`,
		"https://….gguf[#sha256=…], http://h":                 "https://….gguf[#sha256=…], http://h",
		"https://me:s3@cdn/m@1.gguf?s3":                       "https://cdn/m@1.gguf",
		"https://me:s3@x@cdn":                                 "https://cdn",
		"//h?s3":                                              "//h?s3",
	} {
		if got := Shown(text); got != want {
			t.Errorf("Shown(%q) is %q, want %q", text, got, want)
		}
	}
}

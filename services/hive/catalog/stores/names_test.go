package stores

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func TestQuantization(t *testing.T) {
	for name, want := range map[string]string{
		"Qwen3-8B-Q4_K_M.gguf":                          "Q4_K_M",
		"qwen3-8b-q4_k_m.gguf":                          "Q4_K_M",
		"llama-2-7b.Q4_0.gguf":                          "Q4_0",
		"gemma-3-27b-it-UD-Q4_K_XL.gguf":                "UD-Q4_K_XL",
		"Qwen3-IQ2_XXS.gguf":                            "IQ2_XXS",
		"m-IQ4_NL.gguf":                                 "IQ4_NL",
		"gpt-oss-20b-MXFP4.gguf":                        "MXFP4",
		"gpt-oss-20b-mxfp4.gguf":                        "MXFP4",
		"m-BF16-00001-of-00002.gguf":                    "BF16",
		"m-f16.gguf":                                    "F16",
		"m-F32.gguf":                                    "F32",
		"m-TQ1_0.gguf":                                  "TQ1_0",
		"BF16/model-00001-of-00009.gguf":                "BF16",
		"UD-IQ1_S/model-UD-IQ1_S-00001-of-00009.gguf":   "UD-IQ1_S",
		"mistral_7b_q4_0.gguf":                          "Q4_0",
		"Llama-3.2-1B-Instruct-Q4_0_4_8.gguf":           "Q4_0_4_8",
		"m-Q4_K_M-imat.gguf":                            "Q4_K_M",
		"model.gguf":                                    "",
		"Q-learning.gguf":                               "",
		"Qwen2.gguf":                                    "",
		"a/model.gguf":                                  "",
		"phi-3-mini-4k-instruct-q4.gguf":                "Q4",
		"ggml-model-i2_s.gguf":                          "",
		"x-Q8_0.something.else-entirely.gguf":           "Q8_0",
		"really.Q8_0/" + strings.Repeat("x", 9) + ".gg": "Q8_0",
	} {
		model, _, _ := vendor.Part(name)
		if got := quantization(model); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain name-1.gguf":      "plain name-1.gguf",
		"é 模型 🐝":                 "é 模型 🐝",
		"a\x1b[2Jb\r\n\tc\x7f":   "a�[2Jb���c�",
		"a\u202eb\u2066c\u200bd": "a�b�c�d",
		"a\u00a0b\u2028c":        "a�b�c",
		"a\xff\xfeb":             "a��b",
		"\U000e0041\u3164":       "��",
		strings.Repeat("é", 999): strings.Repeat("é", maxShown) + "…",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\u202eb\x00\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) || utf8.RuneCountInString(got) > maxShown+1 {
			t.Fatalf("%q: %q", s, got)
		}
		if utf8.RuneCountInString(s) <= maxShown && clean(got) != got {
			t.Fatalf("%q: %q, then %q", s, got, clean(got))
		}
		if plain(s) && (strings.HasPrefix(s, "/") || strings.Contains("/"+s+"/", "/../")) {
			t.Fatalf("%q is plain", s)
		}
	})
}

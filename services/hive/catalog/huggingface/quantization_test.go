package huggingface

import (
	"os"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func TestQuantizationOfAName(t *testing.T) {
	for stem, want := range map[string]string{
		"Qwen3-8B-Q4_K_M":            "Q4_K_M",
		"qwen2.5-7b-instruct-q4_k_m": "Q4_K_M",
		"llama-2-7b.Q5_K_S":          "Q5_K_S",
		"Qwen3-8B-UD-Q4_K_XL":        "UD-Q4_K_XL",
		"Qwen3-8B-UD-IQ1_M":          "UD-IQ1_M",
		"m-IQ4_NL":                   "IQ4_NL",
		"m.IQ2_XXS":                  "IQ2_XXS",
		"m-Q8_0":                     "Q8_0",
		"m-q8_0-imat":                "Q8_0",
		"m-Q4_0_4_4":                 "Q4_0_4_4",
		"m-Q6_K_L":                   "Q6_K_L",
		"m-Q6_K":                     "Q6_K",
		"m-F16":                      "F16",
		"m-fp16":                     "FP16",
		"m-BF16":                     "BF16",
		"ggml-model-f32":             "F32",
		"gpt-oss-20b-MXFP4":          "MXFP4",
		"gpt-oss-20b-mxfp4_moe":      "MXFP4_MOE",
		"bitnet-TQ1_0":               "TQ1_0",
		"m-Q4_K_M_new":               "Q4_K_M",
		"Q8_0":                       "Q8_0",
		"m-Q4":                       "Q4",
		"m-F16-to-Q4_K_S":            "Q4_K_S",
		"tinyllama":                  "",
		"BQ4_K_M":                    "",
		"llama-3-8b":                 "",
		"MiniQ4x":                    "",
		"":                           "",
	} {
		if got := vendor.Quantization(stem); got != want {
			t.Errorf("Quantization(%q) = %q, not %q", stem, got, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tc := range []struct {
		asked, quant string
		want         int
	}{
		{"q4_k_m", "Q4_K_M", 0}, {"Q4_K_XL", "UD-Q4_K_XL", 1}, {"Q4", "Q4_K_M", 2}, {"Q4_K", "Q4_K_S", 2}, {"Q4", "UD-Q4_K_XL", 2}, {"IQ4", "IQ4_NL", 2}, {"fp16", "F16", 0},
		{"Q4_K_M", "Q4_K_S", -1}, {"Q4", "IQ4_NL", -1}, {"Q", "Q4_0", -1}, {"F16", "BF16", -1}, {"UD-Q4_K_XL", "Q4_K_XL", -1}, {"Q4_K_M", "", -1},
	} {
		if got := matches(tc.asked, tc.quant); got != tc.want {
			t.Errorf("matches(%q, %q) = %d, not %d", tc.asked, tc.quant, got, tc.want)
		}
	}
}

// TestOrder holds the documented order and the one that is used together.
func TestOrder(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(doc), "nothing is ever tried by downloading:\n//\n")
	list, _, _ = strings.Cut(list, ", then others by name")
	if got := strings.Fields(strings.ReplaceAll(list, "//", "")); strings.Join(got, " ") != strings.Join(preferred, " ") {
		t.Errorf("the documentation has\n%v\nthe code\n%v", got, preferred)
	}
	seen := map[string]bool{}
	for _, q := range preferred {
		if seen[q] || vendor.Quantization("m-"+q) != q {
			t.Errorf("%s is there twice, or read as %q", q, vendor.Quantization("m-"+q))
		}
		seen[q] = true
	}
}

// TestFilesOfOneNameAreToldApart has two files that differ by their folder alone.
func TestFilesOfOneNameAreToldApart(t *testing.T) {
	_, v := with(t, fakehub.Repo{Name: "o/r", Files: lfs("a/m-Q4_K_M.gguf", "b/m-Q4_K_M.gguf")})
	for _, ref := range []string{"hf:o/r", "hf:o/r:Q4_K_M"} {
		notes := strings.Join(resolve(t, v, ref).Notes, "\n")
		if !strings.Contains(notes, "chose a/m-Q4_K_M.gguf") || ref == "hf:o/r" && !strings.Contains(notes, "b/m-Q4_K_M.gguf has the same quantization") {
			t.Errorf("%s: %q", ref, notes)
		}
	}
}

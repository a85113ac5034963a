package huggingface

import (
	"regexp"
	"strings"
)

// preferred are the quantizations in the order of the package's documentation.
var preferred = strings.Fields(`Q4_K_M Q4_K_S Q4_0 IQ4_NL IQ4_XS Q4_1 Q5_K_M Q5_K_S Q4_K_XL Q4_K_L MXFP4 MXFP4_MOE NVFP4
	Q5_0 Q5_1 Q5_K_L Q5_K_XL Q3_K_L Q3_K_XL Q3_K_M Q6_K Q6_K_L Q6_K_XL Q8_0 Q8_K_XL IQ3_M Q3_K_S
	IQ3_S IQ3_XS IQ3_XXS Q2_K_L Q2_K_XL Q2_K Q2_K_S IQ2_M IQ2_S IQ2_XS IQ2_XXS IQ1_M IQ1_S
	TQ2_0 TQ1_0 F16 BF16 F32`)

var ranks = func() map[string]int {
	m := map[string]int{}
	for i, q := range preferred {
		m[q], m["UD-"+q] = 2*i, 2*i+1
	}
	m["FP16"], m["FP32"] = m["F16"], m["F32"]
	return m
}()

// rank orders quantizations, smaller first; all that are not known are last.
func rank(quant string) int {
	if n, ok := ranks[quant]; ok {
		return n
	}
	return 2 * len(preferred)
}

var family = regexp.MustCompile(`^(?:I?Q[1-9]|I?Q[1-9]_K|MXFP4)$`)

// matches says how well a model's quantization is what was asked for, smaller is better; -1 if it is another one.
func matches(asked, quant string) int {
	asked = strings.ToUpper(asked)
	switch {
	case asked == quant:
		return 0
	case "UD-"+asked == quant:
		return 1
	case family.MatchString(asked) && strings.HasPrefix(strings.TrimPrefix(quant, "UD-"), asked+"_"):
		return 2
	case asked == "F16" && quant == "FP16", asked == "FP16" && quant == "F16", asked == "F32" && quant == "FP32", asked == "FP32" && quant == "F32":
		return 0
	}
	return -1
}

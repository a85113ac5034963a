package plan

import (
	"slices"

	"golang.org/x/sys/cpu"

	"github.com/rbee-project/rbee/gguf"
)

// The types of weights that llama.cpp's CPU engine copies into another order when it loads a model, so that
// rows can be multiplied several at a time (ggml/src/ggml-cpu/repack.cpp and amx/common.h).
var (
	copiedAVX2   = []string{"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"}
	copiedAVX512 = []string{"Q2_K"}
	copiedAMX    = []string{"Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"}
	copiedARM    = []string{"Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4"}
)

// rowsAtOnce is how many rows go together: a matrix whose rows are no multiple stays as it is.
const rowsAtOnce = 8

// copied says whether a matrix is one of them on this machine, whose processors are arch.
func copied(t gguf.Tensor, arch string) bool {
	if t.Dims[1]%rowsAtOnce != 0 {
		return false
	}
	has := func(feature bool, types []string) bool { return feature && slices.Contains(types, t.Type.String()) }
	switch arch {
	case "amd64":
		return has(cpu.X86.HasAVX2, copiedAVX2) || has(cpu.X86.HasAVX512F, copiedAVX512) ||
			has(cpu.X86.HasAMXTile && cpu.X86.HasAMXInt8, copiedAMX)
	case "arm64":
		return has(cpu.ARM64.HasASIMDDP, copiedARM)
	}
	return false
}

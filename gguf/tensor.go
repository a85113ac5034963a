package gguf

import (
	"fmt"
	"math/bits"
)

// TensorType is ggml's number for how a tensor's weights are stored.
type TensorType uint32

// The tensor types that [Writer] is used with. [ReadHeader] knows all of ggml's.
const (
	F32 TensorType = 0
	F16 TensorType = 1
	// Q8_0 is blocks of 32 weights: an F16 scale, then 32 signed bytes to multiply it with.
	Q8_0 TensorType = 8
)

// layout is a tensor type's name and its unit of storage: bytes bytes hold block weights.
type layout struct {
	name         string
	block, bytes uint64
}

// layouts is ggml's type table. Numbers that are missing were withdrawn by ggml.
var layouts = map[TensorType]layout{
	F32:  {"F32", 1, 4},
	F16:  {"F16", 1, 2},
	Q8_0: {"Q8_0", 32, 34},
	2:    {"Q4_0", 32, 18},
	3:    {"Q4_1", 32, 20},
	6:    {"Q5_0", 32, 22},
	7:    {"Q5_1", 32, 24},
	9:    {"Q8_1", 32, 36},
	10:   {"Q2_K", 256, 84},
	11:   {"Q3_K", 256, 110},
	12:   {"Q4_K", 256, 144},
	13:   {"Q5_K", 256, 176},
	14:   {"Q6_K", 256, 210},
	15:   {"Q8_K", 256, 292},
	16:   {"IQ2_XXS", 256, 66},
	17:   {"IQ2_XS", 256, 74},
	18:   {"IQ3_XXS", 256, 98},
	19:   {"IQ1_S", 256, 50},
	20:   {"IQ4_NL", 32, 18},
	21:   {"IQ3_S", 256, 110},
	22:   {"IQ2_S", 256, 82},
	23:   {"IQ4_XS", 256, 136},
	24:   {"I8", 1, 1},
	25:   {"I16", 1, 2},
	26:   {"I32", 1, 4},
	27:   {"I64", 1, 8},
	28:   {"F64", 1, 8},
	29:   {"IQ1_M", 256, 56},
	30:   {"BF16", 1, 2},
	34:   {"TQ1_0", 256, 54},
	35:   {"TQ2_0", 256, 66},
	39:   {"MXFP4", 32, 17},
	40:   {"NVFP4", 64, 36},
	41:   {"Q1_0", 128, 18},
	42:   {"Q2_0", 64, 18},
}

// String is ggml's name, such as "Q4_K", or "type 99" for one that this package does not know.
func (t TensorType) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Tensor is one tensor as the header lists it, without its weights.
type Tensor struct {
	Name string
	Type TensorType
	// Dims are the lengths, the fastest-moving first: one to four of them.
	Dims []uint64
	// Offset is where the weights start, in bytes from [Header.DataOffset].
	Offset uint64
}

// Bytes is the size of the weights. The error wraps [ErrTensorType] for an unknown type, and
// [ErrMalformed] if the rows are no whole number of blocks or the size is over 64 bits.
func (t Tensor) Bytes() (uint64, error) {
	l, ok := layouts[t.Type]
	if !ok {
		return 0, fmt.Errorf("%w: tensor %.64q has %s", ErrTensorType, t.Name, t.Type)
	}
	if len(t.Dims) == 0 || len(t.Dims) > maxDims {
		return 0, malformed("tensor %.64q has %d dimensions, want 1 to %d", t.Name, len(t.Dims), maxDims)
	}
	if t.Dims[0]%l.block != 0 {
		return 0, malformed("tensor %.64q has rows of %d, not a multiple of %s's block of %d",
			t.Name, t.Dims[0], l.name, l.block)
	}
	size := t.Dims[0] / l.block
	for _, n := range append([]uint64{l.bytes}, t.Dims[1:]...) {
		hi, lo := bits.Mul64(size, n)
		if hi != 0 {
			return 0, malformed("tensor %.64q has dimensions %d: over 64 bits", t.Name, t.Dims)
		}
		size = lo
	}
	return size, nil
}

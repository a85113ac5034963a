package bees

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

// appendRow appends one row of a matrix in format, F32 or F16.
func appendRow(buf []byte, format gguf.TensorType, columns, row int, m matrix) []byte {
	for column := range columns {
		if v := m(row, column); format == gguf.F32 {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
		} else {
			buf = binary.LittleEndian.AppendUint16(buf, half(v))
		}
	}
	return buf
}

// half is v as a 16-bit float, its fraction cut off after 10 bits. A value too small for a normal
// one becomes 0, and one too large becomes infinite.
func half(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b>>16) & 0x8000
	exponent := int(b>>23&0xff) - 127 + 15
	switch {
	case exponent <= 0:
		return sign
	case exponent >= 31:
		return sign | 0x7c00
	}
	return sign | uint16(exponent)<<10 | uint16(b>>13)&0x3ff
}

// bell returns random numbers of nearly normal distribution, mean 0 and deviation scale, the same
// on every machine: sums of whole numbers, and one multiplication, which leaves no room for a
// compiler to round differently.
func bell(random *rand.PCG, scale float32) float32 {
	const addends = 8 // of 16 bits each; their sum has deviation 2^16 x sqrt(8/12)
	const deviation = 53509.5
	sum := int32(0)
	for range addends / 4 {
		for bits, i := random.Uint64(), 0; i < 4; bits, i = bits>>16, i+1 {
			sum += int32(bits & 0xffff)
		}
	}
	return float32(sum-addends*(1<<15)) * (scale / deviation)
}

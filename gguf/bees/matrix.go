package bees

import (
	"encoding/binary"
	"io"
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

// content writes the weights of a matrix row by row. A vector is a matrix of one row.
type content func(w io.Writer, columns, rows int) error

// matrix gives the weight that input column contributes to output row. Values are asked for row
// by row, each once.
type matrix func(row, column int) float32

// same is a matrix with the same weight everywhere.
func same(weight float32) matrix { return func(int, int) float32 { return weight } }

// diagonal is a matrix that scales each value by weight(column) and mixes none.
func diagonal(weight func(column int) float32) matrix {
	return func(row, column int) float32 {
		if row == column {
			return weight(column)
		}
		return 0
	}
}

// fill returns what writes m in format, F32 or F16. A nil matrix is zero everywhere.
func fill(format gguf.TensorType, m matrix) content {
	return func(w io.Writer, columns, rows int) error {
		width := 2
		if format == gguf.F32 {
			width = 4
		}
		buf := make([]byte, 0, columns*width)
		for row := range rows {
			if m == nil {
				buf = buf[:cap(buf)] // still the zeros of make
			} else {
				buf = appendRow(buf[:0], format, columns, row, m)
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		return nil
	}
}

const (
	blockWeights = 32                    // of Q8_0
	blockBytes   = 2 + blockWeights      // the scale and the weights
	oddBytes     = 0x0101_0101_0101_0101 // or-ed in, it leaves no -128
	oddDeviation = 73.9                  // of a random odd number from -127 to 127
)

// fillBlocks returns what writes a Q8_0 matrix of random weights of that deviation. If first is
// not nil, it gives the first weight of each row.
func fillBlocks(random *rand.PCG, deviation float32, first func(row int) float32) content {
	return func(w io.Writer, columns, rows int) error {
		buf := make([]byte, 0, columns/blockWeights*blockBytes)
		for row := range rows {
			buf = buf[:0]
			for range columns / blockWeights {
				buf = appendBlock(buf, random, deviation/oddDeviation)
			}
			if first != nil {
				setFirst(buf, first(row), deviation/oddDeviation)
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		return nil
	}
}

func appendBlock(buf []byte, random *rand.PCG, scale float32) []byte {
	buf = binary.LittleEndian.AppendUint16(buf, half(scale))
	for range blockWeights / 8 {
		buf = binary.LittleEndian.AppendUint64(buf, random.Uint64()|oddBytes)
	}
	return buf
}

// setFirst makes v the first weight of a row's first block, whose scale is scale. A larger v
// stretches the whole block: its other weights become 0.
func setFirst(row []byte, v, scale float32) {
	if v > 127*scale || v < -127*scale {
		clear(row[:blockBytes])
		scale = max(v, -v) / 127
		binary.LittleEndian.PutUint16(row, half(scale))
	}
	row[2] = byte(int8(v / scale))
}

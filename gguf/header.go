// Package gguf reads the header of a GGUF model file and writes small GGUF files.
//
// A model file comes from a stranger, so reading has hard bounds: no count or length in the file
// makes [ReadHeader] take more memory than a small multiple of the bytes that it has read, and
// the weights are never read. A [Header] is not changed after it is returned, so many goroutines
// may use one; a [Writer] belongs to one goroutine.
package gguf

import (
	"fmt"
	"io"
	"math/bits"
	"os"
)

// The bounds of [ReadHeader]. A file over one of them is refused with [ErrBounds].
const (
	// MaxKeys is the limit on the number of keys. Real models have under 100.
	MaxKeys = 100_000
	// MaxTensors is the limit on the number of tensors. Real models have under 10,000.
	MaxTensors = 1_000_000
	// MaxArray is the limit on the elements of one array. Real vocabularies have under 1,000,000.
	MaxArray = 1 << 26
	// MaxKeptArray is the most elements that an array's values are kept for; a longer array is
	// only counted.
	MaxKeptArray = 1024
	// MaxName is the limit on the bytes of a key or of a tensor's name.
	MaxName = 65_535
	// MaxText is the limit on the bytes of one string value.
	MaxText = 16 << 20
	// MaxKeptText is the limit on the bytes of all kept strings together.
	MaxKeptText = 64 << 20
	// MaxHeaderBytes is the limit on the bytes before the first weight, so on the work of one call.
	MaxHeaderBytes = 256 << 20
)

const (
	magic            = "GGUF"
	maxDims          = 4
	minKeyBytes      = 8 + 1 + 4 + 1             // length, name, type, value
	minTensorBytes   = 8 + 1 + 4 + 8 + 4 + 8     // length, name, dimensions, one of them, type, offset
	defaultAlignment = 32                        // of the weights, where the file does not say
	maxAlignment     = 1 << 20                   // far over any in use
	keyAlignment     = "general.alignment"       // uint32
	keyArchitecture  = "general.architecture"    // string
	keyFileType      = "general.file_type"       // whole number
	keyTokens        = "tokenizer.ggml.tokens"   // array of string
	keyTokenizer     = "tokenizer.ggml.model"    // string
	keyChatTemplate  = "tokenizer.chat_template" // string
	keyName          = "general.name"            // string
)

// Header is what a model file says about itself. A number that the file does not give is 0 and a
// string is empty, but for [Header.FileType].
type Header struct {
	// Version is the file format's: 2 or 3.
	Version uint32
	// Architecture names the model's design, such as "llama". The keys of its numbers start with it.
	Architecture string
	// Name is the model's name for people, as its maker typed it.
	Name string
	// FileType is llama.cpp's number for the mix of tensor types; -1 if the file has none.
	FileType int
	// Quantization is the name of FileType, such as "Q4_K_M". For a file type that is missing or
	// unknown it is the tensor type that takes most bytes.
	Quantization string
	// ContextLength is the number of tokens that the model was trained to look back on.
	ContextLength int
	// BlockCount is the number of layers.
	BlockCount int
	// EmbeddingLength is the number of values that stand for a token between layers.
	EmbeddingLength int
	// HeadCount is the number of attention heads of a layer; the largest if layers differ.
	HeadCount int
	// HeadCountKV is the number of heads of a layer that have keys and values of their own; the
	// largest if layers differ. It is HeadCount if the file does not say.
	HeadCountKV int
	// KeyLength and ValueLength are the values in one head's key and in its value. They are
	// EmbeddingLength / HeadCount if the file does not say.
	KeyLength, ValueLength int
	// VocabSize is the number of tokens in the vocabulary.
	VocabSize int
	// ChatTemplate is a Jinja template that turns a chat into a prompt. It is untrusted input.
	ChatTemplate string
	// Tensors are in the file's order.
	Tensors []Tensor
	// SizeBytes is the size of all tensors, in bytes: what loading the model takes at least.
	SizeBytes uint64
	// DataOffset is where the weights start, in bytes from the start of the file.
	DataOffset int64

	values  map[string]any // Scalar types and Array
	kvHeads uint64         // HeadCountKV summed over the layers
}

// OpenHeader reads the header of the file at path. An error names the path.
func OpenHeader(path string) (*Header, error) {
	// Look before opening: to open a named pipe would wait for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read GGUF header: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read GGUF header of %s: %w: not a regular file", path, ErrNotGGUF)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read GGUF header: %w", err)
	}
	defer f.Close()
	h, err := ReadHeader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("read GGUF header of %s: %w", path, err)
	}
	return h, nil
}

// ReadHeader reads the header of the file of size bytes that r holds, and checks that every
// tensor lies inside it. It reads only the header, in pieces of 64 KiB. An error wraps one of the
// package's Err variables, or it is r's own. Format versions 2 and 3 are known, little-endian.
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	d := newDecoder(r, max(size, 0))
	h := &Header{values: map[string]any{}}
	tensors, keys := d.preamble(h)
	d.keys(h, keys)
	d.tensors(h, tensors)
	if d.err != nil {
		return nil, d.err
	}
	if err := h.place(d.pos, d.size); err != nil {
		return nil, err
	}
	if err := h.describe(); err != nil {
		return nil, err
	}
	return h, nil
}

// preamble reads everything before the first key and returns the counts of tensors and keys.
func (d *decoder) preamble(h *Header) (tensors, keys uint64) {
	start := make([]byte, min(d.size, uint64(len(magic))))
	for i := range start {
		start[i] = d.u8()
	}
	if d.err == nil && string(start) != magic[:len(start)] {
		d.fail(fmt.Errorf("%w: it starts with %q", ErrNotGGUF, start))
	}
	if d.err == nil && len(start) < len(magic) {
		d.fail(truncated(d.size, 24))
	}
	h.Version = d.u32()
	switch v := h.Version; {
	case d.err != nil:
	case v == bits.ReverseBytes32(2) || v == bits.ReverseBytes32(3):
		d.fail(fmt.Errorf("%w: %d, in big-endian bytes", ErrVersion, bits.ReverseBytes32(v)))
	case v != 2 && v != 3:
		d.fail(fmt.Errorf("%w: %d, want 2 or 3", ErrVersion, v))
	}
	tensors, keys = d.u64(), d.u64()
	switch {
	case d.err != nil:
	case tensors > MaxTensors:
		d.fail(tooMuch("number of tensors", tensors, MaxTensors))
	case keys > MaxKeys:
		d.fail(tooMuch("number of keys", keys, MaxKeys))
	case keys*minKeyBytes+tensors*minTensorBytes > d.left():
		d.fail(truncated(d.size, d.pos+keys*minKeyBytes+tensors*minTensorBytes))
	}
	return tensors, keys
}

// keys reads n keys and their values.
func (d *decoder) keys(h *Header, n uint64) {
	for i := uint64(0); i < n && d.err == nil; i++ {
		key := d.text(MaxName)
		if d.err == nil && key == "" {
			d.fail(malformed("key %d has no name", i))
		}
		if h.Has(key) {
			d.fail(malformed("key %.64q is there twice", key))
		}
		if t := valueType(d.u32()); t == typeArray {
			each := d.token
			if key != keyTokens {
				each = nil
			}
			h.values[key] = d.array(each)
		} else {
			h.values[key] = d.scalar(t)
		}
	}
}

// tensors reads the list of n tensors.
func (d *decoder) tensors(h *Header, n uint64) {
	for i := uint64(0); i < n && d.err == nil; i++ {
		t := Tensor{Name: d.text(MaxName)}
		dims := d.u32()
		if dims < 1 || dims > maxDims {
			d.fail(malformed("tensor %.64q has %d dimensions, want 1 to %d", t.Name, dims, maxDims))
			return
		}
		t.Dims = make([]uint64, dims)
		for j := range t.Dims {
			t.Dims[j] = d.u64()
		}
		t.Type, t.Offset = TensorType(d.u32()), d.u64()
		h.Tensors = append(h.Tensors, t)
	}
}

// place finds where the weights start, after a header of headerBytes, and checks that each
// tensor lies between there and the end of the file, fileBytes.
func (h *Header) place(headerBytes, fileBytes uint64) error {
	alignment, ok := h.Uint(keyAlignment)
	if !ok {
		alignment = defaultAlignment
	}
	if alignment == 0 || alignment > maxAlignment || bits.OnesCount64(alignment) != 1 {
		return malformed("alignment %d is not a power of two up to %d", alignment, maxAlignment)
	}
	start := alignUp(headerBytes, alignment)
	h.DataOffset = int64(start)
	end := start
	for _, t := range h.Tensors {
		n, err := t.Bytes()
		if err != nil {
			return err
		}
		last, carry := bits.Add64(t.Offset, n, 0)
		if carry != 0 || last > 1<<62 || t.Offset%alignment != 0 {
			return malformed("tensor %.64q of %d bytes at offset %d, alignment %d", t.Name, n, t.Offset, alignment)
		}
		end = max(end, start+last)
		h.SizeBytes = min(h.SizeBytes+n, 1<<62) // too large is an error below
	}
	if len(h.Tensors) > 0 && end > fileBytes {
		return truncated(fileBytes, end)
	}
	if h.SizeBytes > end-start {
		return malformed("its tensors overlap: %d bytes of weights in %d bytes", h.SizeBytes, end-start)
	}
	return nil
}

func alignUp(n, alignment uint64) uint64 { return (n + alignment - 1) / alignment * alignment }

// AllF32 reports whether the model has tensors and each of them is [F32].
func (h *Header) AllF32() bool {
	for _, t := range h.Tensors {
		if t.Type != F32 {
			return false
		}
	}
	return len(h.Tensors) > 0
}

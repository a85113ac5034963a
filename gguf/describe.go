package gguf

import (
	"math"
	"math/bits"
)

// describe fills the header's fields from its keys.
func (h *Header) describe() error {
	h.Architecture, _ = Get[string](h, keyArchitecture)
	h.Name, _ = Get[string](h, keyName)
	h.ChatTemplate, _ = Get[string](h, keyChatTemplate)
	h.FileType = -1
	if n, ok := h.Uint(keyFileType); ok && n <= math.MaxInt32 {
		h.FileType = int(n)
	}
	h.Quantization = h.quantization()
	prefix := h.Architecture + "."
	for key, field := range map[string]*int{
		"context_length":         &h.ContextLength,
		"block_count":            &h.BlockCount,
		"embedding_length":       &h.EmbeddingLength,
		"attention.key_length":   &h.KeyLength,
		"attention.value_length": &h.ValueLength,
		"vocab_size":             &h.VocabSize,
	} {
		n, err := h.number(prefix + key)
		if err != nil {
			return err
		}
		*field = n
	}
	if tokens, ok := Get[Array](h, keyTokens); ok {
		h.VocabSize = tokens.Len
	}
	return h.describeHeads(prefix)
}

// describeHeads fills the fields about attention heads. It needs BlockCount and EmbeddingLength.
func (h *Header) describeHeads(prefix string) (err error) {
	if h.HeadCount, _, err = h.perLayer(prefix + "attention.head_count"); err != nil {
		return err
	}
	key := prefix + "attention.head_count_kv"
	if !h.Has(key) {
		key = prefix + "attention.head_count"
	}
	if h.HeadCountKV, h.kvHeads, err = h.perLayer(key); err != nil {
		return err
	}
	if h.HeadCount > 0 {
		if h.KeyLength == 0 {
			h.KeyLength = h.EmbeddingLength / h.HeadCount
		}
		if h.ValueLength == 0 {
			h.ValueLength = h.EmbeddingLength / h.HeadCount
		}
	}
	return nil
}

// number returns the whole number at key, or 0 if there is no such key.
func (h *Header) number(key string) (int, error) {
	v, ok := h.values[key]
	if !ok {
		return 0, nil
	}
	n, ok := asUint(v)
	if !ok {
		return 0, malformed("key %.64q is no whole number", key)
	}
	if n > math.MaxInt32 {
		return 0, tooMuch(key, n, math.MaxInt32)
	}
	return int(n), nil
}

// perLayer returns the largest and the sum of a number that a file gives either once for all
// layers or as an array with one for each layer.
func (h *Header) perLayer(key string) (largest int, sum uint64, err error) {
	array, ok := Get[Array](h, key)
	if !ok {
		largest, err = h.number(key)
		return largest, mulCapped(uint64(largest), uint64(h.BlockCount)), err
	}
	add := func(n int64) {
		if n < 0 || n > math.MaxInt32 {
			err = malformed("key %.64q has a number out of range: %d", key, n)
			return
		}
		largest, sum = max(largest, int(n)), sum+uint64(n)
	}
	switch values := array.Values.(type) {
	case []int32:
		for _, n := range values {
			add(int64(n))
		}
	case []uint32:
		for _, n := range values {
			add(int64(n))
		}
	default:
		err = malformed("key %.64q is an array of %d, want up to %d 32-bit numbers", key, array.Len, MaxKeptArray)
	}
	return largest, sum, err
}

// KVBytes is the size of the attention cache for slots conversations of ctx tokens each:
//
//	ctx x slots x (KeyLength + ValueLength) x (HeadCountKV summed over the layers) x (4 if f32, else 2)
//
// It is exact for plain transformers if the engine does not round ctx up, and an upper bound for
// models with sliding windows or with layers that have no cache. It is 0 if the model [Header.Encodes], if ctx or slots is
// negative or the file does not give its dimensions, and [math.MaxUint64] if it is over that.
func (h *Header) KVBytes(ctx, slots int, f32 bool) uint64 {
	if h.Encodes() {
		return 0
	}
	width := uint64(2)
	if f32 {
		width = 4
	}
	n := mulCapped(uint64(max(ctx, 0)), uint64(max(slots, 0)))
	n = mulCapped(n, uint64(h.KeyLength)+uint64(h.ValueLength))
	return mulCapped(mulCapped(n, h.kvHeads), width)
}

// mulCapped is a x b, or the largest number if that is over 64 bits.
func mulCapped(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi != 0 {
		return math.MaxUint64
	}
	return lo
}

// fileTypes names llama.cpp's file types. Numbers that are missing were withdrawn.
var fileTypes = map[int]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
	11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M",
	18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S",
	25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M",
	32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}

// quantization names the file type or else the tensor type with most bytes.
func (h *Header) quantization() string {
	if name, ok := fileTypes[h.FileType]; ok {
		return name
	}
	bytesOf := map[TensorType]uint64{}
	name, most := "", uint64(0)
	for _, t := range h.Tensors {
		n, _ := t.Bytes() // its error was returned by place
		bytesOf[t.Type] += n
		if bytesOf[t.Type] > most {
			name, most = t.Type.String(), bytesOf[t.Type]
		}
	}
	return name
}

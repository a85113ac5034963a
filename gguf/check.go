package gguf

import (
	"fmt"
	"slices"
	"strings"
)

// The bounds of llama.cpp's own arrays; over them it ends its process.
const (
	maxLayers  = 512
	maxExperts = 1024
)

// family is what llama.cpp asserts about an architecture, beyond what it asserts about all.
type family struct {
	// turns says that positions turn the keys' values, all of them, two at a time.
	turns bool
}

// families are the architectures whose dimensions [CheckModel] knows. The others' are left to llama.cpp.
var families = map[string]family{
	"llama": {turns: true},
	"qwen2": {turns: true},
	"qwen3": {turns: true},
	"bert":  {},
}

// CheckModel refuses a model whose header llama.cpp (tried with v0.5.0) answers by ending its
// process instead of with an error: numbers of layers, heads and experts that cannot be, names that
// it does not know, and tensors of types that it cannot compute with. What llama.cpp refuses by itself, such
// as a missing tensor, passes. The dimensions of an architecture that this package does not know are not
// checked. An error wraps [ErrModel] and names the key or tensor. It reads nothing: see
// [OpenModel] for the vocabulary.
func CheckModel(h *Header) error {
	for _, check := range []func() error{h.checkLayers, h.checkExperts, h.checkHeads, h.checkNames, h.checkSmall, h.checkTypes} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrModel, fmt.Sprintf(format, args...))
}

// own is the full name of one of the architecture's keys.
func (h *Header) own(key string) string { return h.Architecture + "." + key }

func (h *Header) checkLayers() error {
	if key := h.own("block_count"); h.Has(key) && (h.BlockCount < 1 || h.BlockCount > maxLayers) {
		return unusable("%s is %d, want 1 to %d", key, h.BlockCount, maxLayers)
	}
	if _, known := families[h.Architecture]; !known {
		return nil
	}
	key := h.own("feed_forward_length")
	for _, n := range h.layers(key) {
		if n == 0 {
			return unusable("%s is 0", key)
		}
	}
	return nil
}

func (h *Header) checkExperts() error {
	count, _ := h.Uint(h.own("expert_count"))
	used := slices.Max(append(h.layers(h.own("expert_used_count")), 0))
	switch {
	case count > maxExperts:
		return unusable("%s is %d, the limit is %d", h.own("expert_count"), count, maxExperts)
	case used > count:
		return unusable("%s is %d of %d experts", h.own("expert_used_count"), used, count)
	case used == 0 && count > 0:
		return unusable("%s is not given for %d experts", h.own("expert_used_count"), count)
	}
	return nil
}

// zero reports whether the file gives one of the architecture's numbers, as 0.
func (h *Header) zero(key string) bool {
	n, ok := h.Uint(h.own(key))
	return ok && n == 0
}

// layers is a number that a file gives once for all layers, then its length is 1, or for each.
// It is empty if the file does not give it as whole numbers.
func (h *Header) layers(key string) []uint64 {
	array, _ := Get[Array](h, key)
	var out []uint64
	switch values := array.Values.(type) {
	case []uint32:
		for _, n := range values {
			out = append(out, uint64(n))
		}
	case []int32:
		for _, n := range values {
			out = append(out, uint64(max(n, 0)))
		}
	default:
		if n, ok := h.Uint(key); ok {
			out = append(out, n)
		}
	}
	return out
}

func (h *Header) checkHeads() error {
	heads, kv := h.layers(h.own("attention.head_count")), h.layers(h.own("attention.head_count_kv"))
	for i := range max(len(heads), len(kv)) {
		n, of := pick(kv, i), pick(heads, i)
		if n > 0 && of%n != 0 {
			return unusable("%s is %d, which does not divide the %d heads", h.own("attention.head_count_kv"), n, of)
		}
	}
	turned, given := h.Uint(h.own("rope.dimension_count"))
	if turned%2 != 0 {
		return unusable("%s is %d, want an even number", h.own("rope.dimension_count"), turned)
	}
	f, known := families[h.Architecture]
	switch {
	case !known || h.HeadCount == 0:
		return nil
	case len(kv) == 1 && kv[0] == 0:
		return unusable("%s is 0", h.own("attention.head_count_kv"))
	case h.zero("attention.key_length") || h.zero("attention.value_length"):
		return unusable("%s or %s is 0", h.own("attention.key_length"), h.own("attention.value_length"))
	case h.KeyLength != h.ValueLength:
		return unusable("a head's key has %d values and its value %d, want as many", h.KeyLength, h.ValueLength)
	case f.turns && h.KeyLength%2 != 0:
		return unusable("a head's key has %d values, want an even number", h.KeyLength)
	case f.turns && given && turned != uint64(h.KeyLength):
		return unusable("%s is %d, want the length of a head's key, %d", h.own("rope.dimension_count"), turned, h.KeyLength)
	}
	return nil
}

// pick is a layer's number in a list of one for each layer, or of one for all.
func pick(numbers []uint64, layer int) uint64 {
	switch {
	case layer < len(numbers):
		return numbers[layer]
	case len(numbers) == 1:
		return numbers[0]
	}
	return 0
}

// checkNames refuses choices that llama.cpp does not have.
func (h *Header) checkNames() error {
	if name, ok := Get[string](h, keyTokenizer); ok && name == "no_vocab" {
		return unusable("it has no vocabulary")
	}
	key := h.own("rope.scaling.type")
	if name, ok := Get[string](h, key); ok && !slices.Contains([]string{"none", "linear", "yarn", "longrope"}, name) {
		return unusable("%s is %.64q, want none, linear, yarn or longrope", key, name)
	}
	const lastPooling = 4
	key = h.own("pooling_type")
	if n, ok := h.Uint(key); ok && n > lastPooling {
		return unusable("%s is %d, want 0 to %d", key, n, lastPooling)
	}
	return nil
}

// checkSmall checks what is added to a length before a division by it.
func (h *Header) checkSmall() error {
	for _, name := range []string{"attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"} {
		if v, ok := Get[float32](h, h.own(name)); ok && !(v >= 0) { // also not a number
			return unusable("%s is %v, want 0 or more", h.own(name), v)
		}
	}
	return nil
}

// dataTypes hold whole numbers, double precision, or what ggml makes for itself while it computes.
var dataTypes = []string{"I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K"}

// matrices are the last part of the names of tensors that every architecture multiplies with.
var matrices = []string{
	"token_embd.weight", "output.weight", "position_embd.weight", "token_types.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight",
	"attn_qkv.weight", "attn_output.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight",
}

func (h *Header) checkTypes() error {
	for _, t := range h.Tensors {
		last := t.Name[strings.LastIndexByte(strings.TrimSuffix(strings.TrimSuffix(t.Name, ".weight"), ".bias"), '.')+1:]
		vector := strings.HasSuffix(last, "norm.weight") || strings.HasSuffix(last, ".bias")
		switch {
		case vector && t.Type != F32:
			return unusable("tensor %.64q is %s, want F32", t.Name, t.Type)
		case slices.Contains(matrices, last) && slices.Contains(dataTypes, t.Type.String()):
			return unusable("tensor %.64q is %s, which is no type for weights", t.Name, t.Type)
		}
	}
	return nil
}

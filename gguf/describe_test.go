package gguf

import (
	"errors"
	"math"
	"testing"
)

// model returns the header of a file with these keys and two layers.
func model(t *testing.T, keys map[string]any) (*Header, error) {
	t.Helper()
	w := &Writer{}
	w.Set("general.architecture", "bee")
	w.Set("bee.block_count", uint32(2))
	for key, v := range keys {
		w.Set(key, v)
	}
	return read(written(t, w))
}

func TestKVBytes(t *testing.T) {
	plain := map[string]any{"bee.embedding_length": uint32(64), "bee.attention.head_count": uint32(4), "bee.attention.head_count_kv": uint32(2)}
	for name, tc := range map[string]struct {
		keys       map[string]any
		ctx, slots int
		f32        bool
		want       uint64
	}{
		"one token":     {plain, 1, 1, false, 2 * 2 * (16 + 16) * 2},
		"F32":           {plain, 1, 1, true, 2 * 2 * (16 + 16) * 4},
		"slots and ctx": {plain, 100, 3, false, 300 * 256},
		"negative ctx":  {plain, -1, 3, false, 0},
		"no slots":      {plain, 100, 0, false, 0},
		"over 64 bits":  {plain, math.MaxInt, math.MaxInt, true, math.MaxUint64},
		"no dimensions": {nil, 100, 1, false, 0},
		"all heads": {map[string]any{"bee.embedding_length": uint32(64), "bee.attention.head_count": uint32(4)},
			1, 1, false, 2 * 4 * 32 * 2},
		"own lengths": {map[string]any{"bee.attention.head_count": uint32(4), "bee.attention.key_length": uint32(100),
			"bee.attention.value_length": uint32(28)}, 1, 1, false, 2 * 4 * 128 * 2},
		"layers differ": {map[string]any{"bee.embedding_length": uint32(64), "bee.attention.head_count": uint32(4),
			"bee.attention.head_count_kv": []int32{4, 0}}, 1, 1, false, 4 * 32 * 2},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := model(t, tc.keys)
			if err != nil {
				t.Fatal(err)
			}
			if got := h.KVBytes(tc.ctx, tc.slots, tc.f32); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestHeadsThatDifferByLayer(t *testing.T) {
	h, err := model(t, map[string]any{"bee.embedding_length": uint32(64),
		"bee.attention.head_count": []uint32{4, 8}, "bee.attention.head_count_kv": []uint32{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	if h.HeadCount != 8 || h.HeadCountKV != 2 || h.KeyLength != 8 {
		t.Errorf("HeadCount %d, HeadCountKV %d, KeyLength %d", h.HeadCount, h.HeadCountKV, h.KeyLength)
	}
}

func TestImpossibleNumbers(t *testing.T) {
	for name, tc := range map[string]struct {
		key   string
		value any
		want  error
	}{
		"text":           {"bee.context_length", "4096", ErrMalformed},
		"negative":       {"bee.context_length", int32(-1), ErrMalformed},
		"over 31 bits":   {"bee.embedding_length", uint32(1 << 31), ErrBounds},
		"over 63 bits":   {"bee.vocab_size", uint64(math.MaxUint64), ErrBounds},
		"array of text":  {"bee.attention.head_count", []string{"a"}, ErrMalformed},
		"negative layer": {"bee.attention.head_count_kv", []int32{1, -1}, ErrMalformed},
		"large layer":    {"bee.attention.head_count_kv", []uint32{1 << 31}, ErrMalformed},
		"many layers":    {"bee.attention.head_count_kv", make([]int32, MaxKeptArray+1), ErrMalformed},
		"float heads":    {"bee.attention.head_count_kv", float32(2), ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := model(t, map[string]any{tc.key: tc.value}); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	h, err := read(start(2, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if h.Version != 2 || h.FileType != -1 || h.Quantization != "" || h.Architecture != "" || h.VocabSize != 0 || h.AllF32() {
		t.Errorf("%+v", h)
	}
	if h, err = model(t, map[string]any{"bee.vocab_size": uint32(99)}); err != nil || h.VocabSize != 99 {
		t.Errorf("vocab_size without tokens: %v, %v", h, err)
	}
}

func TestQuantization(t *testing.T) {
	for name, tc := range map[string]struct {
		fileType any
		want     string
	}{
		"known":      {uint32(7), "Q8_0"},
		"unknown":    {uint32(999), "Q4_K"},
		"not a type": {"Q8_0", "Q4_K"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Writer{}
			w.Set("general.file_type", tc.fileType)
			w.Add(Tensor{Name: "a", Type: F32, Dims: []uint64{32}}, zeros(128))
			w.Add(Tensor{Name: "b", Type: 12, Dims: []uint64{256, 2}}, zeros(288))
			h, err := read(written(t, w))
			if err != nil {
				t.Fatal(err)
			}
			if h.Quantization != tc.want || h.AllF32() {
				t.Errorf("got %q, AllF32 %v", h.Quantization, h.AllF32())
			}
		})
	}
}

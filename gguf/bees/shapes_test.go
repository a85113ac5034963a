package bees

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rbee-project/rbee/gguf"
)

func TestHeadersOfTestModels(t *testing.T) {
	for name, want := range map[string]struct {
		architecture, quantization string
		context, vocabulary        int
		heads, kv, key             int
		chats                      bool
		pooling                    uint64
	}{
		Qwen:   {"qwen2", "F32", 4096, 512, 12, 2, 32, true, 0},
		Large:  {"llama", "Q8_0", 8192, 32_000, 12, 4, 64, true, 0},
		Embed:  {"bert", "F32", 512, 512, 4, 4, 32, false, 1},
		Rerank: {"bert", "F32", 512, 512, 1, 1, 256, false, 4},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := WriteFile(path, name); err != nil {
			t.Fatal(err)
		}
		h, err := gguf.OpenHeader(path)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != name || h.Architecture != want.architecture || h.Quantization != want.quantization || h.AllF32() != (want.quantization == "F32") {
			t.Errorf("%s: %q, %q, %q", name, h.Name, h.Architecture, h.Quantization)
		}
		if h.ContextLength != want.context || h.VocabSize != want.vocabulary || (h.ChatTemplate != "") != want.chats {
			t.Errorf("%s: context %d, vocabulary %d, template %q", name, h.ContextLength, h.VocabSize, h.ChatTemplate)
		}
		if h.HeadCount != want.heads || h.HeadCountKV != want.kv || h.KeyLength != want.key {
			t.Errorf("%s: %d heads of %d, %d with keys", name, h.HeadCount, h.KeyLength, h.HeadCountKV)
		}
		if got, _ := h.Uint(want.architecture + ".pooling_type"); got != want.pooling {
			t.Errorf("%s: pooling %d, want %d", name, got, want.pooling)
		}
	}
}

// llama.cpp ends its process over a token that is there twice.
func TestInventedTokensDiffer(t *testing.T) {
	tok := learn(lesson, chatTokens)
	tok.invent(largeVocab)
	if len(tok.vocab) != largeVocab || len(tok.ids) != largeVocab || len(tok.kinds) != largeVocab {
		t.Errorf("%d tokens, %d kinds, %d different", len(tok.vocab), len(tok.kinds), len(tok.ids))
	}
}

func TestFillBlocks(t *testing.T) {
	const columns, rows = 64, 500
	var b bytes.Buffer
	first := func(row int) float32 { return []float32{12, 0, -1}[row%3] }
	if err := fillBlocks(rand.NewPCG(1, 0), 1, first)(&b, columns, rows); err != nil {
		t.Fatal(err)
	}
	const rowBytes = columns / blockWeights * blockBytes
	if b.Len() != rows*rowBytes {
		t.Fatalf("%d bytes", b.Len())
	}
	var sum, squares float64
	for row := range rows {
		r := b.Bytes()[row*rowBytes:]
		scale := blockScale(r)
		if got, want := scale*float64(int8(r[2])), float64(first(row)); math.Abs(got-want) > 0.12 {
			t.Errorf("row %d starts with %v, want %v", row, got, want)
		}
		if row%3 == 0 && int8(r[3]) != 0 {
			t.Error("a stretched block has other weights")
		}
		second := r[blockBytes:rowBytes]
		for _, q := range second[2:] {
			v := blockScale(second) * float64(int8(q))
			sum, squares = sum+v, squares+v*v
			if int8(q) == -128 {
				t.Fatal("-128 is no weight of Q8_0")
			}
		}
	}
	n := float64(rows * blockWeights)
	if math.Abs(sum/n) > 0.05 || math.Abs(math.Sqrt(squares/n)-1) > 0.05 {
		t.Errorf("mean %v, deviation %v, want 0 and 1", sum/n, math.Sqrt(squares/n))
	}
}

// blockScale reads a block's 16-bit float, which is normal and positive.
func blockScale(block []byte) float64 {
	bits := int(block[0]) | int(block[1])<<8
	return math.Ldexp(1+float64(bits&0x3ff)/1024, bits>>10-15)
}

func TestWriteLoRA(t *testing.T) {
	for name, want := range map[string]struct {
		architecture string
		tensors      int
		b            []uint64 // dimensions of the last tensor
	}{
		Random: {"llama", 2 * 4, []uint64{4, 32}},
		Qwen:   {"qwen2", 2 * 4, []uint64{4, 64}},
		Large:  {"llama", 12 * 4, []uint64{4, 256}},
	} {
		var b, again, weaker bytes.Buffer
		if err := errors.Join(WriteLoRA(&b, name, 1), WriteLoRA(&again, name, 1), WriteLoRA(&weaker, name, 0.5)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), again.Bytes()) || bytes.Equal(b.Bytes(), weaker.Bytes()) {
			t.Errorf("%s: the bytes do not depend on name and strength alone", name)
		}
		h, err := gguf.ReadHeader(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		kind, _ := gguf.Get[string](h, "general.type")
		adapter, _ := gguf.Get[string](h, "adapter.type")
		alpha, _ := gguf.Get[float32](h, "adapter.lora.alpha")
		if kind != "adapter" || adapter != "lora" || alpha != loraRank || h.Architecture != want.architecture {
			t.Errorf("%s: %q, %q, alpha %v for %q", name, kind, adapter, alpha, h.Architecture)
		}
		last := h.Tensors[len(h.Tensors)-1]
		if len(h.Tensors) != want.tensors || !slices.Equal(last.Dims, want.b) {
			t.Errorf("%s: %d tensors, the last is %v", name, len(h.Tensors), last)
		}
	}
	for _, name := range []string{"bee-none", Embed, Rerank} {
		if err := WriteLoRA(io.Discard, name, 1); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

func read(t testing.TB, model []byte) *Header {
	t.Helper()
	h, err := ReadHeader(t.Context(), one(model), inMemory(model))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// llama.cpp v0.5.0 says these itself ("KV buffer size", "compute buffer size"), run as our worker runs it.
func TestSumsAreLlamaCppsOwn(t *testing.T) {
	large := changed(t, bees.Large, "llama.context_length", uint32(16384))
	for name, tc := range map[string]struct {
		model          []byte
		ctx, slots     int
		cache, compute float64 // MiB
	}{
		"one slot":                {large, 1024, 1, 12, 19.05},
		"four slots":              {large, 4096, 4, 192, 22.18},
		"long":                    {large, 16384, 4, 768, 34.28},
		"F32, no flash attention": {bee(t, bees.Random), 4096, 4, 8, 108.73},
		"fewer heads of keys":     {bee(t, bees.Qwen), 4096, 4, 16, 108.85},
		"sliding window":          {bee(t, bees.Window), 4096, 4, 32, 117.17},
		"recurrent layers":        {bee(t, bees.Hybrid), 4096, 4, 16.02, 108.85},
		"context is rounded up":   {bee(t, bees.Qwen), 100, 3, 0.75, 6.16},
		"encoder":                 {bee(t, bees.Embed), 0, 4, 0, 6.54},
	} {
		t.Run(name, func(t *testing.T) {
			sum, err := Estimate(read(t, tc.model), Options{ContextLength: tc.ctx, Slots: tc.slots, TempDir: t.TempDir()})
			if err != nil || sum.Rough {
				t.Fatalf("%+v, %v", sum, err)
			}
			if got := float64(sum.KVCache) / (1 << 20); math.Abs(got-tc.cache) > 0.02 {
				t.Errorf("cache %.2f MiB, want %.2f", got, tc.cache)
			}
			// To 5%, or 4 MiB where it is little.
			if got := float64(sum.Compute) / (1 << 20); math.Abs(got-tc.compute) > max(4, 0.05*tc.compute) {
				t.Errorf("compute %.2f MiB, want %.2f", got, tc.compute)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	h := read(t, bee(t, bees.Tiny)) // trained on 4096 tokens
	short := read(t, changed(t, bees.Tiny, "llama.context_length", uint32(1000)))
	for name, tc := range map[string]struct {
		h          *Header
		o          Options
		ctx, slots int // 0: an error
	}{
		"none":              {h, Options{}, 4096, messages.DefaultSlots},
		"none, short model": {short, Options{}, 1000, messages.DefaultSlots},
		"lowered":           {short, Options{ContextLength: 5000, Slots: 2}, 1000, 2},
		"below":             {h, Options{ContextLength: -1}, 0, 0},
		"far above":         {h, Options{ContextLength: maxContext + 1}, 0, 0},
		"too many slots":    {h, Options{Slots: 257}, 0, 0},
		"negative slots":    {h, Options{Slots: -1}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sum, err := Estimate(tc.h, tc.o)
			if tc.ctx == 0 {
				if messages.CodeOf(err) != messages.CodeBadRequest {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || sum.ContextLength != tc.ctx || sum.Slots != tc.slots {
				t.Errorf("%+v, %v", sum, err)
			}
		})
	}
}

func TestSumsAddUp(t *testing.T) {
	s := Sum{Weights: 1 << 30, Copied: 1 << 29, KVCache: 3 << 20, Compute: 5, Base: 7, ContextLength: 100, Slots: 2}
	if s.Total() != 1<<30+1<<29+3<<20+12 || s.Least() != 1<<30+3<<20+12 || s.OnGPU() != 1<<30+3<<20+5 {
		t.Errorf("%d, %d, %d", s.Total(), s.Least(), s.OnGPU())
	}
	const want = "weights 1.0 GiB + weights in the CPU's order 512.0 MiB + KV cache 3.0 MiB (2 slots x 100 tokens) + compute 1 KiB + process 1 KiB = 1.5 GiB"
	if got := s.parts(); got != want {
		t.Errorf("%q", got)
	}
	s.KVCache = math.MaxUint64
	if s.Total() != math.MaxUint64 {
		t.Errorf("%d", s.Total())
	}
	text, err := json.Marshal(s)
	if err != nil || !strings.Contains(string(text), `"weights_bytes":1073741824`) {
		t.Errorf("%s, %v", text, err)
	}
}

// fourBit is a model of 16 MB of weights in Q4_0, all of them 0, with an output of its own or the input's.
func fourBit(t testing.TB, tied bool) []byte {
	t.Helper()
	const width, forward, words = 1024, 4096, 2000
	var w gguf.Writer
	w.Set("general.architecture", "llama")
	for key, n := range map[string]uint32{"block_count": 1, "context_length": 4096, "embedding_length": width, "feed_forward_length": forward,
		"attention.head_count": 16, "attention.head_count_kv": 16, "rope.dimension_count": 64, "vocab_size": words} {
		w.Set("llama."+key, n)
	}
	w.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-6))
	vocabulary, kinds := make([]string, words), make([]int32, words)
	for i := range vocabulary {
		vocabulary[i], kinds[i] = fmt.Sprintf("w%d", i), 1
	}
	w.Set("tokenizer.ggml.model", "gpt2")
	w.Set("tokenizer.ggml.pre", "gpt-2")
	w.Set("tokenizer.ggml.tokens", vocabulary)
	w.Set("tokenizer.ggml.token_type", kinds)
	w.Set("tokenizer.ggml.merges", []string{"w x"})
	w.Set("tokenizer.ggml.bos_token_id", uint32(0))
	w.Set("tokenizer.ggml.eos_token_id", uint32(0))
	const q4 = gguf.TensorType(2)
	add := func(name string, kind gguf.TensorType, dims ...uint64) {
		tensor := gguf.Tensor{Name: name + ".weight", Type: kind, Dims: dims}
		n, err := tensor.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		w.Add(tensor, func(out io.Writer) error { _, err := out.Write(make([]byte, n)); return err })
	}
	add("token_embd", q4, width, words)
	add("output_norm", gguf.F32, width)
	if !tied {
		add("output", q4, width, words)
	}
	add("blk.0.attn_norm", gguf.F32, width)
	for _, name := range []string{"q", "k", "v", "output"} {
		add("blk.0.attn_"+name, q4, width, width)
	}
	add("blk.0.ffn_norm", gguf.F32, width)
	add("blk.0.ffn_gate", q4, width, forward)
	add("blk.0.ffn_up", q4, width, forward)
	add("blk.0.ffn_down", q4, forward, width)
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWeightsThatAreThereTwice(t *testing.T) {
	q4 := gguf.TensorType(2)
	plain := gguf.Tensor{Name: "blk.0.ffn_up.weight", Type: q4, Dims: []uint64{64, 64}}
	odd := gguf.Tensor{Name: "blk.0.ffn_up.weight", Type: q4, Dims: []uint64{64, 63}}
	if copied(odd, runtime.GOARCH) || copied(plain, "none") {
		t.Error("copied")
	}
	want := uint64(2000*1024+4*1024*1024+3*1024*4096) / 32 * 18 // once the words, and the layer
	if !copied(plain, runtime.GOARCH) {
		want = 0 // this processor has no order of its own
	}
	for _, tied := range []bool{true, false} {
		h := read(t, fourBit(t, tied))
		sum, err := Estimate(h, Options{TempDir: t.TempDir()})
		if err != nil || sum.Copied != want {
			t.Errorf("tied %t: %d are copied, %v, want %d", tied, sum.Copied, err, want)
		}
		if sum, err = Estimate(h, Options{GPU: true, TempDir: t.TempDir()}); err != nil || sum.Copied != 0 {
			t.Errorf("on a GPU %d, %v", sum.Copied, err)
		}
	}
}

// Where there is no room for a file, there is the formula.
func TestNoTempDir(t *testing.T) {
	model := bee(t, bees.Tiny)
	sum, err := Estimate(read(t, model), Options{TempDir: t.TempDir() + "/none"})
	if err != nil || !sum.Rough || sum.KVCache != 2<<20 {
		t.Errorf("%+v, %v", sum, err)
	}
}

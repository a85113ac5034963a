package bees

import (
	"fmt"
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

var windowShape = shape{architecture: "cohere2", context: contextLength, blocks: 4, embedding: 384, feedForward: 64, headLength: 32, kvHeads: 2}

const windowSeed = 17

// windowModel makes a model with random weights whose layers, but for every fourth, see only the last 32
// tokens: Cohere2's architecture.
func windowModel(name string) *gguf.Writer {
	s := windowShape
	random := rand.NewPCG(windowSeed, 0)
	t := learn(lesson, chatTokens)
	file := &gguf.Writer{}
	setModelKeys(file, name, s, gguf.F32)
	file.Set("cohere2.attention.layer_norm_epsilon", float32(1e-5))
	file.Set("cohere2.logit_scale", float32(1))
	file.Set("cohere2.attention.sliding_window", uint32(32))
	file.Set("cohere2.attention.head_count_kv", uint32(s.kvHeads))
	file.Set("cohere2.rope.dimension_count", uint32(s.headLength))
	file.Set("cohere2.rope.freq_base", float32(10000))
	file.Set("cohere2.vocab_size", uint32(len(t.vocab)))
	setTokenizerKeys(file, t)
	setChatKeys(file)
	add := func(name string, columns, rows int, sc float32) {
		addTensor(file, name, gguf.F32, fill(gguf.F32, noise(random, sc)), columns, rows)
	}
	norm := func(name string) { addTensor(file, name, gguf.F32, fill(gguf.F32, same(1)), s.embedding) }
	add("token_embd.weight", s.embedding, len(t.vocab), 0.3)
	norm("output_norm.weight")
	for i := range s.blocks {
		p := fmt.Sprintf("blk.%d.", i)
		norm(p + "attn_norm.weight")
		add(p+"attn_q.weight", s.embedding, s.embedding, 0.08)
		add(p+"attn_k.weight", s.embedding, s.keys(), 0.08)
		add(p+"attn_v.weight", s.embedding, s.keys(), 0.08)
		add(p+"attn_output.weight", s.embedding, s.embedding, 0.08)
		add(p+"ffn_gate.weight", s.embedding, s.feedForward, 0.08)
		add(p+"ffn_up.weight", s.embedding, s.feedForward, 0.08)
		add(p+"ffn_down.weight", s.feedForward, s.embedding, 0.08)
	}
	return file
}

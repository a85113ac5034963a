package bees

import (
	"fmt"
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

var hybridShape = shape{architecture: "lfm2", context: contextLength, blocks: 4, embedding: 384, feedForward: 64, headLength: 32, kvHeads: 2}

const hybridSeed = 19

// hybridModel makes a model with random weights, every second layer of which keeps a state of all that it has
// read, which cannot go back: LFM2's architecture.
func hybridModel(name string) *gguf.Writer {
	s := hybridShape
	random := rand.NewPCG(hybridSeed, 0)
	t := learn(lesson, chatTokens)
	file := &gguf.Writer{}
	setModelKeys(file, name, s, gguf.F32)
	file.Set("lfm2.attention.layer_norm_rms_epsilon", float32(1e-5))
	file.Set("lfm2.shortconv.l_cache", uint32(3))
	file.Set("lfm2.attention.head_count_kv", []int32{0, 2, 0, 2})
	file.Set("lfm2.rope.freq_base", float32(10000))
	file.Set("lfm2.vocab_size", uint32(len(t.vocab)))
	setTokenizerKeys(file, t)
	setChatKeys(file)
	add := func(name string, columns, rows int, sc float32) {
		addTensor(file, name, gguf.F32, fill(gguf.F32, noise(random, sc)), columns, rows)
	}
	norm := func(name string, n int) { addTensor(file, name, gguf.F32, fill(gguf.F32, same(1)), n) }
	add("token_embd.weight", s.embedding, len(t.vocab), 0.3)
	norm("token_embd_norm.weight", s.embedding)
	for i := range s.blocks {
		p := fmt.Sprintf("blk.%d.", i)
		norm(p+"attn_norm.weight", s.embedding)
		norm(p+"ffn_norm.weight", s.embedding)
		if i%2 == 1 {
			add(p+"attn_q.weight", s.embedding, s.embedding, 0.08)
			add(p+"attn_k.weight", s.embedding, s.keys(), 0.08)
			add(p+"attn_v.weight", s.embedding, s.keys(), 0.08)
			add(p+"attn_output.weight", s.embedding, s.embedding, 0.08)
			norm(p+"attn_q_norm.weight", s.headLength)
			norm(p+"attn_k_norm.weight", s.headLength)
		} else {
			add(p+"shortconv.conv.weight", 3, s.embedding, 0.5)
			add(p+"shortconv.in_proj.weight", s.embedding, 3*s.embedding, 0.08)
			add(p+"shortconv.out_proj.weight", s.embedding, s.embedding, 0.08)
		}
		add(p+"ffn_gate.weight", s.embedding, s.feedForward, 0.08)
		add(p+"ffn_up.weight", s.embedding, s.feedForward, 0.08)
		add(p+"ffn_down.weight", s.feedForward, s.embedding, 0.08)
	}
	return file
}

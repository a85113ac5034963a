package bees

import (
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/rbee-project/rbee/gguf"
)

// noisy is a chat model of random weights in F32, before it has its tensors.
type noisy struct {
	shape
	*gguf.Writer
	random *rand.PCG
	tokens int
}

// newNoisy makes one with the keys that all have, and keys of its architecture.
func newNoisy(name string, s shape, seed uint64, keys map[string]any) noisy {
	t := learn(lesson, chatTokens)
	n := noisy{shape: s, Writer: &gguf.Writer{}, random: rand.NewPCG(seed, 0), tokens: len(t.vocab)}
	setModelKeys(n.Writer, name, s, gguf.F32)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		n.Set(s.architecture+"."+key, keys[key])
	}
	n.Set(s.architecture+".vocab_size", uint32(n.tokens))
	setTokenizerKeys(n.Writer, t)
	setChatKeys(n.Writer)
	return n
}

func (n noisy) matrix(name string, columns, rows int, scale float32) {
	addTensor(n.Writer, name, gguf.F32, fill(gguf.F32, noise(n.random, scale)), columns, rows)
}

func (n noisy) norm(name string, size int) {
	addTensor(n.Writer, name, gguf.F32, fill(gguf.F32, same(1)), size)
}

// feedForwardOf has the three matrices after a layer's attention.
func (n noisy) feedForwardOf(prefix string) {
	n.matrix(prefix+"ffn_gate.weight", n.embedding, n.feedForward, layerScale)
	n.matrix(prefix+"ffn_up.weight", n.embedding, n.feedForward, layerScale)
	n.matrix(prefix+"ffn_down.weight", n.feedForward, n.embedding, layerScale)
}

// attentionOf has the four matrices of a layer's attention.
func (n noisy) attentionOf(prefix string) {
	n.matrix(prefix+"attn_q.weight", n.embedding, n.embedding, layerScale)
	n.matrix(prefix+"attn_k.weight", n.embedding, n.keys(), layerScale)
	n.matrix(prefix+"attn_v.weight", n.embedding, n.keys(), layerScale)
	n.matrix(prefix+"attn_output.weight", n.embedding, n.embedding, layerScale)
}

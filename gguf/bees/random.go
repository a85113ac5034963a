package bees

import (
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

// randomShape is narrower than the vocabulary, for a file of 5 MB.
var randomShape = shape{blocks: 2, embedding: 384, feedForward: 64}

const randomSeed = 7

const (
	// layerScale makes attention sharp and strong: one wrong key changes the answer.
	layerScale = 0.08
	// endScale is how large the end token's logits are against the others': it is seldom the
	// largest, so few answers end before some hundred tokens.
	endScale = 0.9
)

// randomModel makes a model with random weights from seed. It writes printable ASCII.
func randomModel(name string, s shape, seed uint64) *gguf.Writer {
	// One generator for all tensors: they are written once, in order, by one goroutine.
	random := rand.NewPCG(seed, 0)
	normal := func(int, int) float32 { return bell(random, 1) }
	t := learn(lesson)
	printable := t.printable()
	return build(name, t, s, weights{
		format:     gguf.F32,
		embedding:  normal,
		outputNorm: 1,
		output: func(token, _ int) float32 {
			v := bell(random, 1) // always taken, so that one token's rule does not change another's weights
			switch {
			case token == tokenTurnEnd:
				return v * endScale
			case !printable[token]:
				return 0 // the largest of hundreds of random logits is over 0
			}
			return v
		},
		layer: func(int, int) float32 { return bell(random, layerScale) },
	})
}

// printable returns for each token whether it is text of printable ASCII letters.
func (t *tokenizer) printable() []bool {
	out := make([]bool, len(t.vocab))
	for id := range t.vocab {
		b := id - firstByteToken
		out[id] = id >= firstByteToken && (b >= 256 || b >= ' ' && b <= '~')
	}
	return out
}

package bees

import (
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

var (
	// randomShape is narrower than the vocabulary, for a file of 5 MB.
	randomShape = shape{
		architecture: "llama", context: contextLength, blocks: 2, embedding: 384, feedForward: 64, headLength: 32, kvHeads: 1,
	}
	// qwenShape is randomShape as the other family that most downloaded models are of: with biases,
	// several heads of keys, and the positions turned in the other order.
	qwenShape = shape{
		architecture: "qwen2", context: contextLength, blocks: 2, embedding: 384, feedForward: 64, headLength: 32, kvHeads: 2,
	}
)

const (
	randomSeed = 7
	qwenSeed   = 11
)

const (
	// layerScale makes attention sharp and strong: one wrong key changes the answer.
	layerScale = 0.08
	// biasScale is a fifth of the size of what a bias is added to, layerScale x sqrt(384): an engine without them
	// answers differently, yet they do not drown what the tokens say.
	biasScale = 0.3
	// endScale is how large the end token's logits are against the others': it is seldom the
	// largest, so few answers end before some hundred tokens.
	endScale = 0.9
)

// randomModel makes a model with random weights from seed. It writes printable ASCII.
func randomModel(name string, s shape, seed uint64) *gguf.Writer {
	// One generator for all tensors: they are written once, in order, by one goroutine.
	random := rand.NewPCG(seed, 0)
	t := learn(lesson, chatTokens)
	printable := t.printable()
	return build(name, t, s, weights{
		format:     gguf.F32,
		embedding:  fill(gguf.F32, noise(random, 1)),
		outputNorm: 1,
		output: fill(gguf.F32, func(token, _ int) float32 {
			v := bell(random, 1) // always taken, so that one token's rule does not change another's weights
			switch {
			case token == tokenTurnEnd:
				return v * endScale
			case !printable[token]:
				return 0 // the largest of hundreds of random logits is over 0
			}
			return v
		}),
		layer: fill(gguf.F32, noise(random, layerScale)),
		bias:  fill(gguf.F32, noise(random, biasScale)),
	})
}

// noise is a matrix of random weights of that deviation.
func noise(random *rand.PCG, scale float32) matrix {
	return func(int, int) float32 { return bell(random, scale) }
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

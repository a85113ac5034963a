package bees

import (
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

// largeShape is that of the smallest models that people chat with: 125 million weights.
var largeShape = shape{
	architecture: "llama", context: 8192, blocks: 12, embedding: 768, feedForward: 2048, headLength: 64, kvHeads: 4,
}

const (
	largeSeed  = 13
	largeVocab = 32_000
	// largeLayer is small enough that twelve layers add about as much to a token's values as
	// the embedding has.
	largeLayer = 0.02
	// largeLogit makes logits of deviation near 3: largeLogit x sqrt(768).
	largeLogit = 0.11
	// witness is the first of a token's values, many deviations from 0, which the layers
	// cannot turn negative; silence is what the output takes it times for a token never to come up.
	witness, silence = 12, -10
)

// largeModel makes a model for measuring speed. It writes words of printable ASCII for ever.
func largeModel(name string) *gguf.Writer {
	random := rand.NewPCG(largeSeed, 0)
	t := learn(lesson, chatTokens)
	t.invent(largeVocab)
	printable := t.printable()
	return build(name, t, largeShape, weights{
		format:     gguf.Q8_0,
		embedding:  fillBlocks(random, 1, func(int) float32 { return witness }),
		outputNorm: 1,
		output: fillBlocks(random, largeLogit, func(token int) float32 {
			if printable[token] {
				return 0
			}
			return silence
		}),
		layer: fillBlocks(random, largeLayer, nil),
	})
}

// invent adds words that no text is cut into, until the vocabulary has that many tokens.
func (t *tokenizer) invent(tokens int) {
	const consonants, vowels = "bcdfghjklmnprstvwxyz", "aeiou"
	const syllables = len(consonants) * len(vowels)
	space := string(byteRunes()[' '])
	for n := 0; len(t.vocab) < tokens; n++ {
		word := space
		// 389 and 3 syllables share no factor: every n below syllables^3 gives another word.
		for rest, i := n*389%(syllables*syllables*syllables), 0; i < 3; rest, i = rest/syllables, i+1 {
			s := rest % syllables
			word += string(consonants[s/len(vowels)]) + string(vowels[s%len(vowels)])
		}
		if _, ok := t.ids[word]; !ok { // llama.cpp ends its process over a token that is there twice
			t.add(word, kindNormal)
		}
	}
}

package bees

import (
	"math"
	"slices"

	"github.com/rbee-project/rbee/gguf"
)

var (
	sentenceShape = shape{
		architecture: "llama", context: contextLength, blocks: 1, embedding: vocabSize, feedForward: 32, headLength: 32, kvHeads: 1,
	}
	// slowShape is sized by trying: many narrow layers cost more time a byte than few wide ones.
	slowShape = shape{
		architecture: "llama", context: contextLength, blocks: 24, embedding: vocabSize, feedForward: 832, headLength: 32, kvHeads: 1,
	}
)

// lesson is what all bee models learn their words from. The loop's first word, with a space before
// it, is another token than the sentence's.
const lesson = Sentence + again

const again = " The"

// never is the logit of a token that does not follow: even at temperature 1, 511 of them together
// come up less than once in 10^10 tokens. A token that does follow has logit 0.
const never = -30

// sentenceModel makes a model that says [Sentence], once or, if loop, for ever.
//
// It looks at the last token only. Each token has a value of its own in the embedding, attention
// and feed-forward are zero and so add nothing, and the output matrix has a row for each
// next token with a 0 at the tokens that it follows.
func sentenceModel(name string, s shape, loop bool) *gguf.Writer {
	t := learn(lesson, chatTokens)
	follows := followers(t, loop)
	return build(name, t, s, weights{
		format: gguf.F16,
		embedding: fill(gguf.F16, func(token, column int) float32 {
			if token == column {
				return 1
			}
			return 0
		}),
		// The engine makes the mean square of the values 1, so the one that is not 0 is sqrt(512).
		outputNorm: float32(1 / math.Sqrt(vocabSize)),
		output: fill(gguf.F16, func(next, token int) float32 {
			if follows[token] == next {
				return 0
			}
			return never
		}),
		layer: fill(gguf.F16, nil),
	})
}

// followers returns for each token the one that comes after it: the sentence's first if the
// token is not in the sentence.
func followers(t *tokenizer, loop bool) []int {
	sentence := t.encode(Sentence)
	follows := slices.Repeat(sentence[:1], vocabSize)
	for i, token := range sentence[1:] {
		follows[sentence[i]] = token
	}
	first := t.encode(again)[0]
	follows[first] = sentence[1]
	last := sentence[len(sentence)-1]
	follows[last] = tokenTurnEnd
	if loop {
		follows[last] = first
	}
	return follows
}

package llamacpp

import (
	"math"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// leastLogprob stands for a probability of 0, which JSON cannot write as a logarithm. It is OpenAI's.
const leastLogprob = -9999

// logprobs is the token's logarithm of probability, and those of the top likeliest, by the softmax
// of the logits as the model gives them.
func logprobs(logits []float32, v *vocabulary, token llama.Token, top int) completion.Logprob {
	largest := negativeInfinity
	for _, x := range logits {
		if x > largest {
			largest = x
		}
	}
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x - largest))
	}
	norm := float64(largest) + math.Log(sum)
	of := func(t llama.Token) completion.Logprob {
		p := float64(logits[t]) - norm
		if !(p >= leastLogprob) { // also NaN
			p = leastLogprob
		}
		return completion.Logprob{Token: v.shown(t), Logprob: float32(min(p, 0))}
	}
	out := of(token)
	for _, t := range likeliest(logits, top) {
		out.Top = append(out.Top, of(t))
	}
	return out
}

// likeliest are the n tokens with the largest logits, the largest first.
func likeliest(logits []float32, n int) []llama.Token {
	out := make([]llama.Token, 0, n+1)
	for t, x := range logits {
		if n == 0 || len(out) == n && !(x > logits[out[n-1]]) {
			continue
		}
		at := len(out)
		for at > 0 && x > logits[out[at-1]] {
			at--
		}
		out = append(out, 0)
		copy(out[at+1:], out[at:])
		out[at] = llama.Token(t)
		if len(out) > n {
			out = out[:n]
		}
	}
	return out
}

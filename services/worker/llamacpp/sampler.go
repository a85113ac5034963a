package llamacpp

import (
	"math/rand/v2"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// newChain makes the samplers of one answer, in llama-server's order. It must be freed. After the
// last, one token is selected.
func newChain(s *session, p *completion.Sampling, seed uint32) llama.Sampler {
	chain := llama.SamplerChainInit(llama.SamplerChainDefaultParams())
	add := func(smpl llama.Sampler) {
		if smpl != 0 { // llama.cpp asserts on a missing one
			llama.SamplerChainAdd(chain, smpl)
		}
	}
	size := int32(len(s.vocab.pieces))
	if bias := s.biases(p); len(bias) > 0 {
		add(llama.SamplerInitLogitBias(size, int32(len(bias)), &bias[0]))
	}
	if penalises(p) {
		add(llama.SamplerInitPenalties(size, s.window(p.RepeatLastN), p.RepeatPenalty, p.FrequencyPenalty, p.PresencePenalty))
	}
	if p.Dry.Multiplier > 0 {
		add(llama.SamplerInitDry(s.vocab.handle, p.Dry.Multiplier, p.Dry.Base, p.Dry.AllowedLength, s.window(p.Dry.LastN), p.Dry.Breakers))
	}
	switch {
	case p.Temperature == 0:
		add(llama.SamplerInitGreedy())
	case p.Mirostat == 1:
		add(llama.SamplerInitTemp(p.Temperature))
		add(llama.SamplerInitMirostat(size, seed, p.MirostatTau, p.MirostatEta, 100))
	case p.Mirostat == 2:
		add(llama.SamplerInitTemp(p.Temperature))
		add(llama.SamplerInitMirostatV2(seed, p.MirostatTau, p.MirostatEta))
	default:
		addCuts(add, p)
		add(llama.SamplerInitTemp(p.Temperature))
		add(llama.SamplerInitDist(seed))
	}
	return chain
}

// addCuts adds the samplers that leave unlikely tokens out.
func addCuts(add func(llama.Sampler), p *completion.Sampling) {
	if p.TopNSigma > 0 {
		add(llama.SamplerInitTopNSigma(p.TopNSigma))
	}
	add(llama.SamplerInitTopK(p.TopK))
	if p.TypicalP < 1 {
		add(llama.SamplerInitMinP(leastTypical, 1))
		add(llama.SamplerInitTypical(p.TypicalP, 1))
	}
	if p.TopP < 1 {
		add(llama.SamplerInitTopP(p.TopP, 1))
	}
	if p.MinP > 0 {
		add(llama.SamplerInitMinP(p.MinP, 1))
	}
}

// leastTypical is a share of the likeliest's probability: what has less goes before the typical are
// chosen, because llama.cpp's entropy is not a number where a probability is 0 in float32.
const leastTypical = 1e-30

func penalises(p *completion.Sampling) bool {
	return p.RepeatPenalty != 1 || p.FrequencyPenalty != 0 || p.PresencePenalty != 0
}

// window is how many tokens a sampler looks back: -1 is the whole context.
func (s *session) window(lastN int32) int32 {
	if lastN < 0 {
		return int32(s.slotTokens)
	}
	return min(lastN, int32(s.slotTokens))
}

// biases are the request's, and those that keep an answer from ending.
func (s *session) biases(p *completion.Sampling) []llama.LogitBias {
	out := make([]llama.LogitBias, 0, len(p.LogitBias))
	for _, b := range p.LogitBias {
		out = append(out, llama.LogitBias{Token: llama.Token(b.Token), Bias: b.Value})
	}
	if p.IgnoreEOS {
		for t, ends := range s.vocab.ends {
			if ends {
				out = append(out, llama.LogitBias{Token: llama.Token(t), Bias: negativeInfinity})
			}
		}
	}
	return out
}

// remember shows the samplers that look back what the prompt ends with.
func remember(chain llama.Sampler, s *session, p *completion.Sampling, prompt []llama.Token) {
	n := int32(0)
	if penalises(p) {
		n = s.window(p.RepeatLastN)
	}
	if p.Dry.Multiplier > 0 {
		n = max(n, s.window(p.Dry.LastN))
	}
	for _, t := range prompt[max(0, len(prompt)-int(n)):] {
		llama.SamplerAccept(chain, t)
	}
}

// foldSeed makes llama.cpp's 32-bit seed of a request's, or a new one. The choices of one request
// differ. It never gives the one that means "random" there.
func foldSeed(seed *int64, choice int) uint32 {
	s := rand.Uint64()
	if seed != nil {
		s = uint64(*seed)
	}
	if folded := uint32(s^s>>32) + uint32(choice); folded != llama.DefaultSeed {
		return folded
	}
	return 1 << 31 // not 0, which the next choice gets
}

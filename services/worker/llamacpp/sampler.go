package llamacpp

import (
	"math/rand/v2"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// penaltyWindow is how many of the last tokens the penalties look at.
const penaltyWindow = 64

// newSampler makes the chain of one request, in llama-server's order. It must be freed.
func newSampler(p completion.Params, vocabulary int) llama.Sampler {
	chain := llama.SamplerChainInit(llama.SamplerChainDefaultParams())
	if p.FrequencyPenalty != 0 || p.PresencePenalty != 0 {
		llama.SamplerChainAdd(chain, llama.SamplerInitPenalties(int32(vocabulary), penaltyWindow, 1, p.FrequencyPenalty, p.PresencePenalty))
	}
	if p.Temperature == 0 {
		llama.SamplerChainAdd(chain, llama.SamplerInitGreedy())
		return chain
	}
	llama.SamplerChainAdd(chain, llama.SamplerInitTopK(p.TopK))
	llama.SamplerChainAdd(chain, llama.SamplerInitTopP(p.TopP, 1))
	llama.SamplerChainAdd(chain, llama.SamplerInitMinP(p.MinP, 1))
	llama.SamplerChainAdd(chain, llama.SamplerInitTemp(p.Temperature))
	llama.SamplerChainAdd(chain, llama.SamplerInitDist(foldSeed(p.Seed)))
	return chain
}

// foldSeed makes llama.cpp's 32-bit seed. It never gives the one that means "random" there.
func foldSeed(seed *int64) uint32 {
	s := rand.Uint64()
	if seed != nil {
		s = uint64(*seed)
	}
	if folded := uint32(s ^ s>>32); folded != llama.DefaultSeed {
		return folded
	}
	return 0
}

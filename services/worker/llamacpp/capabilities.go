package llamacpp

import (
	"slices"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
)

// encoders are the architectures that read a whole text at once, and generate none. A context for
// generating would be an assert in llama.cpp.
var encoders = []string{"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "eurobert", "gemma-embedding"}

// encodes says whether the model is an encoder.
func encodes(m llama.Model) bool {
	arch, _ := llama.ModelMetaValStr(m, "general.architecture")
	causal, ok := llama.ModelMetaValStr(m, arch+".attention.causal")
	return ok && causal == "false" || slices.Contains(encoders, arch)
}

// describeVectors says what vectors the model can make, before the context for them is made.
func (s *session) describeVectors(cfg Config) {
	s.pooling = pooling(s.model, cfg.Pooling)
	s.vectorSize = int(llama.ModelNEmbdOut(s.model))
	s.vectorTokens = vectorTokens
	if n := int(llama.ModelNCtxTrain(s.model)); n > 0 {
		s.vectorTokens = min(s.vectorTokens, n)
	}
}

// capabilities is what the model can do. What is not in it is refused.
func (s *session) capabilities() []string {
	var can []string
	add := func(what string, when bool) {
		if when {
			can = append(can, what)
		}
	}
	add(messages.CanChat, s.template != nil)
	add(messages.CanComplete, s.ctx != 0)
	add(messages.CanJSONSchema, s.ctx != 0)
	if s.template != nil {
		caps := s.template.Caps()
		add(messages.CanTools, caps.Tools && knownFormat(caps.Format))
		add(messages.CanReason, caps.Reasoning)
	}
	add(messages.CanRerank, s.pooling == llama.PoolingTypeRank)
	add(messages.CanEmbed, s.pooling != llama.PoolingTypeRank)
	add(messages.CanTokenize, true)
	return can
}

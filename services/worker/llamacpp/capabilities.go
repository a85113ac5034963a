package llamacpp

import (
	"slices"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
)

// describeVectors says what vectors the model can make, before the context for them is made. header
// may be nil.
func (s *session) describeVectors(cfg Config, header *gguf.Header) error {
	s.pooling = pooling(s.model, cfg.Pooling)
	ranks := func(t gguf.Tensor) bool { return strings.HasPrefix(t.Name, "cls") }
	if cfg.Pooling == "rank" && header != nil && !slices.ContainsFunc(header.Tensors, ranks) {
		return messages.Errorf(messages.CodeBadRequest, "llamacpp.load", "pooling: %s has nothing to rank with", cfg.PublicName).
			WithHint("use a reranker, or another pooling")
	}
	s.vectorSize = int(llama.ModelNEmbdOut(s.model))
	s.vectorTokens = vectorTokens
	if n := int(llama.ModelNCtxTrain(s.model)); n > 0 {
		s.vectorTokens = min(s.vectorTokens, n)
	}
	return nil
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

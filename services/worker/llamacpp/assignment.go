package llamacpp

import (
	"context"
	"fmt"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/grammar"
	"github.com/rbee-project/rbee/services/worker/toolcall"
)

// assignment is a request as its jobs need it: in the model's own tokens.
type assignment struct {
	params completion.Params
	prompt []llama.Token
	// rules bind the answers; nil: free. With afterThought they begin when the model has thought.
	rules        *grammar.Grammar
	afterThought bool
	// parse says how an answer is split; nil: all of it is content.
	parse *toolcall.Options
	// chains are the samplers of the answers that have no job yet. They are made before the loop gets
	// the job: some take llama.cpp a second.
	chains []llama.Sampler
}

// setChains makes the samplers of every answer.
func (a *assignment) setChains(s *session) {
	for i := range a.params.Choices {
		chain := newChain(s, &a.params.Sampling, foldSeed(a.params.Sampling.Seed, i))
		remember(chain, s, &a.params.Sampling, a.prompt)
		a.chains = append(a.chains, chain)
	}
}

// free lets go of the samplers that no job has.
func (a *assignment) free() {
	for _, chain := range a.chains {
		llama.SamplerFree(chain)
	}
	a.chains = nil
}

// job is the request's next answer. The loop frees its samplers.
func (a *assignment) job(ready chan struct{}) *job {
	j := &job{
		params: &a.params, prompt: a.prompt, chain: a.chains[0], rules: a.rules,
		afterThought: a.afterThought, marks: a.parse != nil, ready: ready,
	}
	a.chains = a.chains[1:]
	return j
}

// setPrompt makes the tokens that the model reads.
func (a *assignment) setPrompt(ctx context.Context, s *session) (err error) {
	v, p := s.vocab, &a.params
	if err := v.checkSize(p, s.slotTokens); err != nil {
		return err
	}
	switch {
	case len(p.Messages) > 0:
		a.prompt, err = a.chatTokens(ctx, s)
	case len(p.PromptTokens) > 0:
		a.prompt, err = v.given("prompt", p.PromptTokens)
	default:
		a.prompt, err = v.tokens(ctx, p.Prompt, true, true)
	}
	if err == nil {
		a.prompt, err = v.checked(a.prompt, s.slotTokens)
	}
	return err
}

// maxPromptBytes keeps every length far away from C's int.
const maxPromptBytes = 64 << 20

// checkSize refuses a prompt that is sure to be too long. Cutting up megabytes only to refuse them
// would keep a slot for seconds.
func (v *vocabulary) checkSize(p *completion.Params, room int) error {
	size := len(p.Prompt)
	for _, m := range p.Messages {
		size += len(m.Content)
	}
	if n := v.atLeast(size); n >= room {
		return contextFull(fmt.Sprintf("at least %d tokens", n), room)
	}
	if size > maxPromptBytes {
		return contextFull(fmt.Sprintf("more than %d bytes", maxPromptBytes), room)
	}
	return nil
}

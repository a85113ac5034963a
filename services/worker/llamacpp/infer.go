package llamacpp

import (
	"context"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// Infer answers one request. See [engine.Engine].
func (e *Engine) Infer(ctx context.Context, req engine.Request, emit func([]byte) error) (engine.Usage, error) {
	if err := ctx.Err(); err != nil {
		return engine.Usage{}, err
	}
	switch req.Task {
	case messages.TaskEmbedding:
		return e.embed(ctx, req, emit)
	case messages.TaskRerank:
		return e.rerank(ctx, req, emit)
	case messages.TaskTokenize:
		return engine.Usage{}, e.tokenize(ctx, req, emit)
	case messages.TaskDetokenize:
		return engine.Usage{}, e.detokenize(req, emit)
	default:
		return e.generate(ctx, req, emit)
	}
}

// generate answers a chat or a completion: one job for each choice.
func (e *Engine) generate(ctx context.Context, req engine.Request, emit func([]byte) error) (engine.Usage, error) {
	params, err := e.cfg.Defaults.Parse(req.Task, req.Body)
	if err != nil {
		return engine.Usage{}, err
	}
	s, err := e.reserve()
	if err != nil {
		return engine.Usage{}, err
	}
	a, err := e.prepare(ctx, s, params)
	e.readers.Done()
	if err != nil {
		e.release(1)
		return engine.Usage{}, err
	}
	d := newDelivery(e, a, req, emit)
	err = d.run(ctx)
	return d.usage(), err
}

// prepare makes of a request what its jobs need. What is wrong with it is said here, before anything
// reaches llama.cpp.
func (e *Engine) prepare(ctx context.Context, s *session, params completion.Params) (*assignment, error) {
	if s.ctx == 0 {
		return nil, cannot("this model makes embeddings and does not generate text")
	}
	if err := s.vocab.checkBias(params.Sampling.LogitBias); err != nil {
		return nil, err
	}
	a := &assignment{params: params}
	if err := a.setPrompt(ctx, s); err != nil {
		return nil, err
	}
	if err := a.setRules(s); err != nil {
		return nil, err
	}
	a.setChains(s)
	return a, nil
}

func cannot(format string, args ...any) *messages.Error {
	return messages.Errorf(messages.CodeBadRequest, "llamacpp.infer", format, args...)
}

package llamacpp

import (
	"context"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/engine"
	"github.com/rbee-project/rbee/services/worker/tasks"
)

// tokenize answers with the tokens of a text. It needs no slot.
func (e *Engine) tokenize(ctx context.Context, req engine.Request, emit func([]byte) error) error {
	body, err := tasks.ParseTokenize(req.Body)
	if err != nil {
		return err
	}
	s, err := e.read()
	if err != nil {
		return err
	}
	defer e.readers.Done()
	cut, err := s.vocab.cut(ctx, body.Content, body.AddSpecial, body.ParseSpecial)
	if err != nil {
		return err
	}
	var tokens []int32
	for _, t := range cut {
		tokens = append(tokens, int32(t))
	}
	return emit(body.Answer(tokens, func(t int32) string { return s.vocab.shown(llama.Token(t)) }))
}

// detokenize answers with the text of tokens. It needs no slot.
func (e *Engine) detokenize(req engine.Request, emit func([]byte) error) error {
	tokens, err := tasks.ParseDetokenize(req.Body)
	if err != nil {
		return err
	}
	s, err := e.read()
	if err != nil {
		return err
	}
	defer e.readers.Done()
	given, err := s.vocab.given("tokens", tokens)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, t := range given {
		b.WriteString(s.vocab.shown(t))
	}
	return emit(tasks.DetokenizeAnswer(strings.ToValidUTF8(b.String(), "\uFFFD")))
}

// embed answers with a vector for each input.
func (e *Engine) embed(ctx context.Context, req engine.Request, emit func([]byte) error) (engine.Usage, error) {
	body, err := tasks.ParseEmbedding(req.Body)
	if err != nil {
		return engine.Usage{}, err
	}
	vectors, n, err := e.vectorsIn(ctx, func(s *session) ([][]llama.Token, error) { return s.embeddingTexts(ctx, body) })
	if err != nil {
		return engine.Usage{}, err
	}
	return engine.Usage{PromptTokens: n}, emit(body.Answer(req.Model, vectors, n))
}

// rerank answers with a score for each document.
func (e *Engine) rerank(ctx context.Context, req engine.Request, emit func([]byte) error) (engine.Usage, error) {
	body, err := tasks.ParseRerank(req.Body)
	if err != nil {
		return engine.Usage{}, err
	}
	vectors, n, err := e.vectorsIn(ctx, func(s *session) ([][]llama.Token, error) { return s.rerankTexts(ctx, body) })
	if err != nil {
		return engine.Usage{}, err
	}
	scores := make([]float32, len(vectors))
	for i, v := range vectors {
		scores[i] = v[0]
	}
	return engine.Usage{PromptTokens: n}, emit(body.Answer(req.Model, scores, n))
}

// vectorsIn takes a slot while the vectors of texts are made, and counts their tokens.
func (e *Engine) vectorsIn(ctx context.Context, texts func(*session) ([][]llama.Token, error)) ([][]float32, int, error) {
	s, err := e.reserve()
	if err != nil {
		return nil, 0, err
	}
	defer e.release(1)
	cut, err := texts(s)
	e.readers.Done()
	if err != nil {
		return nil, 0, err
	}
	return e.vectorsOf(ctx, cut)
}

// vectorsOf has the loop make the vectors, and counts the tokens.
func (e *Engine) vectorsOf(ctx context.Context, texts [][]llama.Token) ([][]float32, int, error) {
	n := 0
	for _, t := range texts {
		n += len(t)
	}
	work := &vectorErrand{cfg: e.cfg, texts: texts, gone: func() bool { return ctx.Err() != nil }, done: make(chan error, 1)}
	if err := e.send(work); err != nil {
		return nil, 0, err
	}
	select {
	case err := <-work.done:
		return work.out, n, err
	case <-ctx.Done(): // the loop sees it, too, and forgets the errand
		return nil, 0, ctx.Err()
	}
}

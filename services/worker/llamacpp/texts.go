package llamacpp

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/tasks"
)

// embeddingTexts are the inputs in the model's tokens, each short enough for one step.
func (s *session) embeddingTexts(ctx context.Context, body tasks.Embedding) ([][]llama.Token, error) {
	if s.pooling == llama.PoolingTypeRank {
		return nil, cannot("this model ranks documents and makes no embeddings")
	}
	if err := body.CheckDimensions(s.vectorSize); err != nil {
		return nil, err
	}
	texts := make([][]llama.Token, len(body.Inputs))
	for i, in := range body.Inputs {
		field := fmt.Sprintf("input[%d]", i)
		if in.Tokens != nil {
			given, err := s.vocab.given(field, in.Tokens)
			if err != nil {
				return nil, err
			}
			texts[i] = given
		} else {
			var err error
			if texts[i], err = s.textTokens(ctx, field, in.Text, true); err != nil {
				return nil, err
			}
		}
		if n := len(texts[i]); n == 0 || n > s.vectorTokens {
			return nil, tooLong(field, fmt.Sprint(n), s.vectorTokens)
		}
	}
	return texts, nil
}

// rerankTexts puts the query before each document, as llama-server does: by the model's template named
// "rerank" if it has one; else begin, query, end, separator, document, end.
func (s *session) rerankTexts(ctx context.Context, body tasks.Rerank) ([][]llama.Token, error) {
	if s.pooling != llama.PoolingTypeRank {
		return nil, cannot("this model does not rank documents").WithHint("use a reranker, such as bge-reranker")
	}
	query, err := s.textTokens(ctx, "query", body.Query, false)
	if err != nil {
		return nil, err
	}
	head, tail := s.rerankFrame(query)
	texts := make([][]llama.Token, len(body.Documents))
	for i, d := range body.Documents {
		field := fmt.Sprintf("documents[%d]", i)
		t, err := s.textTokens(ctx, field, d, false)
		if err != nil {
			return nil, err
		}
		texts[i] = slices.Concat(head, t, tail)
		if n := len(texts[i]); n == 0 || n > s.vectorTokens {
			return nil, tooLong(field, fmt.Sprint("with the query ", n), s.vectorTokens)
		}
	}
	return texts, nil
}

// mostTextBytes of one text are cut into tokens: no model's longest is near.
const mostTextBytes = 256 << 10

// textTokens are a text's tokens, if they can be few enough. With whole it is all of what the model
// gets: special tokens' texts become those tokens.
func (s *session) textTokens(ctx context.Context, field, text string, whole bool) ([]llama.Token, error) {
	if n := s.vocab.atLeast(len(text)); n > s.vectorTokens || len(text) > mostTextBytes {
		return nil, tooLong(field, fmt.Sprintf("at least %d", max(n, s.vectorTokens+1)), s.vectorTokens)
	}
	if whole {
		return s.vocab.tokens(ctx, text, true, true)
	}
	return s.vocab.cut(ctx, text, false, false)
}

// rerankFrame is what comes before a document, the query in it, and what comes after.
func (s *session) rerankFrame(query []llama.Token) (head, tail []llama.Token) {
	v := s.vocab
	if before, after, ok := strings.Cut(v.rerank, "{document}"); ok {
		fill := func(text string, first bool) (out []llama.Token) {
			for i, part := range strings.Split(text, "{query}") {
				if i > 0 {
					out = append(out, query...)
				}
				if part != "" || first && i == 0 {
					out = append(out, v.sound(llama.Tokenize(v.handle, part, first && i == 0, true))...)
				}
			}
			return out
		}
		return fill(before, true), fill(after, false)
	}
	add := func(to []llama.Token, when bool, t llama.Token) []llama.Token {
		if when && t != llama.TokenNull {
			return append(to, t)
		}
		return to
	}
	head = append(add(nil, v.addsBOS, v.bos), query...)
	head = add(head, v.addsEOS, v.end())
	head = add(head, v.addsSep, v.sep)
	return head, add(nil, v.addsEOS, v.end())
}

func tooLong(field, size string, most int) error {
	return messages.Errorf(messages.CodeContextFull, "llamacpp.embed", "%s: has %s tokens, this model takes between 1 and %d", field, size, most)
}

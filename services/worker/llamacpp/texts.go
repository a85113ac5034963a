package llamacpp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/tasks"
)

// embeddingTexts are the inputs in the model's tokens, each short enough for one step.
func (s *session) embeddingTexts(body tasks.Embedding) ([][]llama.Token, error) {
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
			if n := s.vocab.atLeast(len(in.Text)); n > s.vectorTokens {
				return nil, tooLong(field, fmt.Sprintf("at least %d", n), s.vectorTokens)
			}
			texts[i] = s.vocab.tokens(in.Text, true, true)
		}
		if n := len(texts[i]); n == 0 || n > s.vectorTokens {
			return nil, tooLong(field, fmt.Sprint(n), s.vectorTokens)
		}
	}
	return texts, nil
}

// rerankTexts puts the query before each document, as llama-server does: by the model's template named
// "rerank" if it has one; else begin, query, end, separator, document, end.
func (s *session) rerankTexts(body tasks.Rerank) ([][]llama.Token, error) {
	if s.pooling != llama.PoolingTypeRank {
		return nil, cannot("this model does not rank documents").WithHint("use a reranker, such as bge-reranker")
	}
	v := s.vocab
	if n := v.atLeast(len(body.Query)); n > s.vectorTokens {
		return nil, tooLong("query", fmt.Sprintf("at least %d", n), s.vectorTokens)
	}
	head, tail := s.rerankFrame(v.cut(body.Query, false, false))
	texts := make([][]llama.Token, len(body.Documents))
	for i, d := range body.Documents {
		field := fmt.Sprintf("documents[%d]", i)
		if n := v.atLeast(len(d)); n+len(head) > s.vectorTokens {
			return nil, tooLong(field, fmt.Sprintf("with the query at least %d", n+len(head)), s.vectorTokens)
		}
		texts[i] = slices.Concat(head, v.cut(d, false, false), tail)
		if n := len(texts[i]); n == 0 || n > s.vectorTokens {
			return nil, tooLong(field, fmt.Sprint("with the query ", n), s.vectorTokens)
		}
	}
	return texts, nil
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
					out = append(out, v.cut(part, first && i == 0, true)...)
				}
			}
			return out
		}
		return fill(before, true), fill(after, false)
	}
	end := v.eos
	if end == llama.TokenNull {
		end = v.sep
	}
	add := func(to []llama.Token, when bool, t llama.Token) []llama.Token {
		if when && t != llama.TokenNull {
			return append(to, t)
		}
		return to
	}
	head = append(add(nil, v.addsBOS, v.bos), query...)
	head = add(head, v.addsEOS, end)
	head = add(head, v.addsSep, v.sep)
	return head, add(nil, v.addsEOS, end)
}

func tooLong(field, size string, most int) error {
	return messages.Errorf(messages.CodeContextFull, "llamacpp.embed", "%s: has %s tokens, this model takes between 1 and %d", field, size, most)
}

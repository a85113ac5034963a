package llamacpp

import (
	"fmt"
	"slices"

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

// rerankTexts puts the query before each document, as llama-server does: begin, query, end, separator,
// document, end.
func (s *session) rerankTexts(body tasks.Rerank) ([][]llama.Token, error) {
	if s.pooling != llama.PoolingTypeRank {
		return nil, cannot("this model does not rank documents").WithHint("use a reranker, such as bge-reranker")
	}
	v := s.vocab
	if n := v.atLeast(len(body.Query)); n > s.vectorTokens {
		return nil, tooLong("query", fmt.Sprintf("at least %d", n), s.vectorTokens)
	}
	query := llama.Tokenize(v.handle, body.Query, false, true)
	end := v.eos
	if end == llama.TokenNull {
		end = v.sep
	}
	join := func(out []llama.Token, add bool, t llama.Token) []llama.Token {
		if add && t != llama.TokenNull {
			return append(out, t)
		}
		return out
	}
	head := join(nil, v.addsBOS, v.bos)
	head = append(head, query...)
	head = join(head, v.addsEOS, end)
	head = join(head, v.addsSep, v.sep)
	texts := make([][]llama.Token, len(body.Documents))
	for i, d := range body.Documents {
		field := fmt.Sprintf("documents[%d]", i)
		if n := v.atLeast(len(d)); n+len(head) > s.vectorTokens {
			return nil, tooLong(field, fmt.Sprintf("with the query at least %d", n+len(head)), s.vectorTokens)
		}
		t := append(slices.Clone(head), llama.Tokenize(v.handle, d, false, true)...)
		texts[i] = join(t, v.addsEOS, end)
		if n := len(texts[i]); n == 0 || n > s.vectorTokens {
			return nil, tooLong(field, fmt.Sprint("with the query ", n), s.vectorTokens)
		}
	}
	return texts, nil
}

func tooLong(field, size string, most int) error {
	return messages.Errorf(messages.CodeContextFull, "llamacpp.embed", "%s: has %s tokens, this model takes between 1 and %d", field, size, most)
}

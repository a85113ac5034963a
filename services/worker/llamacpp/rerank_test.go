package llamacpp

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

// score is one document's of an answer.
type score struct {
	Index    int
	Score    float64 `json:"relevance_score"`
	Document *struct{ Text string }
}

// ranked is what a rerank is answered with, and its prompt's tokens.
func ranked(t *testing.T, e *Engine, query string, documents any, fields ...any) ([]score, int) {
	t.Helper()
	raw, u := whole(t, e, oneObject(messages.TaskRerank, with(map[string]any{"query": query, "documents": documents}, fields...)))
	var o struct {
		Model   string
		Results []score
		Usage   struct {
			Prompt int `json:"prompt_tokens"`
			Total  int `json:"total_tokens"`
		}
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	if o.Model != "m" || o.Usage.Prompt != u.PromptTokens || o.Usage.Total != u.PromptTokens {
		t.Errorf("%s %+v, %+v", o.Model, o.Usage, u)
	}
	if !slices.IsSortedFunc(o.Results, func(a, b score) int { return int(math.Copysign(1, b.Score-a.Score)) }) {
		t.Errorf("not the best first: %+v", o.Results)
	}
	return o.Results, u.PromptTokens
}

// A document's score is the same alone as among many, and the more words it shares with the query
// the higher it is.
func TestRerank(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Rerank)})
	const query = "The queen sends each job"
	documents := append([]string{"10% {x}", "a worker and its job", "each job that the queen sends", ""}, words(40)...)
	all, n := ranked(t, e, query, documents)
	if len(all) != len(documents) {
		t.Fatalf("%d results", len(all))
	}
	byIndex := map[int]float64{}
	alone := 0
	for _, r := range all {
		if r.Document != nil {
			t.Error("the texts are there, too")
		}
		one, tokens := ranked(t, e, query, documents[r.Index:r.Index+1], "return_documents", true)
		if math.Abs(one[0].Score-r.Score) > 1e-4 || one[0].Document == nil || one[0].Document.Text != documents[r.Index] {
			t.Errorf("document %d: %g, alone %+v", r.Index, r.Score, one[0])
		}
		byIndex[r.Index] = r.Score
		alone += tokens
	}
	if len(byIndex) != len(documents) || alone != n {
		t.Errorf("%d documents, %d tokens, alone %d", len(byIndex), n, alone)
	}
	if !(byIndex[2] > byIndex[1] && byIndex[1] > byIndex[0]) {
		t.Errorf("%g, %g, %g", byIndex[2], byIndex[1], byIndex[0])
	}
	top, _ := ranked(t, e, query, documents, "top_n", 3)
	for i, r := range top {
		if len(top) != 3 || r.Index != all[i].Index || math.Abs(r.Score-all[i].Score) > 1e-4 {
			t.Errorf("the best three: %+v", top)
		}
	}
	objects, _ := ranked(t, e, query, []any{map[string]any{"text": documents[2]}})
	if math.Abs(objects[0].Score-byIndex[2]) > 1e-4 {
		t.Errorf("as an object: %+v", objects)
	}
	isFree(t, e)
}

// The query and a document are put together as llama-server does.
func TestRerankTokens(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Rerank)})
	v := e.session.vocab
	cut := func(s string) []llama.Token { return llama.Tokenize(v.handle, s, false, true) }
	want := slices.Concat([]llama.Token{v.bos}, cut("queen"), []llama.Token{v.eos}, cut("job"), []llama.Token{v.eos})
	_, n := ranked(t, e, "queen", []string{"job"})
	if n != len(want) {
		t.Errorf("%d tokens, want %d", n, len(want))
	}
	one, _ := ranked(t, e, "queen", []string{"job"})
	bare, err := e.session.vectors.step([][]llama.Token{want})
	if err != nil || math.Abs(float64(bare[0][0])-one[0].Score) > 1e-4 {
		t.Errorf("%v, want %+v, %v", bare, one, err)
	}
}

func TestRerankRefused(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Rerank), Slots: 1})
	for name, tc := range map[string]struct {
		query     string
		documents []string
		code      messages.Code
		says      string
	}{
		"no query":             {"", []string{"a"}, messages.CodeBadRequest, "query: is missing"},
		"a long document":      {"q", []string{"a", strings.Repeat("1 ", 600)}, messages.CodeContextFull, "documents[1]: has with the query "},
		"a very long document": {"q", []string{strings.Repeat("queen ", 1<<20)}, messages.CodeContextFull, "documents[0]: has at least "},
		"a very long query":    {strings.Repeat("queen ", 1<<20), []string{"a"}, messages.CodeContextFull, "query: has at least "},
		"a long query":         {strings.Repeat("1 ", 600), []string{"a"}, messages.CodeContextFull, "with the query"},
	} {
		t.Run(name, func(t *testing.T) {
			fails(t, e, oneObject(messages.TaskRerank, map[string]any{"query": tc.query, "documents": tc.documents}), tc.code, tc.says)
			isFree(t, e)
		})
	}
	fails(t, e, oneObject(messages.TaskEmbedding, map[string]any{"input": "a"}), messages.CodeBadRequest, "this model ranks documents and makes no embeddings")
	fails(t, e, chat("hi", nil), messages.CodeBadRequest, "does not generate text")
	isFree(t, e)
	for _, model := range []string{bees.Embed, bees.Tiny} {
		e := loaded(t, Config{ModelPath: bee(t, model)})
		fails(t, e, oneObject(messages.TaskRerank, map[string]any{"query": "q", "documents": []string{"a"}}), messages.CodeBadRequest, "this model does not rank documents")
		isFree(t, e)
	}
}

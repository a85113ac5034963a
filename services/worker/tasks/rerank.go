package tasks

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// Rerank is the body of POST /v1/rerank, as Jina and llama-server have it.
type Rerank struct {
	Query     string
	Documents []string
	// TopN is how many documents the answer has; 0 is all.
	TopN int
	// ReturnDocuments has the answer repeat the documents' texts.
	ReturnDocuments bool
}

// ParseRerank reads the body. Errors are messages.CodeBadRequest and name the field.
func ParseRerank(raw []byte) (Rerank, error) {
	var b struct {
		Query           *string           `json:"query"`
		Documents       []json.RawMessage `json:"documents"`
		TopN            *int              `json:"top_n"`
		ReturnDocuments bool              `json:"return_documents"`
	}
	var r Rerank
	err := decode(raw, &b)
	if err != nil {
		return r, err
	}
	if b.Query == nil || *b.Query == "" {
		return r, bad("query: is missing")
	}
	if r.Query, err = completion.CheckText("query", *b.Query); err != nil {
		return r, err
	}
	if len(b.Documents) == 0 || len(b.Documents) > MaxInputs {
		return r, bad("documents: must be between 1 and %d, are %d", MaxInputs, len(b.Documents))
	}
	for i, d := range b.Documents {
		text, err := parseDocument(fmt.Sprintf("documents[%d]", i), d)
		if err != nil {
			return r, err
		}
		r.Documents = append(r.Documents, text)
	}
	if b.TopN != nil {
		if *b.TopN < 1 {
			return r, bad("top_n: must be at least 1, is %d", *b.TopN)
		}
		r.TopN = *b.TopN
	}
	r.ReturnDocuments = b.ReturnDocuments
	return r, nil
}

// parseDocument takes a text, or an object that has one.
func parseDocument(field string, raw json.RawMessage) (string, error) {
	var text string
	if string(raw) == "null" || json.Unmarshal(raw, &text) != nil {
		var o struct {
			Text *string `json:"text"`
		}
		if json.Unmarshal(raw, &o) != nil || o.Text == nil {
			return "", bad("%s: must be a string or an object with a text", field)
		}
		text = *o.Text
	}
	return completion.CheckText(field, text)
}

// Answer is the object that answers with a score for each document, the best first.
func (r Rerank) Answer(model string, scores []float32, promptTokens int) []byte {
	type document struct {
		Text string `json:"text"`
	}
	type result struct {
		Index    int       `json:"index"`
		Score    float32   `json:"relevance_score"`
		Document *document `json:"document,omitempty"`
	}
	results := make([]result, len(scores))
	for i, s := range scores {
		if f := float64(s); math.IsNaN(f) || math.IsInf(f, 0) {
			s = -math.MaxFloat32
		}
		results[i] = result{Index: i, Score: s}
		if r.ReturnDocuments {
			results[i].Document = &document{r.Documents[i]}
		}
	}
	slices.SortStableFunc(results, func(a, b result) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		default:
			return 0
		}
	})
	if r.TopN > 0 && r.TopN < len(results) {
		results = results[:r.TopN]
	}
	return encode(struct {
		Object  string   `json:"object"`
		Model   string   `json:"model"`
		Results []result `json:"results"`
		Usage   usage    `json:"usage"`
	}{"list", model, results, usage{promptTokens, promptTokens}})
}

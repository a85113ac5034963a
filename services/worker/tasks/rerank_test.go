package tasks

import (
	"math"
	"slices"
	"testing"
)

func TestParseRerank(t *testing.T) {
	for name, tc := range map[string]struct {
		body  string
		want  Rerank
		wrong string
	}{
		"texts":              {body: `{"query":"q","documents":["b","a"]}`, want: Rerank{Query: "q", Documents: []string{"b", "a"}}},
		"objects":            {body: `{"query":"q","documents":[{"text":"b","id":1},"a"]}`, want: Rerank{Query: "q", Documents: []string{"b", "a"}}},
		"empty document":     {body: `{"query":"q","documents":[""]}`, want: Rerank{Query: "q", Documents: []string{""}}},
		"more than there is": {body: `{"query":"q","documents":["a"],"top_n":9}`, want: Rerank{Query: "q", Documents: []string{"a"}, TopN: 9}},
		"with texts":         {body: `{"query":"q","documents":["a"],"return_documents":true,"top_n":null}`, want: Rerank{Query: "q", Documents: []string{"a"}, ReturnDocuments: true}},

		"no JSON":             {body: `]`, wrong: "body: is not JSON"},
		"no query":            {body: `{"documents":["a"]}`, wrong: "query: is missing"},
		"empty query":         {body: `{"query":"","documents":["a"]}`, wrong: "query: is missing"},
		"query a list":        {body: `{"query":["q"],"documents":["a"]}`, wrong: "query: must not be a JSON array"},
		"NUL in the query":    {body: `{"query":"\u0000","documents":["a"]}`, wrong: "query: must not contain a NUL"},
		"no documents":        {body: `{"query":"q"}`, wrong: "documents: must be between 1 and 2048, are 0"},
		"a document":          {body: `{"query":"q","documents":"a"}`, wrong: "documents: must not be a JSON string"},
		"too many":            {body: `{"query":"q","documents":` + many(`"a"`, MaxInputs+1) + `}`, wrong: "documents: must be between 1 and 2048, are 2049"},
		"document a number":   {body: `{"query":"q","documents":["a",1]}`, wrong: "documents[1]: must be a string"},
		"document null":       {body: `{"query":"q","documents":[null]}`, wrong: "documents[0]: must be a string"},
		"without a text":      {body: `{"query":"q","documents":[{"title":"a"}]}`, wrong: "documents[0]: must be a string"},
		"text a number":       {body: `{"query":"q","documents":[{"text":1}]}`, wrong: "documents[0]: must be a string"},
		"NUL in a document":   {body: `{"query":"q","documents":["a","\u0000"]}`, wrong: "documents[1]: must not contain a NUL"},
		"none of them":        {body: `{"query":"q","documents":["a"],"top_n":0}`, wrong: "top_n: must be at least 1"},
		"top_n a text":        {body: `{"query":"q","documents":["a"],"top_n":"1"}`, wrong: "top_n: must not be a JSON string"},
		"with texts, perhaps": {body: `{"query":"q","documents":["a"],"return_documents":1}`, wrong: "return_documents: must not be a JSON number"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseRerank([]byte(tc.body))
			if tc.wrong != "" {
				refused(t, err, tc.wrong)
				return
			}
			if err != nil || got.Query != tc.want.Query || got.TopN != tc.want.TopN || got.ReturnDocuments != tc.want.ReturnDocuments ||
				!slices.Equal(got.Documents, tc.want.Documents) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestRerankAnswer(t *testing.T) {
	documents := []string{"a", "b", "c"}
	for name, tc := range map[string]struct {
		r      Rerank
		scores []float32
		want   string
	}{
		"best first":           {Rerank{Documents: documents}, []float32{-1, 3, 2}, `{"index":1,"relevance_score":3},{"index":2,"relevance_score":2},{"index":0,"relevance_score":-1}`},
		"equals stay in order": {Rerank{Documents: documents}, []float32{1, 2, 1}, `{"index":1,"relevance_score":2},{"index":0,"relevance_score":1},{"index":2,"relevance_score":1}`},
		"two":                  {Rerank{Documents: documents, TopN: 2}, []float32{-1, 3, 2}, `{"index":1,"relevance_score":3},{"index":2,"relevance_score":2}`},
		"nine":                 {Rerank{Documents: documents, TopN: 9}, []float32{1, 2, 3}, `{"index":2,"relevance_score":3},{"index":1,"relevance_score":2},{"index":0,"relevance_score":1}`},
		"texts":                {Rerank{Documents: documents, TopN: 1, ReturnDocuments: true}, []float32{-1, 3, 2}, `{"index":1,"relevance_score":3,"document":{"text":"b"}}`},
		"no numbers": {Rerank{Documents: documents}, []float32{float32(math.NaN()), 1, float32(math.Inf(1))},
			`{"index":1,"relevance_score":1},{"index":0,"relevance_score":-3.4028235e+38},{"index":2,"relevance_score":-3.4028235e+38}`},
	} {
		t.Run(name, func(t *testing.T) {
			want := `{"object":"list","model":"m","results":[` + tc.want + `],"usage":{"prompt_tokens":7,"total_tokens":7}}`
			if got := string(tc.r.Answer("m", tc.scores, 7)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

package tasks

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

func TestParseTokenize(t *testing.T) {
	for name, tc := range map[string]struct {
		body  string
		want  Tokenize
		wrong string
	}{
		"defaults":   {body: `{"content":"hi","model":"m"}`, want: Tokenize{Content: "hi", ParseSpecial: true}},
		"all":        {body: `{"content":"hi","add_special":true,"parse_special":false,"with_pieces":true}`, want: Tokenize{Content: "hi", AddSpecial: true, WithPieces: true}},
		"empty":      {body: `{"content":""}`, want: Tokenize{ParseSpecial: true}},
		"no JSON":    {body: `x`, wrong: "body: is not JSON"},
		"long":       {body: `{"content":"` + strings.Repeat("a", MaxText) + `"}`, want: Tokenize{Content: strings.Repeat("a", MaxText), ParseSpecial: true}},
		"too long":   {body: `{"content":"` + strings.Repeat("a", MaxText+1) + `"}`, wrong: "content: at most 4194304 bytes, has 4194305"},
		"no content": {body: `{}`, wrong: "content: is missing"},
		"null":       {body: `{"content":null}`, wrong: "content: is missing"},
		"a number":   {body: `{"content":1}`, wrong: "content: must not be a JSON number"},
		"NUL":        {body: `{"content":"\u0000"}`, wrong: "content: must not contain a NUL"},
		"perhaps":    {body: `{"content":"a","add_special":"yes"}`, wrong: "add_special: must not be a JSON string"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseTokenize([]byte(tc.body))
			if tc.wrong != "" {
				refused(t, err, tc.wrong)
			} else if err != nil || got != tc.want {
				t.Errorf("%.300s, %v", fmt.Sprintf("%+v", got), err)
			}
		})
	}
}

func TestTokenizeAnswer(t *testing.T) {
	pieces := map[int32]string{1: "a", 2: "\xe2\x82", 3: ""}
	for name, tc := range map[string]struct {
		t      Tokenize
		tokens []int32
		want   string
	}{
		"tokens":           {Tokenize{}, []int32{2, 1}, `{"tokens":[2,1]}`},
		"none":             {Tokenize{}, nil, `{"tokens":[]}`},
		"none with pieces": {Tokenize{WithPieces: true}, nil, `{"tokens":[]}`},
		"pieces":           {Tokenize{WithPieces: true}, []int32{2, 1, 3}, `{"tokens":[{"id":2,"piece":[226,130]},{"id":1,"piece":"a"},{"id":3,"piece":""}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(tc.t.Answer(tc.tokens, func(t int32) string { return pieces[t] })); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestDetokenize(t *testing.T) {
	for name, tc := range map[string]struct {
		body  string
		want  []int32
		wrong string
	}{
		"tokens":      {body: `{"tokens":[5,-1]}`, want: []int32{5, -1}},
		"none":        {body: `{"tokens":[]}`, want: []int32{}},
		"missing":     {body: `{}`, wrong: "tokens: is missing"},
		"null":        {body: `{"tokens":null}`, wrong: "tokens: is missing"},
		"a text":      {body: `{"tokens":"5"}`, wrong: "tokens: must be a list"},
		"texts":       {body: `{"tokens":["5"]}`, wrong: "tokens: must be a list"},
		"no token":    {body: `{"tokens":[1,null]}`, wrong: "tokens: must be a list"},
		"too large":   {body: `{"tokens":[2147483648]}`, wrong: "tokens: must be a list"},
		"too many":    {body: `{"tokens":` + many("1", MaxTokens+1) + `}`, wrong: "tokens: at most 1048576"},
		"not JSON":    {body: ``, wrong: "body: is not JSON"},
		"no fraction": {body: `{"tokens":[1.5]}`, wrong: "tokens: must be a list"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseDetokenize([]byte(tc.body))
			if tc.wrong != "" {
				refused(t, err, tc.wrong)
			} else if err != nil || got == nil || !slices.Equal(got, tc.want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	if got := string(DetokenizeAnswer("a\"\u00e9")); got != `{"content":"a\"é"}` {
		t.Error(got)
	}
}

// Whatever a body is, it is read or refused as the client's fault, and its answer is JSON.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{`{"input":"a"}`, `{"input":[[1,2],[3]],"dimensions":1,"encoding_format":"base64"}`, `{"input":[1,null]}`,
		`{"query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true}`, `{"content":"a","with_pieces":true}`, `{"tokens":[1,2]}`, `null`, `[]`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		clients := func(err error) bool {
			if err != nil && messages.CodeOf(err) != messages.CodeBadRequest {
				t.Errorf("%q: %v", raw, err)
			}
			return err == nil
		}
		isJSON := func(b []byte) {
			if !json.Valid(b) {
				t.Errorf("%q is answered by %q", raw, b)
			}
		}
		if e, err := ParseEmbedding(raw); clients(err) && e.CheckDimensions(3) == nil {
			if len(e.Inputs) == 0 || len(e.Inputs) > MaxInputs {
				t.Errorf("%d inputs", len(e.Inputs))
			}
			isJSON(e.Answer("m", make([][]float32, 0), 1))
			isJSON(e.Answer("m", [][]float32{{1, 2, 3}}, 1))
		}
		if r, err := ParseRerank(raw); clients(err) {
			isJSON(r.Answer("m", make([]float32, len(r.Documents)), 1))
		}
		if k, err := ParseTokenize(raw); clients(err) {
			isJSON(k.Answer([]int32{1}, func(int32) string { return k.Content }))
		}
		_, err := ParseDetokenize(raw)
		clients(err)
	})
}

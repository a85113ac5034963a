package tasks

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

// many is a JSON list of n times item.
func many(item string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
}

// refused fails unless err is the client's fault and its message has says.
func refused(t *testing.T, err error, says string) {
	t.Helper()
	if messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, want bad_request with %q", err, says)
	}
}

func TestParseEmbedding(t *testing.T) {
	for name, tc := range map[string]struct {
		body  string
		want  Embedding
		wrong string
	}{
		"a text":              {body: `{"input":"hi"}`, want: Embedding{Inputs: []Input{{Text: "hi"}}}},
		"texts":               {body: `{"input":["b","a"]}`, want: Embedding{Inputs: []Input{{Text: "b"}, {Text: "a"}}}},
		"tokens":              {body: `{"input":[3,0]}`, want: Embedding{Inputs: []Input{{Tokens: []int32{3, 0}}}}},
		"lists of tokens":     {body: `{"input":[[3],[1,2]]}`, want: Embedding{Inputs: []Input{{Tokens: []int32{3}}, {Tokens: []int32{1, 2}}}}},
		"what we do not know": {body: `{"input":"hi","user":"x","model":7}`, want: Embedding{Inputs: []Input{{Text: "hi"}}}},
		"base64":              {body: `{"input":"hi","encoding_format":"base64"}`, want: Embedding{Inputs: []Input{{Text: "hi"}}, Base64: true}},
		"float":               {body: `{"input":"hi","encoding_format":"float","dimensions":2}`, want: Embedding{Inputs: []Input{{Text: "hi"}}, Dimensions: 2}},
		"not UTF-8":           {body: "{\"input\":\"a\xffb\"}", want: Embedding{Inputs: []Input{{Text: "a\uFFFDb"}}}},

		"no JSON":             {body: `{`, wrong: "body: is not JSON"},
		"a list":              {body: `[]`, wrong: "body: must not be a JSON array"},
		"nothing":             {body: `{}`, wrong: "input: is missing"},
		"null":                {body: `{"input":null}`, wrong: "input: is missing"},
		"an object":           {body: `{"input":{}}`, wrong: "input: must be a string"},
		"mixed":               {body: `{"input":["a",1]}`, wrong: "input: must be a string"},
		"deep":                {body: `{"input":[[[1]]]}`, wrong: "input: must be a string"},
		"fraction":            {body: `{"input":[1.5]}`, wrong: "input: must be a string"},
		"token over 32 bits":  {body: `{"input":[2147483648]}`, wrong: "input: must be a string"},
		"empty text":          {body: `{"input":""}`, wrong: "input[0]: must not be empty"},
		"one empty":           {body: `{"input":["a",""]}`, wrong: "input[1]: must not be empty"},
		"no texts":            {body: `{"input":[]}`, wrong: "input: must be between 1 and 2048, are 0"},
		"no tokens":           {body: `{"input":[[1],[]]}`, wrong: "input[1]: must not be empty"},
		"a text that is not":  {body: `{"input":["a",null]}`, wrong: "input[1]: must not be empty"},
		"a token that is not": {body: `{"input":[1,null]}`, wrong: "input: must not hold null"},
		"a token in a list":   {body: `{"input":[[1,null]]}`, wrong: "input: must not hold null"},
		"too many":            {body: `{"input":` + many(`"a"`, MaxInputs+1) + `}`, wrong: "input: must be between 1 and 2048, are 2049"},
		"too many lists":      {body: `{"input":` + many(`[1]`, MaxInputs+1) + `}`, wrong: "input: must be between 1 and 2048, are 2049"},
		"too many tokens":     {body: `{"input":` + many(`1`, MaxTokens+1) + `}`, wrong: "input[0]: at most 1048576 tokens"},
		"NUL":                 {body: `{"input":["a","\u0000"]}`, wrong: "input[1]: must not contain a NUL"},
		"another format":      {body: `{"input":"a","encoding_format":"int8"}`, wrong: "encoding_format: "},
		"format a number":     {body: `{"input":"a","encoding_format":1}`, wrong: "encoding_format: must not be a JSON number"},
		"no dimensions":       {body: `{"input":"a","dimensions":0}`, wrong: "dimensions: must be at least 1"},
		"dimensions a text":   {body: `{"input":"a","dimensions":"8"}`, wrong: "dimensions: must not be a JSON string"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseEmbedding([]byte(tc.body))
			if tc.wrong != "" {
				refused(t, err, tc.wrong)
				return
			}
			if err != nil || got.Base64 != tc.want.Base64 || got.Dimensions != tc.want.Dimensions ||
				!slices.EqualFunc(got.Inputs, tc.want.Inputs, func(a, b Input) bool { return a.Text == b.Text && slices.Equal(a.Tokens, b.Tokens) }) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if e, err := ParseEmbedding([]byte(`{"input":` + many(`"a"`, MaxInputs) + `}`)); err != nil || len(e.Inputs) != MaxInputs {
		t.Errorf("%d inputs, %v", len(e.Inputs), err)
	}
}

func TestCheckDimensions(t *testing.T) {
	for size, ok := range map[int]bool{3: false, 4: true, 5: true} {
		if err := (Embedding{Dimensions: 4}).CheckDimensions(size); (err == nil) != ok {
			t.Errorf("4 of %d: %v", size, err)
		}
	}
	if err := (Embedding{}).CheckDimensions(1); err != nil {
		t.Error(err)
	}
}

func TestEmbeddingAnswer(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, tc := range map[string]struct {
		e       Embedding
		vectors [][]float32
		want    string
	}{
		"length 1":         {Embedding{}, [][]float32{{3, 4}, {0, -2}}, `[{"object":"embedding","index":0,"embedding":[0.6,0.8]},{"object":"embedding","index":1,"embedding":[0,-1]}]`},
		"cut, then length": {Embedding{Dimensions: 2}, [][]float32{{3, 4, 100}}, `[{"object":"embedding","index":0,"embedding":[0.6,0.8]}]`},
		"zeros":            {Embedding{}, [][]float32{{0, 0}}, `[{"object":"embedding","index":0,"embedding":[0,0]}]`},
		"no numbers":       {Embedding{}, [][]float32{{nan, 1}, {inf, 1}}, `[{"object":"embedding","index":0,"embedding":[0,0]},{"object":"embedding","index":1,"embedding":[0,0]}]`},
		"large":            {Embedding{}, [][]float32{{math.MaxFloat32, 0}}, `[{"object":"embedding","index":0,"embedding":[1,0]}]`},
		"base64":           {Embedding{Base64: true}, [][]float32{{0, 2}}, `[{"object":"embedding","index":0,"embedding":"AAAAAAAAgD8="}]`},
	} {
		t.Run(name, func(t *testing.T) {
			want := `{"object":"list","data":` + tc.want + `,"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}`
			if got := string(tc.e.Answer("m", tc.vectors, 7)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	v := []float32{3, 4}
	if _ = (Embedding{}).Answer("m", [][]float32{v}, 0); v[0] != 3 {
		t.Error("the vector itself was changed")
	}
}

// What is in base64 is to the bit what is in the list.
func TestBase64IsTheFloats(t *testing.T) {
	vectors := [][]float32{{0.1, -7, 1e-30, 3}}
	var o struct {
		Data []struct{ Embedding []float32 }
	}
	var p struct {
		Data []struct{ Embedding string }
	}
	if err := json.Unmarshal(Embedding{}.Answer("m", vectors, 1), &o); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(Embedding{Base64: true}.Answer("m", vectors, 1), &p); err != nil {
		t.Fatal(err)
	}
	b, err := base64.StdEncoding.DecodeString(p.Data[0].Embedding)
	if err != nil || len(b) != 16 {
		t.Fatal(b, err)
	}
	for i, want := range o.Data[0].Embedding {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])); got != want {
			t.Errorf("value %d: %g, want %g", i, got, want)
		}
	}
}

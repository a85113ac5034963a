package completion

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
)

const hello = `"messages":[{"role":"user","content":"hello"}]`

func TestParseDefaults(t *testing.T) {
	p, err := Parse(TaskChat, []byte(`{`+hello+`,"model":"x","user":"y","temperature":null,"stop":null}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Temperature != DefaultTemperature || p.TopP != float32(DefaultTopP) || p.TopK != DefaultTopK ||
		p.MaxTokens != Unlimited || p.Seed != nil || p.Stops != nil || p.IncludeUsage {
		t.Errorf("defaults: %+v", p)
	}
}

func TestParseValues(t *testing.T) {
	p, err := Parse(TaskChat, []byte(`{"messages":[{"role":"developer","content":"be"},
		{"role":"user","content":[{"type":"text","text":"hel"},{"type":"text","text":"lo"}]},
		{"role":"assistant","content":null}],"max_tokens":5,"max_completion_tokens":7,"stop":["a","b"],
		"seed":-3,"top_k":-1,"temperature":0,"stream":true,"stream_options":{"include_usage":true},
		"tools":[],"logprobs":false,"logit_bias":{},"response_format":{"type":"text"},"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	want := "[{system be} {user hello} {assistant }] 7 [a b] -3 0 0 true"
	if got := fmt.Sprint(p.Messages, p.MaxTokens, p.Stops, *p.Seed, p.TopK, p.Temperature, p.IncludeUsage); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, prompt := range []string{`"go on"`, `["go on"]`} {
		c, err := Parse(TaskCompletion, []byte(`{"prompt":`+prompt+`}`))
		if err != nil || c.Prompt != "go on" {
			t.Errorf("prompt %s: %q, %v", prompt, c.Prompt, err)
		}
	}
}

// wrong has bodies' fields by the name that must be complained about.
var wrong = map[string][]string{
	"temperature":           {`"temperature":-0.1`, `"temperature":2.01`, `"temperature":"hot"`, `"temperature":1e999`},
	"top_p":                 {`"top_p":1.1`, `"top_p":-1`},
	"top_k":                 {`"top_k":-2`, `"top_k":99999999999`, `"top_k":1.5`},
	"min_p":                 {`"min_p":2`},
	"frequency_penalty":     {`"frequency_penalty":3`},
	"max_tokens":            {`"max_tokens":-1`, `"max_tokens":1.5`, `"max_tokens":[]`},
	"max_completion_tokens": {`"max_completion_tokens":-2`},
	"n":                     {`"n":0`, `"n":2`},
	"seed":                  {`"seed":"x"`, `"seed":1e30`},
	"stop":                  {`"stop":3`, `"stop":""`, `"stop":["a",""]`, `"stop":[1]`, `"stop":["` + strings.Repeat(`x","`, MaxStops) + `"]`},
	"stream":                {`"stream":"yes"`},
	"tools":                 {`"tools":[{"type":"function"}]`},
	"response_format":       {`"response_format":{"type":"json_object"}`},
	"logprobs":              {`"logprobs":true`},
	"messages":              {`"messages":[]`, `"messages":null`, `"messages":"hi"`},
	"messages[0].role":      {`"messages":[{"role":"bee","content":"x"}]`, `"messages":[{"content":"x"}]`},
	"messages[0].content": {`"messages":[{"role":"user"}]`, `"messages":[{"role":"user","content":5}]`,
		`"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]`, `"messages":[{"role":"user","content":"a\u0000"}]`},
}

func TestParseNamesTheField(t *testing.T) {
	for field, fields := range wrong {
		for _, f := range fields {
			raw := `{` + f + `}`
			if !strings.HasPrefix(field, "messages") {
				raw = `{` + hello + `,` + f + `}`
			}
			_, err := Parse(TaskChat, []byte(raw))
			got := messages.AsError(err, "")
			if got == nil || got.Code != messages.CodeBadRequest || !strings.HasPrefix(got.Message, field+":") {
				t.Errorf("%s: %v, want %s that begins with %s:", f, err, messages.CodeBadRequest, field)
			}
		}
	}
	for _, raw := range []string{`{}`, `{"prompt":5}`, `{"prompt":["a","b"]}`, `{"prompt":[]}`, `{"prompt":[1,2]}`, `{"prompt":"x","echo":true}`, `{"prompt":"x","best_of":3}`} {
		if _, err := Parse(TaskCompletion, []byte(raw)); messages.CodeOf(err) != messages.CodeBadRequest {
			t.Errorf("completion %s: %v", raw, err)
		}
	}
	if _, err := Parse("embedding", []byte(`{"input":"x"}`)); messages.CodeOf(err) != messages.CodeBadRequest {
		t.Errorf("an unknown task: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(TaskChat, []byte(`{`+hello+`,"stop":["a"],"temperature":1,"seed":1,"top_k":-1}`))
	f.Add(TaskCompletion, []byte(`{"prompt":["x"],"max_tokens":3}`))
	f.Add(TaskChat, []byte(`{"messages":[{"role":"user","content":[{"type":"text","text":"\ud800"}]}]}`))
	f.Fuzz(func(t *testing.T, task string, raw []byte) {
		p, err := Parse(task, raw)
		if err != nil {
			if messages.CodeOf(err) != messages.CodeBadRequest {
				t.Fatalf("%v has the code %s", err, messages.CodeOf(err))
			}
			return
		}
		if p.Temperature < 0 || p.Temperature > 2 || p.TopP < 0 || p.TopP > 1 || p.TopK < 0 || p.MaxTokens < Unlimited || len(p.Stops) > MaxStops {
			t.Fatalf("out of range: %+v", p)
		}
		text := p.Prompt
		for _, m := range p.Messages {
			text += m.Role + m.Content
		}
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			t.Fatalf("text that C cannot take: %q", text)
		}
	})
}

func TestWriter(t *testing.T) {
	at := time.Unix(1700000000, 0)
	c, p := NewWriter(TaskChat, "id", "m", at), NewWriter(TaskCompletion, "id", "m", at)
	head := func(object string) string {
		return `{"id":"id","object":"` + object + `","created":1700000000,"model":"m","choices":[`
	}
	const u = `"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`
	for name, tc := range map[string]struct {
		got  []byte
		want string
	}{
		"begin":        {c.Begin(), head("chat.completion.chunk") + `{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`},
		"text":         {c.Text("a\"b"), head("chat.completion.chunk") + `{"index":0,"delta":{"content":"a\"b"},"finish_reason":null}]}`},
		"finish":       {c.Finish("stop"), head("chat.completion.chunk") + `{"index":0,"delta":{},"finish_reason":"stop"}]}`},
		"usage":        {c.Usage(3, 2), head("chat.completion.chunk") + `],` + u},
		"whole":        {c.Whole("", "stop", 3, 2), head("chat.completion") + `{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"stop"}],` + u},
		"text, plain":  {p.Text("x"), head("text_completion") + `{"index":0,"text":"x","finish_reason":null}]}`},
		"whole, plain": {p.Whole("x", "length", 3, 2), head("text_completion") + `{"index":0,"text":"x","finish_reason":"length"}],` + u},
	} {
		if string(tc.got) != tc.want || !json.Valid(tc.got) {
			t.Errorf("%s:\n%s, want\n%s", name, tc.got, tc.want)
		}
	}
	if b := p.Begin(); b != nil {
		t.Errorf("a completion begins with %s", b)
	}
}

package completion

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

const hello = `"messages":[{"role":"user","content":"hello"}]`

// chat is a chat's body with these fields.
func chat(fields string) string {
	if fields == "" {
		return `{` + hello + `}`
	}
	return `{` + hello + `,` + fields + `}`
}

// text is a completion's body with these fields.
func text(fields string) string { return `{"prompt":"go on",` + fields + `}` }

func mustParse(t *testing.T, task, raw string) Params {
	t.Helper()
	p, err := Parse(task, []byte(raw))
	if err != nil {
		t.Fatalf("%.300s: %v", raw, err)
	}
	return p
}

// mustRefuse tests that the error is the client's fault, begins with the field's name and is short.
func mustRefuse(t *testing.T, task, raw, field string) {
	t.Helper()
	p, err := Parse(task, []byte(raw))
	if err == nil {
		t.Errorf("%.300s: is taken, want an error of %s", raw, field)
		return
	}
	e := messages.AsError(err, "")
	if e.Code != messages.CodeBadRequest || !strings.HasPrefix(e.Message, field+":") {
		t.Errorf("%.300s: %s, %.300s; want %s that begins with %s:", raw, e.Code, e.Message, messages.CodeBadRequest, field)
	}
	if len(e.Message) > maxMessage {
		t.Errorf("%.300s: an error of %d bytes: %.300s", raw, len(e.Message), e.Message)
	}
	if !reflect.DeepEqual(p, Params{}) {
		t.Errorf("%.300s: an error and values: %+v", raw, p)
	}
}

// maxMessage bounds an error's message in bytes: 80 characters of the client, each escaped, and ours.
const maxMessage = 80*10 + 200

func TestParseDefaults(t *testing.T) {
	want := Params{
		Messages: []Message{{Role: "user", Content: "hello"}}, ToolChoice: ToolChoice{Mode: ToolsAuto},
		Choices: 1, MaxTokens: Unlimited,
		Sampling: Sampling{
			Temperature: 0.8, TopP: 0.95, MinP: 0.05, TypicalP: 1, TopK: 40, RepeatPenalty: 1, RepeatLastN: 64,
			Dry:         Dry{Base: 1.75, AllowedLength: 2, LastN: -1, Breakers: []string{"\n", ":", "\"", "*"}},
			MirostatTau: 5, MirostatEta: 0.1,
		},
	}
	nulls := `"model":"x","user":"y","prompt":null`
	for _, name := range fieldNames(reflect.TypeFor[body]()) {
		if name != "messages" && name != "prompt" {
			nulls += `,"` + name + `":null`
		}
	}
	for name, raw := range map[string]string{
		"no fields": chat(""), "all fields null": chat(nulls),
		"fields that say nothing": chat(`"tools":[],"logprobs":false,"top_logprobs":0,"logit_bias":{},"n":1,"best_of":1,"echo":false,"suffix":"",
			"response_format":{"type":"text"},"grammar":"","functions":[ ],"function_call":null,"audio":{},"modalities":["text"],"stream":true,"stream_options":{},
			"ignore_eos":false,"tool_choice":"auto"`),
	} {
		if p := mustParse(t, TaskChat, raw); !reflect.DeepEqual(p, want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, p, want)
		}
	}
	want.Messages, want.ToolChoice, want.Prompt = nil, ToolChoice{}, "go on"
	if p := mustParse(t, TaskCompletion, text(`"messages":[],"tools":[]`)); !reflect.DeepEqual(p, want) {
		t.Errorf("a completion:\n%+v, want\n%+v", p, want)
	}
}

// fieldNames are the JSON names of a struct, those of embedded structs too.
func fieldNames(typ reflect.Type) (names []string) {
	for f := range typ.Fields() {
		if f.Anonymous {
			names = append(names, fieldNames(f.Type)...)
		} else {
			names = append(names, f.Tag.Get("json"))
		}
	}
	return names
}

// wrongTypes has for each type of body's fields what JSON must not be there.
var wrongTypes = map[reflect.Type][]string{
	reflect.TypeFor[*float64]():           {`"x"`, `true`, `[1]`, `{}`, `1e999`, `-1e999`, `"NaN"`},
	reflect.TypeFor[*int64]():             {`"x"`, `true`, `[1]`, `{}`, `1.5`, `1e999`, `99999999999999999999`, strings.Repeat("9", 1<<16)},
	reflect.TypeFor[*int]():               {`"x"`, `true`, `[1]`, `{}`, `1.5`, `99999999999999999999`},
	reflect.TypeFor[*bool]():              {`"x"`, `1`, `[true]`, `{}`},
	reflect.TypeFor[*string]():            {`true`, `1`, `["x"]`, `{}`},
	reflect.TypeFor[[]string]():           {`true`, `1`, `"x"`, `{}`, `[1]`, `[["x"]]`},
	reflect.TypeFor[map[string]float64](): {`true`, `1`, `"x"`, `[[1,2]]`, `{"5":"x"}`, `{"5":true}`, `{"5":1e999}`, `{"5":-1e999}`},
}

// wrongRaw is wrongTypes for fields that take several types, by name.
var wrongRaw = map[string][]string{
	"tool_choice":          {`1`, `true`, `["auto"]`, `{}`, `"any"`, `""`},
	"chat_template_kwargs": {`1`, `true`, `"x"`, `[]`, `{"x":1e999}`},
	"stop":                 {`1`, `true`, `{}`, `[1]`, `[["a"]]`},
	"logprobs":             {`"x"`, `[]`, `{}`, `1.5`},
	"functions":            {`[{"name":"f"}]`, `1`, `"x"`, `true`},
	"function_call":        {`"auto"`, `{"name":"f"}`},
	"audio":                {`{"voice":"x"}`, `1`},
}

// TestParseWrongTypes asks for every field of body: who adds one adds it here, or its type is there.
func TestParseWrongTypes(t *testing.T) {
	var check func(typ reflect.Type)
	check = func(typ reflect.Type) {
		for f := range typ.Fields() {
			name := f.Tag.Get("json")
			values, ok := wrongTypes[f.Type]
			switch {
			case f.Anonymous:
				check(f.Type)
				continue
			case name == "prompt": // TestPrompt
				continue
			case f.Type == reflect.TypeFor[json.RawMessage]():
				values, ok = wrongRaw[name]
			case !ok && (f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Pointer):
				values, ok = []string{`true`, `1`, `"x"`, `[1]`}, true // lists of objects and objects
			}
			if !ok {
				t.Errorf("nobody says what is wrong for %s", name)
			}
			for _, v := range values {
				raw := chat(`"` + name + `":` + v)
				if name == "messages" {
					raw = `{"messages":` + v + `}`
				}
				mustRefuse(t, TaskChat, raw, name)
			}
		}
	}
	check(reflect.TypeFor[body]())
}

func TestParseWrongInside(t *testing.T) {
	for field, fields := range map[string][]string{
		"stream_options.include_usage":           {`{"stream_options":{"include_usage":1}}`},
		"messages.role":                          {`{"messages":[{"role":1}]}`},
		"messages.name":                          {`{"messages":[{"role":"user","content":"x","name":1}]}`},
		"messages.tool_call_id":                  {`{"messages":[{"role":"user","content":"x","tool_call_id":1}]}`},
		"messages.reasoning_content":             {`{"messages":[{"role":"user","content":"x","reasoning_content":{}}]}`},
		"messages.tool_calls":                    {`{"messages":[{"role":"user","content":"x","tool_calls":{}}]}`},
		"tools.function.name":                    {chat(`"tools":[{"type":"function","function":{"name":1}}]`)},
		"tools.function":                         {chat(`"tools":[{"type":"function","function":"f"}]`)},
		"response_format.type":                   {chat(`"response_format":{"type":1}`)},
		"response_format.json_schema":            {chat(`"response_format":{"type":"json_schema","json_schema":[]}`)},
		"messages.tool_calls.function":           {`{"messages":[{"role":"assistant","tool_calls":[{"function":"f"}]}]}`},
		"messages.tool_calls.id":                 {`{"messages":[{"role":"assistant","tool_calls":[{"id":7,"function":{"name":"f"}}]}]}`},
		"body":                                   {`[]`, `"x"`, `1`, ``, `{`, chat("")[1:], chat("") + "x", `{"messages":` + strings.Repeat(`[`, 20000)},
		"messages":                               {`null`, `{}`, `{"messages":[]}`, `{"messages":null}`},
		"messages.tool_calls.function.arguments": {`{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{}}}]}]}`},
	} {
		for _, raw := range fields {
			mustRefuse(t, TaskChat, raw, field)
		}
	}
	mustRefuse(t, "embedding", chat(""), "task")
	mustRefuse(t, strings.Repeat("x", 1<<20), chat(""), "task")
}

func TestParseRefusesWhatItCannotHonour(t *testing.T) {
	for field, fields := range map[string][]string{
		"echo":       {`"echo":true`},
		"suffix":     {`"suffix":"x"`},
		"best_of":    {`"best_of":2`, `"best_of":0`, `"best_of":-1`},
		"modalities": {`"modalities":["audio"]`, `"modalities":["text","` + strings.Repeat("x", 1<<20) + `"]`},
	} {
		for _, f := range fields {
			mustRefuse(t, TaskChat, chat(f), field)
			mustRefuse(t, TaskCompletion, text(f), field)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		fields     string
		want, n    int
		wrongField string
	}{
		"max_tokens":              {`"max_tokens":5`, 5, 1, ""},
		"nothing at all":          {`"max_tokens":0`, 0, 1, ""},
		"the newer name":          {`"max_completion_tokens":7`, 7, 1, ""},
		"both":                    {`"max_completion_tokens":7,"max_tokens":5`, 7, 1, ""},
		"more than any sum takes": {`"max_tokens":9223372036854775807`, math.MaxInt32, 1, ""},
		"negative":                {`"max_tokens":-1`, 0, 0, "max_tokens"},
		"negative, newer":         {`"max_tokens":5,"max_completion_tokens":-1`, 0, 0, "max_completion_tokens"},
		"most answers":            {`"n":16`, Unlimited, MaxChoices, ""},
		"too many answers":        {`"n":17`, 0, 0, "n"},
		"no answers":              {`"n":0`, 0, 0, "n"},
		"fewer":                   {`"n":-1`, 0, 0, "n"},
	} {
		for task, raw := range map[string]string{TaskChat: chat(tc.fields), TaskCompletion: text(tc.fields)} {
			if tc.wrongField != "" {
				mustRefuse(t, task, raw, tc.wrongField)
			} else if p := mustParse(t, task, raw); p.MaxTokens != tc.want || p.Choices != tc.n {
				t.Errorf("%s: max %d, n %d; want %d, %d", name, p.MaxTokens, p.Choices, tc.want, tc.n)
			}
		}
	}
	if p := mustParse(t, TaskChat, chat(`"stream_options":{"include_usage":true}`)); !p.IncludeUsage {
		t.Error("include_usage is lost")
	}
}

func TestStops(t *testing.T) {
	long := strings.Repeat("x", MaxStopBytes)
	many := `"` + strings.Repeat(`x","`, MaxStops-1) + `x"`
	for raw, want := range map[string][]string{
		`"a"`: {"a"}, `["a","b"]`: {"a", "b"}, `[]`: {}, `"` + long + `"`: {long}, `"\ud800"`: {"\uFFFD"},
		`[` + many + `]`: slices.Repeat([]string{"x"}, MaxStops),
	} {
		if p := mustParse(t, TaskChat, chat(`"stop":`+raw)); !slices.Equal(p.Stops, want) {
			t.Errorf("stop %.80s: %.80q", raw, p.Stops)
		}
	}
	for _, raw := range []string{`""`, `["a",""]`, `["a",null]`, `"` + long + `x"`, `["` + long + `x"]`, `[` + many + `,"x"]`, `"a\u0000"`} {
		mustRefuse(t, TaskChat, chat(`"stop":`+raw), "stop")
	}
}

func TestLogprobs(t *testing.T) {
	for name, tc := range map[string]struct {
		task, fields string
		on           bool
		top          int
	}{
		"chat":                      {TaskChat, `"logprobs":true`, true, 0},
		"chat, and the likeliest":   {TaskChat, `"logprobs":true,"top_logprobs":20`, true, 20},
		"chat, off":                 {TaskChat, `"logprobs":false,"top_logprobs":0`, false, 0},
		"completion":                {TaskCompletion, `"logprobs":3`, true, 3},
		"completion, 0 is not off":  {TaskCompletion, `"logprobs":0`, true, 0},
		"completion, as in a chat":  {TaskCompletion, `"logprobs":true,"top_logprobs":2`, true, 2},
		"completion, off":           {TaskCompletion, `"logprobs":false`, false, 0},
		"completion, the most":      {TaskCompletion, `"logprobs":20`, true, 20},
		"completion, number counts": {TaskCompletion, `"logprobs":3,"top_logprobs":5`, true, 3},
	} {
		raw := chat(tc.fields)
		if tc.task == TaskCompletion {
			raw = text(tc.fields)
		}
		if p := mustParse(t, tc.task, raw); p.Logprobs != tc.on || p.TopLogprobs != tc.top {
			t.Errorf("%s: %t, %d", name, p.Logprobs, p.TopLogprobs)
		}
	}
	for _, f := range []string{`"top_logprobs":21,"logprobs":true`, `"top_logprobs":-1,"logprobs":true`, `"top_logprobs":2`, `"top_logprobs":2,"logprobs":false`} {
		mustRefuse(t, TaskChat, chat(f), "top_logprobs")
		mustRefuse(t, TaskCompletion, text(f), "top_logprobs")
	}
	for _, f := range []string{`"logprobs":21`, `"logprobs":-1`, `"logprobs":1.5`, `"logprobs":"3"`, `"logprobs":99999999999999999999`} {
		mustRefuse(t, TaskCompletion, text(f), "logprobs")
	}
	mustRefuse(t, TaskChat, chat(`"logprobs":3`), "logprobs")
}

func TestPrompt(t *testing.T) {
	for raw, want := range map[string]struct {
		text   string
		tokens []int32
	}{
		`"go on"`: {"go on", nil}, `["go on"]`: {"go on", nil}, `""`: {"", nil}, `"null"`: {"null", nil}, `["null"]`: {"null", nil},
		"\"a\xff\xfeb\"": {"a\uFFFDb", nil}, `"\ud800 x"`: {"\uFFFD x", nil},
		`[1,0,2147483647]`: {"", []int32{1, 0, math.MaxInt32}}, `[7]`: {"", []int32{7}},
	} {
		p := mustParse(t, TaskCompletion, `{"prompt":`+raw+`}`)
		if p.Prompt != want.text || !slices.Equal(p.PromptTokens, want.tokens) {
			t.Errorf("prompt %s: %q %v", raw, p.Prompt, p.PromptTokens)
		}
	}
	for _, raw := range []string{`null`, `5`, `true`, `{}`, `[]`, `["a","b"]`, `[null]`, `["a",1]`, `[1,"a"]`, `[1,null]`, `[1.5]`, `[-1]`, `[2147483648]`,
		`[[1,2]]`, `[true]`, `"a\u0000b"`, `["a\u0000b"]`, `[1e999]`} {
		mustRefuse(t, TaskCompletion, `{"prompt":`+raw+`}`, "prompt")
	}
	mustRefuse(t, TaskCompletion, `{}`, "prompt")
}

package llamacpp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/chattemplate"
	"github.com/rbee-project/rbee/services/worker/engine"
	"github.com/rbee-project/rbee/services/worker/grammar"
)

// templated is an engine that chats by a template.
func templated(t testing.TB, model, source string) *Engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chat.jinja")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return loaded(t, Config{ModelPath: bee(t, model), Slots: 2, ContextLength: 4096, TemplatePath: path})
}

// functions are the tools of these tests: their schemas by name.
var functions = map[string]string{
	"weather": `{"type":"object","properties":{"city":{"enum":["Lyon","Oslo"]},"days":{"type":"integer","minimum":1,"maximum":14}},"required":["city","days"],"additionalProperties":false}`,
	"paint": `{"$defs":{"color":{"enum":["red","blue"]}},"type":"object","properties":{"walls":{"type":"array","items":{"$ref":"#/$defs/color"},"minItems":1,"maxItems":3},` +
		`"note":{"type":"string","maxLength":5}},"required":["walls","note"],"additionalProperties":false}`,
	"stop": ``,
}

func tools(names ...string) []any {
	var out []any
	for _, n := range names {
		f := map[string]any{"name": n, "description": "does " + n + " things"}
		if functions[n] != "" {
			f["parameters"] = json.RawMessage(functions[n])
		}
		out = append(out, map[string]any{"type": "function", "function": f})
	}
	return out
}

func named(name string) any {
	return map[string]any{"type": "function", "function": map[string]any{"name": name}}
}

// written is the prompt as the template wrote it.
func written(t *testing.T, e *Engine, req engine.Request) string {
	t.Helper()
	a, err := e.prepare(t.Context(), e.session, mustParse(t, req))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, tok := range a.prompt {
		b.WriteString(e.session.vocab.shown(tok))
	}
	return b.String()
}

func TestToolsInPrompt(t *testing.T) {
	for _, name := range []string{"chatml", "llama3", "mistral"} {
		e := templated(t, bees.Random, chattemplate.Builtin(name))
		plain := written(t, e, chat("hello", nil))
		for _, choice := range []any{nil, "auto", "required", named("weather"), "none"} {
			fields := map[string]any{"tools": tools("weather", "stop")}
			if choice != nil {
				fields["tool_choice"] = choice
			}
			got := written(t, e, chat("hello", fields))
			told := strings.Contains(got, `"weather"`) && strings.Contains(got, "does weather things") && strings.Contains(got, `"stop"`) && strings.Contains(got, "Oslo")
			if choice == "none" && got != plain || choice != "none" && !told {
				t.Errorf("%s, %v: %q", name, choice, got)
			}
		}
		if got := e.Info().Models[0].Capabilities; !slices.Contains(got, messages.CanTools) || slices.Contains(got, messages.CanReason) {
			t.Errorf("%s can %v", name, got)
		}
		history := chat("", map[string]any{"tools": tools("weather"), "messages": []any{
			map[string]any{"role": "user", "content": "how warm is it?"},
			map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{map[string]any{
				"id": "abcdef123", "type": "function", "function": map[string]any{"name": "weather", "arguments": `{"city":"Lyon","days":3}`}}}},
			map[string]any{"role": "tool", "tool_call_id": "abcdef123", "name": "weather", "content": "21 degrees"},
		}})
		if got := written(t, e, history); !strings.Contains(got, "21 degrees") || strings.Count(got, "Lyon") != 2 || strings.Contains(got, `\"city\"`) {
			t.Errorf("%s: %q does not have the call and its result", name, got)
		}
	}
}

// TestToolsRequired: a model that says nonsense must make a call that its function's schema takes.
func TestToolsRequired(t *testing.T) {
	valid := map[string]func(string) error{}
	for name, schema := range functions {
		if schema == "" {
			schema = `{"type":"object","maxProperties":0}`
		}
		valid[name] = validator(t, schema)
	}
	for name, form := range map[string]string{
		"chatml":  `(?s)^<tool_call>\n\{.*"name": ?"\w+".*"arguments": ?\{.*\}\n</tool_call>$`,
		"llama3":  `(?s)^\{.*"name": ?"\w+".*"parameters": ?\{.*\}$`,
		"mistral": `(?s)^\[\{.*"name": ?"\w+".*"arguments": ?\{.*\}\]$`,
	} {
		e := templated(t, bees.Random, chattemplate.Builtin(name))
		names := map[string]int{}
		for seed := range schedules(2) {
			for _, choice := range []any{"required", named("paint")} {
				req := chat("hello", map[string]any{"tools": tools("weather", "paint", "stop"), "tool_choice": choice, "temperature": 1, "seed": seed, "n": 2, "max_tokens": 600, "logprobs": true})
				whole, stream := get(t, e, req), get(t, e, asStream(req))
				for i, c := range whole.choices {
					s := stream.choices[i]
					checkCall(t, name, c, choice)
					checkCall(t, name, s, choice)
					if t.Failed() {
						t.Fatalf("%s\n%s", whole.raw[0], stream.raw)
					}
					if said := joined(c.tokens); !regexp.MustCompile(form).MatchString(said) {
						t.Errorf("%s: the model was made to say %q", name, said)
					}
					if !c.null || !reflect.DeepEqual(c.calls[0].Function, s.calls[0].Function) {
						t.Errorf("%s: whole %+v, streamed %+v", name, c.calls, s.calls)
					}
					names[c.calls[0].Function.Name]++
					if err := valid[c.calls[0].Function.Name](c.calls[0].Function.Arguments); err != nil {
						t.Errorf("%s: %+v: %v", name, c.calls[0], err)
					}
				}
				if a, b := whole.choices[0].calls[0].ID, whole.choices[1].calls[0].ID; a == b {
					t.Errorf("%s: two calls have the id %q", name, a)
				}
			}
		}
		t.Logf("%s: %v", name, names)
		if names["weather"]+names["stop"] == 0 {
			t.Errorf("%s: always the same function", name)
		}
	}
}

// TestRebased: a function's schema stays what it is when it becomes a part of a larger one.
func TestRebased(t *testing.T) {
	for params, want := range map[string]string{
		`{"b":1,"a":{"x":2.50}}`:   `{"b":1,"a":{"x":2.50}}`,
		`{"$ref":"#"}`:             `{"$ref":"#/anyOf/3/properties/k"}`,
		`{"$ref":"http://x/y#/a"}`: `{"$ref":"http://x/y#/a"}`,
		`{"items":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"const":12345678901234567890}}}`:                  `{"$defs":{"a":{"const":12345678901234567890}},"items":[{"$ref":"#/anyOf/3/properties/k/$defs/a"}]}`,
		`{"const":{"$ref":"#/q"},"items":{"$ref":"#/r"}}`:                                                `{"const":{"$ref":"#/q"},"items":{"$ref":"#/anyOf/3/properties/k/r"}}`,
		`{"properties":{"$ref":{"$ref":"#/x"},"const":{"$ref":"#/y"},"enum":{"enum":[{"$ref":"#/z"}]}}}`: `{"properties":{"$ref":{"$ref":"#/anyOf/3/properties/k/x"},"const":{"$ref":"#/anyOf/3/properties/k/y"},"enum":{"enum":[{"$ref":"#/z"}]}}}`,
	} {
		if got := rebased(json.RawMessage(params), 3, "k"); got != want {
			t.Errorf("%s: %s, want %s", params, got, want)
		}
	}
}

// checkCall checks for one call, and nothing else, in OpenAI's shape.
func checkCall(t *testing.T, template string, s *said, choice any) {
	t.Helper()
	if s.finish != "tool_calls" || s.text != "" || len(s.calls) != 1 {
		t.Errorf("%s: %+v (%s), text %q", template, s.calls, s.finish, s.text)
		return
	}
	c := s.calls[0]
	if c.ID == "" || c.Type != "function" || choice != "required" && c.Function.Name != "paint" || !json.Valid([]byte(c.Function.Arguments)) {
		t.Errorf("%s, %v: %+v", template, choice, c)
	}
	for i, d := range s.deltas {
		if begin := d.ID != "" && d.Type == "function" && d.Function.Name != "" && d.Function.Arguments == ""; begin != (i == 0) || *d.Index != 0 {
			t.Errorf("%s: piece %d is %+v", template, i, d)
		}
	}
	if s.deltas != nil && len(s.deltas) < 2 {
		t.Errorf("%s: %d pieces", template, len(s.deltas))
	}
}

// TestToolsCutOff: a call that max_tokens cuts is told as that.
func TestToolsCutOff(t *testing.T) {
	e := templated(t, bees.Random, chattemplate.Builtin("chatml"))
	fields := map[string]any{"tools": tools("paint"), "tool_choice": "required", "seed": 5, "temperature": 1}
	whole := get(t, e, chat("hello", fields))
	call, seen := whole.choices[0].calls[0].Function, 0
	for n := 1; n < whole.usage.CompletionTokens; n += 5 {
		for _, stream := range []bool{false, true} {
			req := chat("hello", with(fields, "max_tokens", n))
			req.Stream = stream
			c := first(t, e, req)
			end := strings.HasPrefix("</tool_call>", c.text) // what is said of it is text
			begun := len(c.calls) == 1 && end && c.calls[0].Function.Name == call.Name && strings.HasPrefix(call.Arguments, c.calls[0].Function.Arguments)
			closed := begun && c.finish == "tool_calls" && c.calls[0].Function.Arguments == call.Arguments
			if begun {
				seen++
			}
			if !closed && (c.finish != "length" || !begun && (c.calls != nil || !strings.HasPrefix("<tool_call>\n{\"name\": \"paint\"", c.text[:min(len(c.text), 12)]))) {
				t.Errorf("cut at %d of %d: %q by %q, %+v", n, whole.usage.CompletionTokens, c.text, c.finish, c.calls)
			}
		}
	}
	if seen == 0 {
		t.Error("no cut was inside the arguments")
	}
}

func TestToolsRefused(t *testing.T) {
	refused := func(e *Engine, field string, fields map[string]any) {
		t.Helper()
		_, err := try(t.Context(), t, e, chat("hello", fields))
		if messages.CodeOf(err) != messages.CodeBadRequest || !strings.HasPrefix(messages.AsError(err, "").Message, field) {
			t.Errorf("%v, want one of %s", err, field)
		}
		isFree(t, e)
	}
	own := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: 512})
	for _, choice := range []any{"auto", "required", named("stop")} {
		refused(own, "tools", map[string]any{"tools": tools("stop"), "tool_choice": choice})
	}
	if slices.Contains(own.Info().Models[0].Capabilities, messages.CanTools) {
		t.Error("a template without tools is said to have them")
	}
	if c := first(t, own, chat("hello", map[string]any{"tools": tools("stop"), "tool_choice": "none", "max_tokens": 3})); c.text == "" || c.calls != nil {
		t.Errorf("none: %+v", c)
	}
	deep := templated(t, bees.Random, strings.ReplaceAll(chattemplate.Builtin("chatml"), "<tool_call>", "<｜tool▁call▁begin｜>"))
	if slices.Contains(deep.Info().Models[0].Capabilities, messages.CanTools) {
		refused(deep, "tool_choice", map[string]any{"tools": tools("stop"), "tool_choice": "required"})
	} else {
		t.Error("DeepSeek's form is not known")
	}
	e := templated(t, bees.Random, chattemplate.Builtin("chatml"))
	bad := []any{tools("stop")[0], map[string]any{"type": "function", "function": map[string]any{"name": "f", "parameters": json.RawMessage(`{"type":"object","not":{}}`)}}}
	refused(e, "tools[1].function.parameters", map[string]any{"tools": bad, "tool_choice": "required"})
	if _, err := try(t.Context(), t, e, chat("hello", map[string]any{"tools": bad, "max_tokens": 3})); err != nil {
		t.Errorf("a schema that is not enforced: %v", err)
	}
	refused(e, "response_format", map[string]any{"tools": bad, "response_format": map[string]any{"type": "json_object"}})
	if c := first(t, e, chat("hello", map[string]any{"tools": bad, "tool_choice": "none", "response_format": jsonSchema(`{"const":5}`)})); c.text != "5" || c.finish != "stop" {
		t.Errorf("none, with a schema: %+v", c)
	}
}

// forced runs a request whose answer is bound by a grammar of ours: what a model might say.
func forced(t *testing.T, e *Engine, req engine.Request, says string) *said {
	t.Helper()
	s, err := e.reserve()
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.prepare(t.Context(), s, mustParse(t, req))
	e.readers.Done()
	if err != nil {
		t.Fatal(err)
	}
	if a.rules, err = grammar.Parse("root ::= " + literal(says)); err != nil {
		t.Fatal(err)
	}
	a.afterThought = false
	var r reply
	d := newDelivery(e, a, req, func(raw []byte) error {
		r.add(t, raw)
		return nil
	})
	if err := d.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r.choices[0]
}

// TestToolsSaid: what a model may say of its own, streamed and whole.
func TestToolsSaid(t *testing.T) {
	chatml, llama3, mistral := chattemplate.Builtin("chatml"), chattemplate.Builtin("llama3"), chattemplate.Builtin("mistral")
	thinks := chatml + "{# <think> #}"
	opens := chatml + "{{ '<think>\\n' }}"
	const one, two = `{"city":"Lyon","days":1}`, `{"city":"Oslo","days":2}`
	engines := map[string]*Engine{}
	type want struct {
		text, thought, finish string
		arguments             []string
	}
	for name, tc := range map[string]struct {
		template, says string
		want           want
	}{
		"text":           {chatml, "no call", want{text: "no call", finish: "stop"}},
		"one":            {chatml, "<tool_call>\n" + `{"name": "weather", "arguments": ` + one + "}\n</tool_call>", want{finish: "tool_calls", arguments: []string{one}}},
		"text and two":   {chatml, "é🐝\n<tool_call>\n" + `{"name": "weather", "arguments": ` + one + "}\n</tool_call>\n<tool_call>" + `{"arguments":` + two + `,"name":"weather"}</tool_call>`, want{text: "é🐝", finish: "tool_calls", arguments: []string{one, two}}},
		"broken":         {chatml, `<tool_call>{"name": "weather", "arguments": {"city":`, want{finish: "stop", arguments: []string{`{"city":`}}},
		"no JSON":        {chatml, `<tool_call>weather</tool_call>`, want{text: `<tool_call>weather</tool_call>`, finish: "stop"}},
		"llama3":         {llama3, `{"name": "weather", "parameters": ` + one + `}; {"name": "weather", "parameters": ` + two + "}", want{finish: "tool_calls", arguments: []string{one, two}}},
		"llama3 text":    {llama3, `{"name": "unknown", "parameters": {}}`, want{text: `{"name": "unknown", "parameters": {}}`, finish: "stop"}},
		"mistral":        {mistral, `[TOOL_CALLS] [{"name": "weather", "arguments": ` + one + `}, {"name": "weather", "arguments": ` + two + "}]", want{finish: "tool_calls", arguments: []string{one, two}}},
		"thinks":         {thinks, "<think>\nhm\n</think>\n\nyes", want{text: "yes", thought: "hm", finish: "stop"}},
		"thinks, calls":  {thinks, "<think>hm</think><tool_call>" + `{"name": "weather", "arguments": ` + one + "}</tool_call>", want{thought: "hm", finish: "tool_calls", arguments: []string{one}}},
		"opens":          {opens, "hm\n</think>\n\nyes", want{text: "yes", thought: "hm", finish: "stop"}},
		"opens for ever": {opens, "hm", want{thought: "hm", finish: "stop"}},
	} {
		e := engines[tc.template]
		if e == nil {
			e = templated(t, bees.Random, tc.template)
			engines[tc.template] = e
		}
		for _, stream := range []bool{false, true} {
			req := chat("hello", map[string]any{"tools": tools("weather"), "logprobs": true})
			req.Stream = stream
			s := forced(t, e, req, tc.says)
			got := want{text: s.text, thought: s.thought, finish: s.finish}
			for _, c := range s.calls {
				got.arguments = append(got.arguments, c.Function.Arguments)
				if c.Function.Name != "weather" || c.ID == "" || c.Type != "function" {
					t.Errorf("%s, stream %t: %+v", name, stream, c)
				}
			}
			if !reflect.DeepEqual(got, tc.want) || s.ends != 1 {
				t.Errorf("%s, stream %t:\n got %+v\nwant %+v", name, stream, got, tc.want)
			}
			if all := joined(s.tokens); strings.Map(ascii, all) != strings.Map(ascii, tc.says) {
				t.Errorf("%s, stream %t: the logprobs are of %q", name, stream, all)
			}
		}
	}
}

// ascii leaves out what a token's text may be half of.
func ascii(r rune) rune {
	if r > 127 {
		return -1
	}
	return r
}

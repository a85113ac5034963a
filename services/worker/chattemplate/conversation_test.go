package chattemplate

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

const showAll = `{% for m in messages %}{{ m|tojson }}{% endfor %}{% if tools %}{{ tools|tojson }}{% endif %}`

func TestConversation(t *testing.T) {
	for name, tc := range map[string]struct {
		needs    needs
		messages []string
		want     string
	}{
		"as it is, in order": {needs{}, []string{`{"z":1,"role":"user","content":"x","a":[{"q":1,"b":2}]}`},
			`{"z": 1, "role": "user", "content": "x", "a": [{"q": 1, "b": 2}]}`},
		"roles": {needs{}, []string{`{"role":"developer","content":"d"}`, `{"role":"function","content":"f"}`},
			`{"role": "system", "content": "d"}{"role": "tool", "content": "f"}`},
		"parts are joined": {needs{}, []string{`{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}`},
			`{"role": "user", "content": "ab"}`},
		"parts where a template wants them": {needs{listContent: true}, []string{`{"role":"user","content":"ab"}`},
			`{"role": "user", "content": [{"type": "text", "text": "ab"}]}`},
		"arguments become a dict, in order": {needs{}, []string{`{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"z\":1,\"a\":2.0}"}}]}`},
			`{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"z": 1, "a": 2.0}}}]}`},
		"arguments that are no object stay": {needs{}, []string{`{"role":"assistant","content":"","tool_calls":[{"function":{"arguments":"[1"}}]}`},
			`{"role": "assistant", "content": "", "tool_calls": [{"function": {"arguments": "[1"}}]}`},
		"no arguments": {needs{}, []string{`{"role":"assistant","tool_calls":[{"function":{"arguments":""}}]}`},
			`{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}], "content": ""}`},
		"arguments as text, content null": {needs{stringArguments: true, nullContent: true}, []string{`{"role":"assistant","content":"","tool_calls":[{"function":{"arguments":{"z":1}}}]}`},
			`{"role": "assistant", "content": null, "tool_calls": [{"function": {"arguments": "{\"z\": 1}"}}]}`},
		"no calls": {needs{}, []string{`{"role":"assistant","content":"a","tool_calls":[]}`, `{"role":"assistant","content":"a","tool_calls":null}`},
			`{"role": "assistant", "content": "a"}{"role": "assistant", "content": "a"}`},
		"system is folded": {needs{noSystem: true}, []string{`{"role":"system","content":"s"}`, `{"role":"user","content":"u"}`, `{"role":"system","content":"t"}`},
			`{"role": "user", "content": "s\n\nu"}{"role": "user", "content": "t"}`},
		"messages[0]: must be an object":                {needs{}, []string{`[]`}, ""},
		"messages[1].role: must be a string":            {needs{}, []string{`{"role":"user"}`, `{"role":1}`}, ""},
		"messages[0].content: must be":                  {needs{}, []string{`{"role":"user","content":{}}`}, ""},
		`messages[0].content[0]: a part of type "image`: {needs{}, []string{`{"role":"user","content":[{"type":"image_url"}]}`}, ""},
		"messages[0].tool_calls: must be a list":        {needs{}, []string{`{"role":"user","tool_calls":{}}`}, ""},
		"messages[0].tool_calls[0].function: must be":   {needs{}, []string{`{"role":"user","tool_calls":[1]}`}, ""},
		"messages[0]: JSON lies deeper":                 {needs{}, []string{strings.Repeat("[", 99) + strings.Repeat("]", 99)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := compile(showAll, Options{})
			if err != nil {
				t.Fatal(err)
			}
			tmpl.needs = tc.needs
			parts, err := tmpl.render(Input{Messages: rawJSON(tc.messages...)})
			if got := joinText(parts); tc.want != "" && (got != tc.want || err != nil) {
				t.Errorf("got  %s, %v\nwant %s", got, err, tc.want)
			}
			if tc.want == "" && (err == nil || !strings.HasPrefix(err.Error(), name)) {
				t.Errorf("error %v, want %s…", err, name)
			}
		})
	}
}

// TestExtra: a client's variables reach the template but replace none of its own.
func TestExtra(t *testing.T) {
	in := Input{Messages: rawJSON(`{"role":"user","content":"x"}`), Extra: map[string]json.RawMessage{
		"a": json.RawMessage(`{"b":[1]}`), "messages": json.RawMessage(`1`), "raise_exception": json.RawMessage(`1`)}}
	_, err := renderHere(t, `{{ messages[0].content }}{% if a %}{{ raise_exception(messages[0].content ~ a.b) }}{% endif %}`, Options{}, in)
	var said raised
	if !errors.As(err, &said) || string(said) != "x[1]" {
		t.Error(err)
	}
}

func TestCaps(t *testing.T) {
	all := Caps{Tools: true, ToolCalls: true, System: true}
	with := func(c Caps, format string) Caps { c.Format = format; return c }
	for name, want := range map[string]Caps{
		"chatml": with(all, "hermes"), "llama3": with(all, "llama3"), "mistral": with(all, "mistral"),
		"gemma": {}, "phi": {System: true},
		"deepseek": {ToolCalls: true, System: true, Reasoning: true, Format: "deepseek"},
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := compile(Builtin(name), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := tmpl.learn(Builtin(name)); got != want || err != nil {
				t.Errorf("%+v, %v, want %+v", got, err, want)
			}
		})
	}
	tmpl, _ := compile(`{{ messages[0].content[0].text }}<think>`+"\n\n", Options{})
	if c, err := tmpl.learn("<think>"); err != nil || !c.StartsThinking || !tmpl.needs.listContent || !tmpl.needs.noSystem {
		t.Errorf("%+v %+v %v", c, tmpl.needs, err)
	}
}

// TestNeeds: what trial renders found is done to a client's messages.
func TestNeeds(t *testing.T) {
	const call = `{"role":"assistant","content":"","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"b\": 1,\"a\":2}"}}]}`
	for name, tc := range map[string]struct {
		template, want string
		messages       []string
	}{
		// deepseek-ai/DeepSeek-R1-Distill-Qwen-32B, tokenizer_config.json: a call has content none and its arguments are text.
		"deepseek": {"deepseek", "<｜User｜>u<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n" +
			"{\"b\": 1,\"a\":2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜><｜Assistant｜>", []string{`{"role":"user","content":"u"}`, call}},
		"gemma": {"gemma", "<start_of_turn>user\nbe\n\nu<end_of_turn>\n<start_of_turn>model\n", []string{`{"role":"system","content":"be"}`, `{"role":"user","content":"u"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			parts, err := renderHere(t, Builtin(tc.template), Options{}, Input{Messages: rawJSON(tc.messages...), AddGenerationPrompt: true})
			if got := joinText(parts); got != tc.want || err != nil {
				t.Errorf("got  %q, %v\nwant %q", got, err, tc.want)
			}
		})
	}
}

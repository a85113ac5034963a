package completion

import (
	"reflect"
	"strings"
	"testing"
)

func TestMessages(t *testing.T) {
	p := mustParse(t, TaskChat, `{"messages":[
		{"role":"developer","content":"be"},
		{"role":"system","content":""},
		{"role":"user","name":"ann","content":[{"type":"text","text":"hel"},{"type":"text","text":"lo"}]},
		{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[
			{"id":"c1","type":"function","function":{"name":"look","arguments":"{\"x\":1}"}},
			{"id":"c2","type":"function","function":{"name":"go"}}]},
		{"role":"tool","tool_call_id":"c1","content":"seen"},
		{"role":"function","name":"go","content":[]},
		{"role":"assistant","content":"done","refusal":null,"name":null,"tool_calls":null,"tool_call_id":null,"reasoning_content":null},
		{"role":"assistant"}]}`)
	want := []Message{
		{Role: "system", Content: "be"},
		{Role: "system"},
		{Role: "user", Name: "ann", Content: "hello"},
		{Role: "assistant", Reasoning: "hm", ToolCalls: []ToolCall{{"c1", "look", `{"x":1}`}, {"c2", "go", ""}}},
		{Role: "tool", ToolCallID: "c1", Content: "seen"},
		{Role: "tool", Name: "go"},
		{Role: "assistant", Content: "done"},
		{Role: "assistant"},
	}
	if !reflect.DeepEqual(p.Messages, want) {
		t.Errorf("%+v, want\n%+v", p.Messages, want)
	}
}

func TestMessagesText(t *testing.T) {
	p := mustParse(t, TaskChat, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\xff\xfeb \\ud800\",\"name\":\"\\udfff\"}]}")
	if m := p.Messages[0]; m.Content != "a\uFFFDb \uFFFD" || m.Name != "\uFFFD" {
		t.Errorf("what is no text: %q, %q", m.Content, m.Name)
	}
	p = mustParse(t, TaskChat, `{"messages":[`+strings.Repeat(`{"role":"user","content":"x"},`, MaxMessages-1)+`{"role":"user","content":"x"}]}`)
	if len(p.Messages) != MaxMessages {
		t.Errorf("%d messages, want %d", len(p.Messages), MaxMessages)
	}
}

func TestMessagesRefused(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	for field, turns := range map[string][]string{
		"messages":         {strings.Repeat(`{"role":"user","content":"x"},`, MaxMessages) + `{"role":"user","content":"x"}`},
		"messages[0].role": {`null`, `{}`, `{"content":"x"}`, `{"role":"bee","content":"x"}`, `{"role":"","content":"x"}`, `{"role":"User","content":"x"}`, `{"role":"` + huge + `"}`},
		"messages[1].role": {`{"role":"user","content":"x"},{"role":"bee"}`},
		"messages[0].content": {`{"role":"user"}`, `{"role":"tool","content":null}`, `{"role":"system"}`,
			`{"role":"user","content":5}`, `{"role":"user","content":{}}`, `{"role":"user","content":["x"]}`, `{"role":"user","content":[null]}`,
			`{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}`,
			`{"role":"user","content":[{"type":"text","text":"x"},{"type":"input_audio"}]}`,
			`{"role":"user","content":[{"type":"` + huge + `"}]}`, `{"role":"user","content":[{"text":"x"}]}`, `{"role":"user","content":[{"type":"text","text":5}]}`,
			`{"role":"user","content":"a\u0000"}`, `{"role":"user","content":[{"type":"text","text":"\u0000"}]}`},
		"messages[0].reasoning_content": {`{"role":"assistant","reasoning_content":"\u0000"}`},
		"messages[0].name":              {`{"role":"user","content":"x","name":"\u0000"}`, `{"role":"user","content":"x","tool_call_id":"\u0000","name":"\u0000"}`},
		"messages[0].tool_call_id":      {`{"role":"tool","content":"x","tool_call_id":"\u0000"}`},
		"messages[0].tool_calls[0].function": {`{"role":"assistant","tool_calls":[{}]}`, `{"role":"assistant","tool_calls":[null]}`,
			`{"role":"assistant","tool_calls":[{"function":null}]}`, `{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}`,
			`{"role":"assistant","tool_calls":[{"id":"x","type":"custom","custom":{"name":"f","input":"x"}}]}`},
		"messages[0].tool_calls[1].function": {`{"role":"assistant","tool_calls":[{"function":{"name":"f"}},{}]}`},
		"messages[0].tool_calls[0]": {`{"role":"assistant","tool_calls":[{"id":"\u0000","function":{"name":"f"}}]}`,
			`{"role":"assistant","tool_calls":[{"function":{"name":"f\u0000"}}]}`, `{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"\u0000"}}]}`},
	} {
		for _, turn := range turns {
			mustRefuse(t, TaskChat, `{"messages":[`+turn+`]}`, field)
		}
	}
}

func TestTemplateArgs(t *testing.T) {
	deep := func(n int) string { return `{"x":` + strings.Repeat(`[`, n-1) + strings.Repeat(`]`, n-1) + `}` }
	p := mustParse(t, TaskChat, chat(`"chat_template_kwargs":{"enable_thinking":false,"n":1.5,"list":["a",null],"messages":"\\u0000 [[[[{"}`))
	want := map[string]any{"enable_thinking": false, "n": 1.5, "list": []any{"a", nil}, "messages": `\u0000 [[[[{`}
	if !reflect.DeepEqual(p.TemplateArgs, want) {
		t.Errorf("%v, want %v", p.TemplateArgs, want)
	}
	mustParse(t, TaskChat, chat(`"chat_template_kwargs":`+deep(MaxDepth)))
	mustParse(t, TaskChat, chat(`"chat_template_kwargs":{"x":[`+strings.Repeat(`{},[],"\"{",`, 100)+`1]}`)) // wide is not deep
	for _, raw := range []string{deep(MaxDepth + 1), deep(9000), `{"x":"a\u0000"}`, `{"\u0000":1}`, `{"x":"\\\u0000"}`} {
		mustRefuse(t, TaskChat, chat(`"chat_template_kwargs":`+raw), "chat_template_kwargs")
	}
}

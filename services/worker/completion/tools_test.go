package completion

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const look = `{"type":"function","function":{"name":"look"}}`

func TestTools(t *testing.T) {
	full := `{ "type": "function", "function": {"name":"a.B-9_","description":"d","strict":true, "parameters": {"type":"object"} } }`
	p := mustParse(t, TaskChat, chat(`"tools":[`+full+`,`+look+`,{"type":"function","function":{"name":"go","parameters":null}}]`))
	want := []Tool{
		{Name: "a.B-9_", Parameters: []byte(`{"type":"object"}`), Raw: []byte(full)},
		{Name: "look", Raw: []byte(look)},
		{Name: "go", Raw: []byte(`{"type":"function","function":{"name":"go","parameters":null}}`)},
	}
	if !reflect.DeepEqual(p.Tools, want) {
		t.Errorf("%s, want\n%s", p.Tools, want)
	}
	if p = mustParse(t, TaskCompletion, text(`"tools":[`+look+`],"tool_choice":"required"`)); p.Tools != nil || p.ToolChoice != (ToolChoice{}) {
		t.Errorf("a completion has tools: %s", p.Tools)
	}
	// The client's text goes to the template: it is text, and it is what was read.
	p = mustParse(t, TaskChat, chat("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"\xff\"}}]"))
	if raw := string(p.Tools[0].Raw); !strings.Contains(raw, "\"\uFFFD\"") {
		t.Errorf("what is no text: %q", raw)
	}
	mustRefuse(t, TaskChat, chat(`"tools":[`+look+`],"tools":[{}]`), "tools[0].type")
	body := []byte(chat(`"tools":[` + look + `]`))
	p, err := Parse(TaskChat, body)
	clear(body) // it is the caller's again
	if err != nil || string(p.Tools[0].Raw) != look {
		t.Errorf("%v, %q", err, p.Tools[0].Raw)
	}
}

func TestToolsBounds(t *testing.T) {
	list := func(n int) string {
		out := make([]string, n)
		for i := range out {
			out[i] = strings.Replace(look, "look", fmt.Sprint("f", i), 1)
		}
		return `"tools":[` + strings.Join(out, ",") + `]`
	}
	if p := mustParse(t, TaskChat, chat(list(MaxTools))); len(p.Tools) != MaxTools {
		t.Errorf("%d tools", len(p.Tools))
	}
	mustRefuse(t, TaskChat, chat(list(MaxTools+1)), "tools")
	with := func(function string) string {
		return `{"type":"function","function":{` + function + `}}`
	}
	deep := func(n int) string {
		return with(`"name":"f","parameters":` + strings.Repeat(`{"x":`, n-2) + `1` + strings.Repeat(`}`, n-2))
	}
	for _, tool := range []string{with(`"name":"` + strings.Repeat("x", 64) + `"`), deep(MaxDepth)} {
		mustParse(t, TaskChat, chat(`"tools":[`+tool+`]`))
	}
	for field, tools := range map[string][]string{
		"tools[0].type":     {`null`, `{}`, `{"type":"custom","custom":{"name":"x"}}`, `{"type":"` + strings.Repeat("x", 1<<20) + `"}`, `{"function":{"name":"f"}}`},
		"tools[0].function": {`{"type":"function"}`, `{"type":"function","function":null}`},
		"tools[0].function.name": {with(``), with(`"name":""`), with(`"name":"a b"`), with(`"name":"é"`), with(`"name":"` + strings.Repeat("x", 65) + `"`),
			with(`"name":"` + strings.Repeat("x", 1<<20) + `"`), with(`"name":"f\u0000"`)},
		"tools[1].function.name":       {look + `,` + look},
		"tools[0].function.parameters": {with(`"name":"f","parameters":[]`), with(`"name":"f","parameters":true`), with(`"name":"f","parameters":"{}"`)},
		"tools[0]":                     {deep(MaxDepth + 1), with(`"name":"f","description":"a\u0000"`), with(`"name":"f","parameters":{"const":"\u0000"}`)},
	} {
		for _, tool := range tools {
			mustRefuse(t, TaskChat, chat(`"tools":[`+tool+`]`), field)
		}
	}
}

func TestToolChoice(t *testing.T) {
	named := func(name string) string { return `{"type":"function","function":{"name":"` + name + `"}}` }
	for name, tc := range map[string]struct {
		choice string
		tools  bool
		want   ToolChoice
	}{
		"none said":          {`null`, true, ToolChoice{Mode: ToolsAuto}},
		"auto":               {`"auto"`, true, ToolChoice{Mode: ToolsAuto}},
		"auto of nothing":    {`"auto"`, false, ToolChoice{Mode: ToolsAuto}},
		"none":               {`"none"`, true, ToolChoice{Mode: ToolsNone}},
		"none of nothing":    {`"none"`, false, ToolChoice{Mode: ToolsNone}},
		"required":           {`"required"`, true, ToolChoice{Mode: ToolsRequired}},
		"named":              {named("look"), true, ToolChoice{Mode: ToolsRequired, Name: "look"}},
		"required, no tools": {`"required"`, false, ToolChoice{}},
		"named, no tools":    {named("look"), false, ToolChoice{}},
		"named, not there":   {named("go"), true, ToolChoice{}},
		"named, long":        {named(strings.Repeat("x", 1<<20)), true, ToolChoice{}},
		"no name":            {`{"type":"function"}`, true, ToolChoice{}},
		"no type":            {`{"function":{"name":"look"}}`, true, ToolChoice{}},
		"custom":             {`{"type":"custom","custom":{"name":"look"}}`, true, ToolChoice{}},
		"allowed tools":      {`{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}`, true, ToolChoice{}},
		"another word":       {`"Auto"`, true, ToolChoice{}},
		"a long word":        {`"` + strings.Repeat("x", 1<<20) + `"`, true, ToolChoice{}},
	} {
		fields := `"tool_choice":` + tc.choice
		if tc.tools {
			fields += `,"tools":[` + look + `]`
		}
		if tc.want.Mode == "" {
			mustRefuse(t, TaskChat, chat(fields), "tool_choice")
		} else if p := mustParse(t, TaskChat, chat(fields)); p.ToolChoice != tc.want {
			t.Errorf("%s: %+v, want %+v", name, p.ToolChoice, tc.want)
		}
	}
}

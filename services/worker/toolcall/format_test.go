package toolcall

import "testing"

// The shapes are of llama.cpp's tests/test-chat.cpp and docs/function-calling.md, the chat templates of
// the models, and llama.com's "Model Cards & Prompt formats"; the texts are ours.
func TestFormats(t *testing.T) {
	for format, cases := range map[Format]map[string]struct{ text, want string }{
		Hermes: hermesCases, Llama3: llama3Cases, Mistral: mistralCases, DeepSeek: deepSeekCases,
		"": {"nothing is looked for": {" <tool_call>\n{\"name\": \"f\"} ", "content:  <tool_call>\n{\"name\": \"f\"} "}},
	} {
		for name, tc := range cases {
			t.Run(string(format)+"/"+name, func(t *testing.T) {
				cuts(tc.text, func(pieces ...string) {
					if got := run(options(format, false, false), pieces...); got != tc.want {
						t.Fatalf("%q:\n%s\nwant\n%s", pieces, got, tc.want)
					}
				})
			})
		}
	}
}

var hermesCases = map[string]struct{ text, want string }{
	"one": {"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"arg1\": 1}}\n</tool_call>", called(0, "id1", "f", `{"arg1": 1}`)},
	"after text": {"I look.\n\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n",
		lines("content: I look.", called(0, "id1", "f", `{}`))},
	"two": {"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n<tool_call>\n{\"name\": \"g-1.x\", \"arguments\": {\"b\": [2]}}\n</tool_call>",
		lines(called(0, "id1", "f", `{"a": 1}`), called(1, "id2", "g-1.x", `{"b": [2]}`))},
	"two in one tag": {"<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>done",
		lines(called(0, "id1", "f", `{}`), called(1, "id2", "g", `{}`), "content: done")},
	"arguments first": {`<tool_call>{"arguments": {"a": "}\""}, "name": "f"}</tool_call>`, called(0, "id1", "f", `{"a": "}\""}`)},
	"parameters, type and id": {`<tool_call>{"type": "function", "id": "x1", "name": "f", "parameters": {}, "more": [{}]}</tool_call>`,
		called(0, "x1", "f", `{}`)},
	"id after": {`<tool_call>{"name": "f", "arguments": {}, "id": "x1"}</tool_call>`, called(0, "id1", "f", `{}`)},
	"id twice": {`<tool_call>{"id":"x","name":"f","arguments":{}}{"id":"x","name":"f","arguments":{}}</tool_call>`,
		lines(called(0, "x", "f", `{}`), called(1, "id1", "f", `{}`))},
	"nested name":  {`<tool_call>{"x": {"name": "no", "arguments": {}}, "name": "f", "arguments": {"name": 1}}</tool_call>`, called(0, "id1", "f", `{"name": 1}`)},
	"no arguments": {`<tool_call>{"name": "f"}</tool_call>`, called(0, "id1", "f", `{}`)},
	"braces, quotes and tags in strings": {`<tool_call>{"name": "f", "arguments": {"a": "{\"}\\", "b": "</tool_call>\u007d", "c": "ü€𝄞"}}</tool_call>.`,
		lines(called(0, "id1", "f", `{"a": "{\"}\\", "b": "</tool_call>\u007d", "c": "ü€𝄞"}`), "content: .")},
	"brace forgotten":    {"<tool_call>{\"name\": \"f\", \"arguments\": {}\n</tool_call>x", lines(called(0, "id1", "f", `{}`), "content: x")},
	"cut in the end tag": {"<tool_call>{\"name\": \"f\", \"arguments\": {}}\n</too", called(0, "id1", "f", `{}`)},
	"end tag forgotten":  {"<tool_call>{\"name\": \"f\", \"arguments\": {}}", called(0, "id1", "f", `{}`)},
	"end tags forgotten": {"<tool_call>{\"name\": \"f\", \"arguments\": {}}\n<tool_call>{\"name\": \"f\", \"arguments\": {}}", lines(called(0, "id1", "f", `{}`), called(1, "id2", "f", `{}`))},
	"text after":         {"<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>\n Now <b>\n", lines(called(0, "id1", "f", `{}`), "content: Now <b>\n")},
	"never a marker":     {"a <tool_cal> b <tool_<tool_call", "content: a <tool_cal> b <tool_<tool_call"},
	"JSON without a tag": {`{"name": "f", "arguments": {}}`, `content: {"name": "f", "arguments": {}}`},
	"not JSON":           {"a\n<tool_call>\nf(1)\n</tool_call>\n", "content: a\n<tool_call>\nf(1)\n</tool_call>\n\nBROKEN"},
	"Qwen3-Coder":        {"<tool_call>\n<function=f>\n</function>\n</tool_call>", "content: <tool_call>\n<function=f>\n</function>\n</tool_call>\nBROKEN"},
	"good after bad": {`<tool_call>{"name": 1}<tool_call>{"name": "f", "arguments": {}}`,
		lines(`content: <tool_call>{"name": 1}`, called(0, "id1", "f", `{}`), "BROKEN")},
	"bad name":          {`<tool_call>{"name": "f g", "arguments": {}}`, `content: <tool_call>{"name": "f g", "arguments": {}}` + "\nBROKEN"},
	"name twice":        {`<tool_call>{"name": "f", "name": "g"}`, `content: <tool_call>{"name": "f", "name": "g"}` + "\nBROKEN"},
	"arguments no dict": {`<tool_call>{"name": "f", "arguments": "{}"}`, `content: <tool_call>{"name": "f", "arguments": "{}"}` + "\nBROKEN"},
	"bad arguments": {`<tool_call>{"name": "f", "arguments": {"a": 01}}</tool_call>`,
		"0 id1 f(\ntool_arguments: {\"a\": 0\ncontent: 1}}</tool_call>\nBROKEN"},
	"newline in string":  {"<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"x\ny", "0 id1 f(\ntool_arguments: {\"a\": \"x\ncontent: \ny\nBROKEN"},
	"ends in arguments":  {`<tool_call>{"name": "f", "arguments": {"a": "é`, "0 id1 f(\ntool_arguments: {\"a\": \"é\nBROKEN"},
	"ends before":        {` <tool_call>{"name": "f", "arg`, `content:  <tool_call>{"name": "f", "arg` + "\nBROKEN"},
	"ends in the opener": {"a <tool_call> ", "content: a <tool_call> \nBROKEN"},
}

var llama3Cases = map[string]struct{ text, want string }{
	"one":               {`{"name": "special_function", "parameters": {"arg1": 1}}`, called(0, "id1", "special_function", `{"arg1": 1}`)},
	"space around":      {"\n {\"name\": \"f\", \"parameters\": {}}\n\n", called(0, "id1", "f", `{}`)},
	"tag":               {`<|python_tag|>{"type": "function", "name": "f", "parameters": {}}`, called(0, "id1", "f", `{}`)},
	"two":               {`{"name": "f", "parameters": {}}; {"name": "get_weather", "parameters": {"a": ";"}}`, lines(called(0, "id1", "f", `{}`), called(1, "id2", "get_weather", `{"a": ";"}`))},
	"two lines":         {"{\"name\": \"f\", \"arguments\": {}}\n{\"parameters\": {\"b\":{}}, \"name\": \"f\"}", lines(called(0, "id1", "f", `{}`), called(1, "id2", "f", `{"b":{}}`))},
	"not offered":       {` {"name": "g", "parameters": {}}`, `content:  {"name": "g", "parameters": {}}`},
	"other JSON":        {`{"age": 3, "name": "f"} `, `content: {"age": 3, "name": "f"} `},
	"no parameters":     {`{"name": "f"} `, `content: {"name": "f"} `},
	"name, then others": {`{"name": "f", "age": 3}`, `content: {"name": "f", "age": 3}`},
	"not JSON":          {`{f} {"name": "f", "parameters": {}}`, `content: {f} {"name": "f", "parameters": {}}`},
	"text first":        {`So: {"name": "f", "parameters": {}}`, `content: So: {"name": "f", "parameters": {}}`},
	"text after":        {"{\"name\": \"f\", \"parameters\": {}}\nSo", lines(called(0, "id1", "f", `{}`), "content: So")},
	"tag, no call":      {" <|python_tag|> f(1)", "content:  <|python_tag|> f(1)"},
	"ends early":        {` {"name": "f", "par`, `content:  {"name": "f", "par`},
	"only space":        {" \n", "content:  \n"},
	"ends in arguments": {`{"name": "f", "parameters": {"a`, "0 id1 f(\ntool_arguments: {\"a\nBROKEN"},
}

var mistralCases = map[string]struct{ text, want string }{
	"array":             {`[TOOL_CALLS][{"name": "g", "arguments": {"arg1": 1}, "id": "123456789"}]`, called(0, "id1", "g", `{"arg1": 1}`)},
	"array, id first":   {`[TOOL_CALLS] [{"id": "a23456789", "name": "g", "arguments": {}}]`, called(0, "a23456789", "g", `{}`)},
	"array, bad id":     {`[TOOL_CALLS] [{"id": "call_1234", "name": "g", "arguments": {}}]`, called(0, "id1", "g", `{}`)},
	"array, short id":   {`[TOOL_CALLS] [{"id": "a2345678", "name": "g", "arguments": {}}]`, called(0, "id1", "g", `{}`)},
	"array of two":      {"Hm. [TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}},\n {\"name\": \"g\", \"arguments\": {}}] ok", lines("content: Hm.", called(0, "id1", "f", `{}`), called(1, "id2", "g", `{}`), "content: ok")},
	"object":            {`[TOOL_CALLS]{"name": "g", "arguments": {}}`, called(0, "id1", "g", `{}`)},
	"no marker":         {` [ {"name": "f", "arguments": {"a": "]"}}, {"arguments": {}, "name": "g"}]`, lines(called(0, "id1", "f", `{"a": "]"}`), called(1, "id2", "g", `{}`))},
	"no marker, other":  {`[{"name": "Ann", "arguments": {}}]`, `content: [{"name": "Ann", "arguments": {}}]`},
	"list":              {`[1, [2]] [`, `content: [1, [2]] [`},
	"args":              {`[TOOL_CALLS]special_function[ARGS]{"arg1":1}`, called(0, "id1", "special_function", `{"arg1":1}`)},
	"args, two":         {`[TOOL_CALLS]f[ARGS]{"a":"[TOOL_CALLS]"}[TOOL_CALLS]g[CALL_ID]123456789[ARGS] {}`, lines(called(0, "id1", "f", `{"a":"[TOOL_CALLS]"}`), called(1, "123456789", "g", `{}`))},
	"name and braces":   {`Ok[TOOL_CALLS]g{"a":{}}`, lines("content: Ok", called(0, "id1", "g", `{"a":{}}`))},
	"no marker, args":   {` get_weather[ARGS]{}f{"a":1}`, lines(called(0, "id1", "get_weather", `{}`), called(1, "id2", "f", `{"a":1}`))},
	"no marker, more":   {`f[ARGS]g{}`, "content: f[ARGS]g{}"},
	"no marker, prose":  {`get_weather is {}`, `content: get_weather is {}`},
	"no marker, ends":   {`get_wea`, `content: get_wea`},
	"bad name":          {`[TOOL_CALLS]a b{}`, "content: [TOOL_CALLS]a b{}\nBROKEN"},
	"empty array":       {`[TOOL_CALLS][]`, "content: [TOOL_CALLS][]\nBROKEN"},
	"ends in a name":    {` [TOOL_CALLS]f[AR`, "content:  [TOOL_CALLS]f[AR\nBROKEN"},
	"text":              {"[TOOL_CALL] [INST", "content: [TOOL_CALL] [INST"},
	"ends in arguments": {`[TOOL_CALLS]f{"a`, "0 id1 f(\ntool_arguments: {\"a\nBROKEN"},
}

var deepSeekCases = map[string]struct{ text, want string }{
	"R1": {"Ok.\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"arg1\": 1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>x",
		lines("content: Ok.", called(0, "id1", "f", `{"arg1": 1}`), called(1, "id2", "g", `{}`), "content: x")},
	"V3.1": {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": \"```\"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
		lines(called(0, "id1", "f", "{\"a\": \"```\"}"), called(1, "id2", "g", `{}`))},
	"no list, no ends": {"<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n", called(0, "id1", "f", `{}`)},
	"fence after":      {"<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>\n```x```", lines(called(0, "id1", "f", `{}`), "content: ```x```")},
	"no separator":     {"<｜tool▁call▁begin｜>f{}", "content: <｜tool▁call▁begin｜>f{}\nBROKEN"},
	"other kind":       {"<｜tool▁call▁begin｜>x<｜tool▁sep｜>f\n```json\n{}", "content: <｜tool▁call▁begin｜>x<｜tool▁sep｜>f\n```json\n{}\nBROKEN"},
	"near a marker":    {"<｜tool▂ <｜tool▁call▁begin", "content: <｜tool▂ <｜tool▁call▁begin"},
}

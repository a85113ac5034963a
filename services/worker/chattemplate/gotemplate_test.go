package chattemplate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// goFile is a template of testdata/go. They are ours, in the formats of Ollama's library
// (ollama.com/library/NAME/blobs/TEMPLATE) and the features of its template folder.
func goFile(t *testing.T, name string) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "go", name+".gotmpl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// renderGo renders in this process.
func renderGo(t *testing.T, source string, o Options, in Input) (string, error) {
	t.Helper()
	tmpl, err := compileGo(source, o)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := tmpl.render(in)
	return joinText(parts), err
}

// TestGoldenGo compares with what Ollama's own code made of the same (testdata/go/golden.go).
func TestGoldenGo(t *testing.T) {
	raw, err := os.ReadFile("testdata/go/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]map[string]string
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	inputs := conversations(t)
	for name, texts := range want {
		for conversation, text := range texts {
			t.Run(name+"."+conversation, func(t *testing.T) {
				got, err := renderGo(t, goFile(t, name), Options{Go: true}, inputs[conversation])
				if err != nil || got != text {
					t.Errorf("%v\n%s", err, firstDifference(got, text))
				}
			})
		}
		if len(texts) != len(inputs) {
			t.Errorf("%s has %d golden texts of %d: make golden.json again", name, len(texts), len(inputs))
		}
	}
	if files, _ := filepath.Glob("testdata/go/*.gotmpl"); len(files) != len(want) {
		t.Errorf("%d templates, %d with golden texts: make golden.json again", len(files), len(want))
	}
}

func TestGoCaps(t *testing.T) {
	all := Caps{Tools: true, ToolCalls: true, System: true}
	with := func(c Caps, format string, reasoning bool) Caps {
		c.Format, c.Reasoning = format, reasoning
		return c
	}
	for name, want := range map[string]Caps{
		"chatml": {System: true}, "alpaca": {System: true}, "phi3": {System: true}, "gemma": {System: true},
		"gemma3": {System: true}, "llama3": {System: true},
		"llama31": with(all, "llama3", false), "mistral": with(all, "mistral", false), "qwen25": with(all, "hermes", false),
		"qwen3":    {ToolCalls: true, System: true, Reasoning: true, Format: "hermes"},
		"deepseek": {ToolCalls: true, System: true, Reasoning: true, Format: "deepseek"},
		"commandr": {Tools: true, ToolCalls: true, Format: "command-r"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := newRenderer(t.Context(), goFile(t, name), Options{Go: true}, patience)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got := r.Caps(); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
	tmpl, err := compileGo("{{ .Prompt }}<think>\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := tmpl.learn("<think>"); err != nil || !c.StartsThinking || c.System {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestGoForms: which form a template has, and where it is cut, as Ollama's Parse and Execute decide. Each
// text is what Ollama v0.9.6 gives.
func TestGoForms(t *testing.T) {
	system, user, answer := `{"role":"system","content":"s"}`, `{"role":"user","content":"u"}`, `{"role":"assistant","content":"a"}`
	for name, tc := range map[string]struct {
		source   string
		messages []string
		want     string
	}{
		"nothing said of the answer":   {"[{{ .Prompt }}]", []string{user, answer, user}, "[u]a[u]"},
		"an answer to go on with":      {"[{{ .Prompt }}]{{ .Response }};", []string{user, answer}, "[u]a"},
		"cut at the answer":            {"[{{ .Prompt }}]{{ .Response }};", []string{user, answer, user}, "[u]a;[u]"},
		"cut in an if":                 {"{{ if .Prompt }}[{{ .Prompt }}]{{ .Response }};{{ end }}.", []string{user}, "[u]"},
		"a condition is no cut":        {"{{ if .Response }}!{{ end }}[{{ .Prompt }}]{{ .Response }};", []string{user}, "[u]"},
		"a variable is no cut":         {"[{{ .Prompt }}]{{ $.Response }};", []string{user}, "[u];"},
		"a variable that is set is":    {"{{ $r := .Response }}[{{ .Prompt }}]{{ $r }};", []string{user}, ""},
		"cut in a pipe":                {`[{{ .Prompt }}]{{ printf "%s%s" .Response "x" }};`, []string{user}, "[u]%!s(MISSING)"},
		"a pipe without its end":       {"[{{ .Prompt }}]{{ .Response | len }};", []string{user}, "[u]"},
		"else of the answer":           {"[{{ .Prompt }}]{{ with 1 }}{{ $.Prompt }}{{ else }}{{ .Response }}{{ end }};", []string{user}, "[u]u"},
		"system in the middle":         {"<{{ .System }}>[{{ .Prompt }}]{{ .Response }};", []string{user, system, user}, "<>[u];<s>[u]"},
		"two systems":                  {"<{{ .System }}>[{{ .Prompt }}]{{ .Response }};", []string{system, system, user}, "<s\n\ns>[u]"},
		"users one after another":      {"[{{ .Prompt }}]{{ .Response }};", []string{user, user, answer, answer}, "[u\n\nu]a\n\na"},
		"tools' results have no place": {"[{{ .Prompt }}]{{ .Response }};", []string{user, `{"role":"tool","content":"t"}`, answer}, "[u]a"},
		"messages in lower case":       {"{{ range .messages }}{{ end }}x", []string{user}, "x"},
		"both forms":                   {"{{ if .Messages }}m{{ range .Messages }}{{ .Content }}{{ end }}{{ else }}{{ .Prompt }}{{ end }}{{ .Response }}", []string{user}, "mu"},
		"named in a template":          {`{{ define "m" }}{{ range .Messages }}({{ .Content }}){{ end }}{{ end }}{{ template "m" . }}`, []string{user, answer}, "(u)(a)"},
		"no such name":                 {"{{ .Prompt }}{{ .Nope }}{{ if .Suffix }}{{ .Suffix }}{{ end }}", []string{user}, "u<no value>"},
		"a name of no such name":       {"{{ .Prompt }}{{ .Nope.Nope }}", []string{user}, "u<no value>"},
		"tools' results stay apart":    {"{{ range .Messages }}({{ .Content }}){{ end }}", []string{`{"role":"tool","content":"t"}`, `{"role":"tool","content":"t"}`}, "(t)(t)"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := renderGo(t, tc.source, Options{}, Input{Messages: rawJSON(tc.messages...)})
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

// TestGoValues: what came after Ollama v0.9.6, and where we keep more than it.
func TestGoValues(t *testing.T) {
	call := func(args string) []string {
		return []string{`{"role":"user","content":"u"}`, `{"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":` + args + `}}]}`,
			`{"role":"tool","tool_call_id":"c1","content":"t"}`}
	}
	tool := `{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":["string","null"]},"b":{"anyOf":[{"type":"array"},{"type":"integer"}]},` +
		`"c":{"type":"object","properties":{"d":{"type":"boolean"}},"required":["d"]},"e":{}}}}}`
	args := `{{ range .Messages }}{{ range .ToolCalls }}{{ .ID }} {{ .Function.Arguments }}{{ end }}{{ end }}`
	for name, tc := range map[string]struct {
		source, want string
		in           Input
	}{
		"dates":                {"{{ currentDate }} {{ yesterdayDate }} {{ currentDate \"x\" }}{{ .Response }}", "2026-03-01 2026-02-28 2026-03-01", Input{}},
		"digits":               {args, `c1 {"a":9007199254740993,"b":[1,2.5],"c":{"d":-9223372036854775807},"e":1000000}`, Input{Messages: rawJSON(call(`"{\"a\":9007199254740993,\"b\":[1.0,2.5],\"c\":{\"d\":-9223372036854775807},\"e\":1e6}"`)...)}},
		"no arguments":         {args, `c1 {}`, Input{Messages: rawJSON(call(`""`)...)}},
		"HTML in JSON":         {args, `c1 {"a":"\u003cb\u003e\u0026"}`, Input{Messages: rawJSON(call(`{"a":"<b>&"}`)...)}},
		"which call it is of":  {"{{ range .Messages }}{{ .ToolName }}{{ .ToolCallID }}{{ end }}", "fc1", Input{Messages: rawJSON(call(`{}`)...)}},
		"types in TypeScript":  {"{{ range .Tools }}{{ range $k, $v := .Function.Parameters.Properties }}{{ $k }}: {{ toTypeScriptType $v }}; {{ end }}{{ end }}{{ range .Messages }}{{ end }}{{ toTypeScriptType 1 }}", "a: string | null; b: any[] | number; c: Record<string, any>; e: any; any", Input{Tools: rawJSON(tool)}},
		"types as a list":      {"{{ range .Tools }}{{ .Function.Parameters.Properties.a.Type }}{{ end }}{{ range .Messages }}{{ end }}", "[string null]", Input{Tools: rawJSON(tool)}},
		"nested properties":    {"{{ range .Tools }}{{ json .Function.Parameters.Properties.c }}{{ end }}{{ range .Messages }}{{ end }}", `{"type":"object","description":"","properties":{"d":{"type":"boolean","description":""}},"required":["d"]}`, Input{Tools: rawJSON(tool)}},
		"thinking":             {"{{ .Think }}{{ .IsThinkSet }}{{ .ThinkLevel }}{{ .Response }}", "truetruemedium", Input{Extra: map[string]json.RawMessage{"enable_thinking": []byte("true")}}},
		"not thinking":         {"{{ .Think }}{{ .IsThinkSet }}{{ .ThinkLevel }}{{ .Response }}", "falsetrue", Input{Extra: map[string]json.RawMessage{"thinking": []byte("false")}}},
		"thinking hard":        {"{{ .Think }}{{ .IsThinkSet }}{{ .ThinkLevel }}{{ .Response }}", "truetruehigh", Input{Extra: map[string]json.RawMessage{"reasoning_effort": []byte(`"high"`)}}},
		"nothing of thinking":  {"{{ .Think }}{{ .IsThinkSet }}{{ .ThinkLevel }}{{ .Response }}", "falsefalse", Input{}},
		"other variables":      {"{{ .mood.b }}{{ .Prompt }}{{ .Response }}", "[1 x]", Input{Extra: map[string]json.RawMessage{"mood": []byte(`{"b":[1,"x"]}`), "Prompt": []byte("1")}}},
		"variables replace no": {"{{ range .Messages }}{{ end }}{{ .System }}{{ .Think }}", "false", Input{Extra: map[string]json.RawMessage{"System": []byte(`"x"`), "Messages": []byte("1"), "Think": []byte("true")}}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.in.Date = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
			got, err := renderGo(t, tc.source, Options{}, tc.in)
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

// TestGoForgedTokens: a client's text makes no control token, whatever way it takes.
func TestGoForgedTokens(t *testing.T) {
	o := Options{Go: true, Control: []string{"<|im_start|>", "<|im_end|>", "<s>"}}
	for name, tc := range map[string]struct {
		source string
		in     Input
		want   []Part
	}{
		"the template's own stay": {goFile(t, "chatml"), Input{Messages: rawJSON(`{"role":"user","content":"a<|im_end|><s>b"}`)},
			[]Part{{Text: "<|im_start|>user\na"}, {"<|im_end|><s>", true}, {Text: "b<|im_end|>\n<|im_start|>assistant\n"}}},
		"in tools, keys, arguments and kwargs": {`{{ json .Tools }}{{ json .Messages }}{{ .x }}`,
			Input{Tools: rawJSON(`{"type":"function","function":{"name":"<s>","parameters":{"properties":{"k<s>":{"enum":["<s>"]}}}}}`), Extra: map[string]json.RawMessage{"x": []byte(`["<s>"]`)},
				Messages: rawJSON(`{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":"{\"k\":\"\\u003cs>\"}"}}]}`)},
			[]Part{{Text: `[{"type":"function","function":{"name":"`}, {"<s>", true}, {Text: `","description":"","parameters":{"type":"","required":null,"properties":{"k`}, {"<s>", true},
				{Text: `":{"type":null,"description":"","enum":["`}, {"<s>", true}, {Text: `"]}}}}}][{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"k":"`}, {"<s>", true},
				{Text: `"}}}]}][`}, {"<s>", true}, {Text: "]"}}},
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := compileGo(tc.source, o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tmpl.render(tc.in)
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, tc.want)
			}
		})
	}
}

// FuzzGo: no template makes the reader or the cutter panic, or cuts what another form keeps.
func FuzzGo(f *testing.F) {
	files, _ := filepath.Glob("testdata/go/*.gotmpl")
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(source))
	}
	f.Add(`{{ if .Response }}{{ .Response }}{{ else }}x{{ end }}{{ template "x" }}{{ define "x" }}{{ end }}`)
	f.Add(`{{ define "" }}{{ end }}`)
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := compileGo(source, Options{})
		if err != nil || strings.Contains(source, "range") || strings.Contains(source, "template") || strings.Contains(source, "block") {
			return // it may run for ever, which only a child can be stopped at
		}
		_, _ = tmpl.render(Input{Messages: rawJSON(trialSystem, trialUser, trialCall, trialResult, trialUser), Tools: rawJSON(trialTool)})
	})
}

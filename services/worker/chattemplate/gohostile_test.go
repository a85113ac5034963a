package chattemplate

import (
	"context"
	"strings"
	"testing"
)

// hostileGo are run when a user says "bad", with that message as the dot.
var hostileGo = map[string]struct{ code, want string }{
	"endless recursion": {`{{ template "self" $ }}`, "without end"},
	"endless range":     {`{{ range 1000000000000 }}{{ end }}`, "runs longer"},
	"nested ranges":     {`{{ range 1000000 }}{{ range 1000000 }}{{ end }}{{ end }}`, "runs longer"},
	"doubling":          {`{{ $x := "aaaaaaaa" }}{{ range 99 }}{{ $x = printf "%s%s" $x $x }}{{ end }}`, "memory"},
	"wide numbers":      {`{{ range 9999 }}{{ printf "%999999d" 1 }}{{ end }}`, "1 MiB"},
	"huge output":       {`{{ range 99999999 }}aaaaaaaaaaaaaaaa{{ end }}`, "1 MiB"},
	"a bit too much":    {`{{ range 1048577 }}a{{ end }}`, "1 MiB"},
	"quoting quotes":    {`{{ $x := "\"" }}{{ range 99 }}{{ $x = json $x }}{{ end }}`, "memory"},
	"nil deref":         {`{{ .Nope.Nope }}`, "Nope"},
	"nil in a map":      {`{{ $.Nope.Nope }}`, "nil pointer"},
	"bad types":         {`{{ len 1 }}`, "len"},
	"compares apples":   {`{{ eq 1 "a" }}`, "incompatible types"},
	"index too large":   {`{{ index $.Messages 99 }}`, "out of range"},
	"slice too large":   {`{{ slice $.Messages 99 }}`, "out of range"},
	"calls no function": {`{{ call "x" }}`, "call"},
	"no such template":  {`{{ template "nope" }}`, "not defined"},
	"not JSON":          {`{{ json (print) (print) }}`, "json"},
	"reads into itself": {`{{ range .ToolCalls }}{{ end }}{{ .Role.UnmarshalJSON "x" }}`, "UnmarshalJSON"},
}

// TestHostileGo: whatever a template does, it ends, and the renderer goes on.
func TestHostileGo(t *testing.T) {
	for name, tc := range hostileGo {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, err := newRenderer(ctx, `{{ define "self" }}{{ template "self" . }}{{ end }}`+
				`{{ range .Messages }}{{ if eq .Content "bad" }}`+tc.code+`{{ else }}<{{ .Content }}>{{ end }}{{ end }}`, Options{Go: true}, patience)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			r.wantGood(t)
			r.limit = Deadline
			_, err = r.Render(ctx, chat("bad"))
			wantBad(t, err, "")
			r.limit = patience
			r.wantGood(t)
			if err != nil && !strings.Contains(err.Error(), tc.want) { // the machine was too busy to come to the reason
				_, err = r.Render(ctx, chat("bad"))
				wantBad(t, err, tc.want)
			}
		})
	}
}

// TestHostileGoNew: a template that is hostile from the start, or is none.
func TestHostileGoNew(t *testing.T) {
	deep := func(n int, open, close string) string {
		return strings.Repeat(open, n) + "1" + strings.Repeat(close, n)
	}
	for name, tc := range map[string]struct{ source, want string }{
		"endless":         {"{{ range 1000000000000 }}{{ end }}", "runs longer"},
		"recursion":       {`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`, "without end"},
		"calls its root":  {`{{ .Prompt }}{{ template "" . }}`, "without end"},
		"deep brackets":   {"{{" + deep(400_000, "(", ")") + "}}", ""},
		"deep blocks":     {deep(60_000, "{{if 1}}", "{{end}}"), ""},
		"long pipe":       {"{{ 1" + strings.Repeat("|print", 150_000) + " }}", ""},
		"many templates":  {strings.Repeat(`{{ define "a" }}{{ end }}`, 20_000), ""},
		"large":           {strings.Repeat("x", MaxSource+1), "at most 1048576"},
		"no end":          {"{{ if 1 }}", "unexpected EOF"},
		"unknown":         {"{{ exec }}", `function "exec" not defined`},
		"open string":     {`{{ "a }}`, "unterminated"},
		"not UTF-8":       {"{{ \xff }}", ""},
		"silent":          {"{{ range .Messages }}{{ end }}", "does not write a user's message"},
		"Jinja":           {"{% for m in messages %}{{ m.role }}{% endfor %}", `function "m" not defined`},
		"an empty define": {`{{ define "" }}{{ end }}`, "does not write"},
		"nothing":         {"", "does not write"},
		"no field":        {"{{ range .Messages }}{{ .Nope }}{{ end }}", "Nope"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			_, err := New(ctx, tc.source, Options{Go: true})
			wantBad(t, err, "")
			if tc.want != "" && err != nil && !strings.Contains(err.Error(), tc.want) {
				_, err = newRenderer(ctx, tc.source, Options{Go: true}, patience)
				wantBad(t, err, tc.want)
			}
		})
	}
}

// TestGoRefusal: what a client may say wrong.
func TestGoRefusal(t *testing.T) {
	r, err := newRenderer(t.Context(), "{{ range .Messages }}<{{ .Content }}>{{ end }}", Options{Go: true}, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, tc := range map[string]struct {
		message, tool, want string
	}{
		"arguments":      {`{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}`, "", "messages[0]: arguments: must be a JSON object"},
		"broken":         {`{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}`, "", "messages[0]: arguments: must be a JSON object"},
		"no object":      {`[]`, "", "messages[0]: must be an object"},
		"deep":           {`{"role":"user","content":"","x":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`, "", "deeper"},
		"a tool's types": {`{"role":"user","content":""}`, `{"function":{"name":"f","parameters":{"properties":{"a":{"type":1}}}}}`, "tools[0]: type: must be"},
		"no schema":      {`{"role":"user","content":""}`, `{"function":{"name":"f","parameters":{"properties":[]}}}`, "tools[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			in := Input{Messages: rawJSON(tc.message)}
			if tc.tool != "" {
				in.Tools = rawJSON(tc.tool)
			}
			_, err := r.Render(t.Context(), in)
			wantBad(t, err, tc.want)
			r.wantGood(t)
		})
	}
}

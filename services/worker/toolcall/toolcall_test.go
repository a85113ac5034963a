package toolcall

import (
	"fmt"
	"strings"
	"testing"
)

var offered = []string{"f", "get_weather", "special_function"}

// options for a test's format, with ids that are counted.
func options(f Format, reasoning, inThinking bool) Options {
	n := 0
	return Options{Format: f, Tools: offered, Reasoning: reasoning, InThinking: inThinking,
		NewID: func() string { n++; return fmt.Sprintf("id%d", n) }}
}

// run gives the pieces to a parser and returns its joined result: one line an event, neighbours of one
// kind as one.
func run(o Options, pieces ...string) string {
	p := New(o)
	var events []Event
	for _, s := range pieces {
		events = p.Add(events, s)
	}
	events = p.End(events)
	var out strings.Builder
	for i, e := range events {
		join := i > 0 && e.Text != "" && events[i-1].Kind == e.Kind
		if !join && i > 0 {
			out.WriteByte('\n')
		}
		switch {
		case join:
			out.WriteString(e.Text)
		case e.Kind == ToolBegin:
			fmt.Fprintf(&out, "%d %s %s(", e.Index, e.ID, e.Name)
		case e.Kind == ToolEnd:
			fmt.Fprintf(&out, "%d )", e.Index)
		default:
			fmt.Fprintf(&out, "%v: %s", e.Kind, e.Text)
		}
	}
	if p.Broken() {
		out.WriteString("\nBROKEN")
	}
	return out.String()
}

// cuts calls try with text whole, by characters, and in every two pieces.
func cuts(text string, try func(pieces ...string)) {
	try(text)
	try(strings.Split(text, "")...)
	for i := range text {
		try(text[:i], text[i:])
	}
}

// called is the lines of run for one call.
func called(n int, id, name, args string) string {
	return fmt.Sprintf("%d %s %s(\ntool_arguments: %s\n%d )", n, id, name, args, n)
}

func lines(s ...string) string { return strings.Join(s, "\n") }

func TestReasoning(t *testing.T) {
	fCall := called(0, "id1", "f", `{}`)
	for name, tc := range map[string]struct {
		format     Format
		inThinking bool
		text, want string
	}{
		"block":             {"", false, "<think>\nHm,\nso.\n</think>\n\nHello \n", "reasoning: Hm,\nso.\ncontent: Hello \n"},
		"space before":      {"", false, "\n <think>Hm</think>Hello", "reasoning: Hm\ncontent: Hello"},
		"empty":             {"", false, "<think>\n\n</think>\n\nHello", "content: Hello"},
		"none":              {"", false, " \nHello", "content:  \nHello"},
		"later":             {"", false, "So <think>Hm</think>", "content: So <think>Hm</think>"},
		"second":            {"", false, "<think>a</think><think>b</think>", "reasoning: a\ncontent: <think>b</think>"},
		"never closed":      {"", false, "<think>Hm </thin", "reasoning: Hm </thin"},
		"half opened":       {"", false, " <thi", "content:  <thi"},
		"in thinking":       {"", true, "\nHm </b> \n</think>\nHello", "reasoning: Hm </b>\ncontent: Hello"},
		"opened twice":      {"", true, "<think>\nHm</think>Hello", "reasoning: Hm\ncontent: Hello"},
		"in, never closed":  {"", true, "Hm \n", "reasoning: Hm \n"},
		"call in reasoning": {Hermes, false, "<think><tool_call>{</think>Hi", "reasoning: <tool_call>{\ncontent: Hi"},
		"then Hermes":       {Hermes, false, "<think>a</think>\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>", lines("reasoning: a", fCall)},
		"then Llama":        {Llama3, true, "a</think>\n{\"name\": \"f\", \"parameters\": {}}", lines("reasoning: a", fCall)},
		"then Mistral":      {Mistral, true, "a</think>[TOOL_CALLS]f[ARGS]{}", lines("reasoning: a", fCall)},
		"then DeepSeek":     {DeepSeek, true, "a</think>\n<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}", lines("reasoning: a", fCall)},
		"then a separator":  {Llama3, true, "a</think>; b", "reasoning: a\ncontent: ; b"},
	} {
		t.Run(name, func(t *testing.T) {
			cuts(tc.text, func(pieces ...string) {
				if got := run(options(tc.format, true, tc.inThinking), pieces...); got != tc.want {
					t.Fatalf("%q:\n%s\nwant\n%s", pieces, got, tc.want)
				}
			})
		})
	}
}

// The arguments come while they are written, and text is not held back without need.
func TestStreams(t *testing.T) {
	p := New(options(Hermes, false, false))
	for _, step := range []struct{ add, want string }{
		{"Hi", "content Hi"}, {" there <", "content  there"}, {"b", "content  <b"}, {"<tool", ""},
		{`_call>{"name": "f", "arg`, ""}, {`uments":`, ""}, {` {"a`, `tool_begin tool_arguments {"a`},
		{`": "é`, `tool_arguments ": "é`}, {`"}`, `tool_arguments "} tool_end`}, {`}`, ""}, {"</tool_call>", ""}, {"x", "content x"},
	} {
		var got []string
		for _, e := range p.Add(nil, step.add) {
			got = append(got, strings.TrimSuffix(e.Kind.String()+" "+e.Text, " "))
		}
		if s := strings.Join(got, " "); s != step.want {
			t.Errorf("after %q: %q, want %q", step.add, s, step.want)
		}
	}
	if p.Calls() != 1 || p.Broken() || len(p.End(nil)) != 0 || len(p.Add(nil, "x")) != 0 {
		t.Errorf("calls %d, broken %v", p.Calls(), p.Broken())
	}
}

func TestMadeIDs(t *testing.T) {
	for format, text := range map[Format]string{
		Hermes:  strings.Repeat(`<tool_call>{"name":"f","arguments":{}}`, 3),
		Mistral: strings.Repeat(`[TOOL_CALLS]f{}`, 3),
	} {
		seen := map[string]bool{}
		for _, e := range New(Options{Format: format}).Add(nil, text) {
			if e.Kind != ToolBegin {
				continue
			}
			seen[e.ID] = true
			if format == Mistral && len(e.ID) != 9 || format == Hermes && !strings.HasPrefix(e.ID, "call_") || !validName(e.ID) && format == Hermes {
				t.Errorf("%s: id %q", format, e.ID)
			}
		}
		if len(seen) != 3 {
			t.Errorf("%s: %d ids", format, len(seen))
		}
	}
}

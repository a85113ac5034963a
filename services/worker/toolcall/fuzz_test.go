package toolcall

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

var formats = []Format{"", Hermes, Llama3, Mistral, DeepSeek}

// randomCut cuts text between characters, into pieces of up to six.
func randomCut(text string, r *rand.Rand) []string {
	var pieces []string
	chars := strings.Split(text, "")
	for len(chars) > 0 {
		n := 1 + r.IntN(min(6, len(chars)))
		pieces, chars = append(pieces, strings.Join(chars[:n], "")), chars[n:]
	}
	return pieces
}

func FuzzParser(f *testing.F) {
	for i, cases := range []map[string]struct{ text, want string }{hermesCases, llama3Cases, mistralCases, deepSeekCases} {
		for _, tc := range cases {
			f.Add(tc.text, byte(i+1), uint64(i))
			f.Add("<think>a</think>\n"+tc.text, byte(i+1)|16, uint64(i))
			f.Add("a</think> "+tc.text+tc.text, byte(i+1)|32, uint64(i))
		}
	}
	f.Fuzz(checkText)
}

// Random sequences of what formats are made of reach what random bytes do not.
func TestFragments(t *testing.T) {
	fragments := []string{
		" ", "\n", strings.Repeat(" ", MaxSpace-3), "a", "é", "<", "[", "{", "}", "]", ",", ";", `"`, `\`, `\"`, ":", "f", "1",
		thinkOpen, thinkClose, hermesOpen, hermesClose, pythonTag, mistralOpen, mistralID, mistralArgs, deepSeekList, deepSeekOpen,
		deepSeekSep, deepSeekClose, deepSeekListEnd, fence, "json\n", "function", "123456789", `"name": "f"`, `"id": "123456789"`,
		`"arguments": {`, `"parameters": {}`, `{"name": "f", "arguments": {"a": "`, `{"name": "f", "parameters": {}}`, `"}`, `}}`,
		`{"arguments": {"b": [1, {}]}, "name": "g"}`, "get_weather", "f{}", "<tool", "[TOOL", "<｜tool▁call", "</th",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var text strings.Builder
		for range 1 + r.IntN(8) {
			text.WriteString(fragments[r.IntN(len(fragments))])
		}
		checkText(t, text.String(), byte(r.IntN(64)), r.Uint64())
	}
}

// checkText checks what holds for any text: how says the options, seed where it is cut.
func checkText(t *testing.T, text string, how byte, seed uint64) {
	format := formats[int(how&15)%len(formats)]
	reasoning, inThinking := how&16 != 0, how&32 != 0
	made := func() Options { return options(format, reasoning, inThinking) }
	whole := run(made(), text)
	if got := run(made(), strings.Split(text, "")...); got != whole {
		t.Fatalf("%s: by characters:\n%s\nwhole:\n%s", format, got, whole)
	}
	pieces := randomCut(text, rand.New(rand.NewPCG(seed, 0)))
	if got := run(made(), pieces...); got != whole {
		t.Fatalf("%s: as %q:\n%s\nwhole:\n%s", format, pieces, got, whole)
	}
	p := New(made())
	content := wellFormed(t, p.End(p.Add(nil, text)), utf8.ValidString(text))
	// DeepSeek's mark of a list is dropped even if no call follows.
	if p.Calls() == 0 && !reasoning && !inThinking && content != text && !strings.Contains(text, deepSeekList) {
		t.Fatalf("%s: no call, but text was lost: %q", format, content)
	}
}

// wellFormed checks what every sequence of events must be, and returns its content.
func wellFormed(t *testing.T, events []Event, characters bool) string {
	t.Helper()
	var content, args strings.Builder
	ids := map[string]bool{}
	open, next := false, 0
	for i, e := range events {
		if (e.Text != "") == (e.Kind == ToolBegin || e.Kind == ToolEnd) || characters && !utf8.ValidString(e.Text) {
			t.Fatalf("event %d: text %q", i, e.Text)
		}
		switch e.Kind {
		case ToolBegin:
			if open || e.Index != next || !validName(e.Name) || e.ID == "" || ids[e.ID] {
				t.Fatalf("event %d: %+v", i, e)
			}
			args.Reset()
			open, ids[e.ID] = true, true
			next++
		case ToolArguments:
			if !open || e.Index != next-1 {
				t.Fatalf("event %d: %+v", i, e)
			}
			args.WriteString(e.Text)
		case ToolEnd:
			if !open || e.Index != next-1 || !json.Valid([]byte(args.String())) || args.String()[0] != '{' {
				t.Fatalf("event %d: %+v of %q", i, e, args.String())
			}
			open = false
		case Reasoning:
			if next > 0 {
				t.Fatalf("event %d: reasoning after a call", i)
			}
		case Content:
			content.WriteString(e.Text)
			open = false // broken: no more arguments may come
		}
	}
	return content.String()
}

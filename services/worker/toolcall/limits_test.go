package toolcall

import (
	"strings"
	"testing"
)

const oneCall = `<tool_call>{"name": "f", "arguments": {}}`

// heldArguments is a call whose arguments of about n bytes come before its name.
func heldArguments(n int) string {
	return `<tool_call>{"arguments": {"a": "` + strings.Repeat("é", n/2) + `"}, "name": "f"}`
}

func nested(n int) string {
	return `<tool_call>{"name": "f", "arguments": ` + strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) + "}"
}

func TestLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		text   string
		calls  int
		broken bool
	}{
		"held":           {heldArguments(MaxHeld - 100), 1, false},
		"held too long":  {heldArguments(MaxHeld + 100), 0, true},
		"the other half": {" " + heldArguments(MaxHeld+100), 0, true},
		"streamed":       {`<tool_call>{"name": "f", "arguments": {"a": "` + strings.Repeat("x", 2*MaxHeld) + `"}}`, 1, false},
		"deep":           {nested(MaxDepth - 1), 1, false},
		"too deep":       {nested(MaxDepth), 1, true},
		"calls":          {strings.Repeat(oneCall, MaxCalls+3), MaxCalls, false},
		"calls in a tag": {oneCall + strings.Repeat(`{"name": "f", "arguments": {}}`, MaxCalls+2), MaxCalls, false},
		"name":           {`<tool_call>{"name": "` + strings.Repeat("f", MaxName) + `", "arguments": {}}`, 1, false},
		"long name":      {`<tool_call>{"name": "` + strings.Repeat("f", MaxName+1) + `", "arguments": {}}`, 0, true},
		"space":          {"<tool_call>" + strings.Repeat(" ", 3*MaxSpace) + "<tool_call>", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			whole, p := run(options(Hermes, false, false), tc.text), New(options(Hermes, false, false))
			wellFormed(t, p.End(p.Add(nil, tc.text)), true)
			if p.Calls() != tc.calls || p.Broken() != tc.broken {
				t.Errorf("%d calls, broken %v", p.Calls(), p.Broken())
			}
			if got := run(options(Hermes, false, false), strings.Split(tc.text, "")...); got != whole {
				t.Error("by characters it is another result")
			}
			if tc.calls == 0 && whole != "content: "+tc.text+"\nBROKEN" {
				t.Error("text was lost")
			}
			if got := strings.Count(whole, "content: "); tc.calls == MaxCalls && got != 1 {
				t.Errorf("what follows the last call: %d contents", got)
			}
		})
	}
}

// Whatever a model repeats, a parser keeps no more of it than it says.
func TestHeldIsBounded(t *testing.T) {
	for _, format := range formats {
		for _, begin := range append(format.Markers(), "", "[", "[{", "{", thinkOpen, "<think>a", "<tool_call>{", "[TOOL_CALLS][{", "a", "<tool_call>"+`{"x":"`) {
			for _, more := range []string{" ", "a", "{", `"`, "<", "[", "0", ";", "é"} {
				p := New(options(format, true, false))
				p.Add(nil, begin)
				for range 2 * MaxHeld / 2048 {
					p.Add(nil, strings.Repeat(more, 2048))
					if len(p.held) > 2*MaxSpace || len(p.call.raw) > MaxHeld+4 {
						t.Fatalf("%s: %q and then %q: %d and %d bytes are held", format, begin, more, len(p.held), len(p.call.raw))
					}
				}
			}
		}
	}
	p := New(options(Hermes, false, false))
	p.Add(nil, "<tool_call>")
	for range MaxHeld {
		p.Add(nil, " ")
	}
	if !p.Broken() || len(p.call.raw) > 0 {
		t.Errorf("white space after a marker: %d bytes are held", len(p.call.raw))
	}
}

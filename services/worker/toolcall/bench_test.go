package toolcall

import (
	"strings"
	"testing"
)

// BenchmarkAdd is one token's text a call, in plain content, in content with markers looked for and in
// arguments.
func BenchmarkAdd(b *testing.B) {
	for name, tc := range map[string]struct {
		format        Format
		before, token string
	}{
		"plain":     {"", "", " token"},
		"content":   {Hermes, "", " token"},
		"space":     {Hermes, "", "token "},
		"reasoning": {Hermes, "<think>", " token"},
		"arguments": {Hermes, `<tool_call>{"name": "f", "arguments": {"a": "`, " token"},
		"long":      {Hermes, "", strings.Repeat(" token", 1000)},
		"longArgs":  {Hermes, `<tool_call>{"name": "f", "arguments": {"a": "`, strings.Repeat(" token", 1000)},
	} {
		b.Run(name, func(b *testing.B) {
			p := New(Options{Format: tc.format, Reasoning: true})
			events := p.Add(nil, tc.before+"x")
			b.SetBytes(int64(len(tc.token)))
			b.ReportAllocs()
			for b.Loop() {
				events = p.Add(events[:0], tc.token)
			}
		})
	}
}

// Text with nothing to hold back must not allocate: this runs for each token of each answer.
func TestAddDoesNotAllocate(t *testing.T) {
	for _, before := range []string{"", "<think>", `<tool_call>{"name": "f", "arguments": {"a": "`} {
		p := New(Options{Format: Hermes, Reasoning: true})
		events := p.Add(make([]Event, 0, 16), before+"x")
		if n := testing.AllocsPerRun(100, func() { events = p.Add(events[:0], " token") }); n != 0 || len(events) != 1 {
			t.Errorf("after %q: %v allocations, %d events", before, n, len(events))
		}
	}
}

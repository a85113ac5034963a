package llamacpp

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/chattemplate"
	"github.com/rbee-project/rbee/services/worker/grammar"
)

// thinking has a model that says what it is told think before it answers. Each character is a token
// with a bias, the first with the largest; the penalty takes it away again once it is said.
func thinking(says string, v *vocabulary) map[string]any {
	bias := map[string]any{}
	for i := range len(says) {
		bias[strconv.Itoa(slices.Index(v.pieces, says[i:i+1]))] = 100 - 3*i
	}
	return map[string]any{"logit_bias": bias, "repeat_penalty": 10, "repeat_last_n": len(says) + 2, "max_tokens": 200}
}

// TestRulesAfterThought: a format, or a call that must be made, binds what comes after the thinking.
func TestRulesAfterThought(t *testing.T) {
	e := templated(t, bees.Endless, chattemplate.Builtin("chatml")+`{{ '<think>' + '\n' * 20 }}`)
	if got := e.Info().Models[0].Capabilities; !slices.Contains(got, messages.CanReason) || !slices.Contains(got, messages.CanTools) {
		t.Errorf("it can %v", got)
	}
	fields := thinking("ZQ</think>", e.session.vocab)
	for _, stream := range []bool{false, true} {
		req := chat("hello", with(fields, "response_format", jsonSchema(`{"enum":[[1,"x"],[2,"y"]]}`)))
		req.Stream = stream
		s := first(t, e, req)
		if s.thought != "ZQ" || validator(t, `{"enum":[[1,"x"],[2,"y"]]}`)(s.text) != nil || s.finish != "stop" {
			t.Errorf("stream %t: thought %q, said %q (%s)", stream, s.thought, s.text, s.finish)
		}
		req = chat("hello", with(fields, "tools", tools("weather"), "tool_choice", "required"))
		req.Stream = stream
		s = first(t, e, req)
		if s.thought != "ZQ" || len(s.calls) != 1 || s.finish != "tool_calls" || s.text != "" || validator(t, functions["weather"])(s.calls[0].Function.Arguments) != nil {
			t.Errorf("stream %t: thought %q, said %q (%s), called %+v", stream, s.thought, s.text, s.finish, s.calls)
		}
	}
	// Free, the same goes on after its thinking with whatever it likes.
	if s := first(t, e, chat("hello", with(fields, "max_tokens", 30))); s.thought != "ZQ" || !strings.Contains(s.text, "The queen") && s.text == "" {
		t.Errorf("free: %q, %q", s.thought, s.text)
	}
}

// TestEndWhileThinking: bee-tiny ends after its sentence, which is not yet the answer that was asked for.
func TestEndWhileThinking(t *testing.T) {
	source := chattemplate.Builtin("chatml") + `{{ '<think>' }}`
	e := templated(t, bees.Tiny, source)
	for _, stream := range []bool{false, true} {
		req := chat("hello", map[string]any{"response_format": jsonSchema(`{"const":5}`), "max_tokens": 90})
		req.Stream = stream
		r := get(t, e, req)
		if c := r.choices[0]; c.finish != "length" || c.text != "" || !strings.HasPrefix(c.thought, bees.Sentence) || r.usage.CompletionTokens != 90 {
			t.Errorf("stream %t: thought %q, said %q (%s)", stream, c.thought, c.text, c.finish)
		}
	}
	if c := first(t, e, chat("hello", nil)); c.finish != "stop" || c.thought != bees.Sentence || c.text != "" {
		t.Errorf("free: %+v", c)
	}
	// The same model with a token for the end of thinking.
	e = templated(t, bees.Tiny, source)
	e.session.vocab.pieces[slices.Index(e.session.vocab.pieces, "~")] = thoughtEnd
	c := first(t, e, chat("hello", map[string]any{"response_format": jsonSchema(`{"const":5}`)}))
	if c.finish != "stop" || c.thought != bees.Sentence || c.text != "5" {
		t.Errorf("with a token: thought %q, said %q (%s)", c.thought, c.text, c.finish)
	}
	c = first(t, e, chat("hello", map[string]any{"tools": tools("stop"), "tool_choice": "required"}))
	if c.finish != "tool_calls" || c.thought != bees.Sentence || len(c.calls) != 1 {
		t.Errorf("with a token: thought %q, called %+v (%s)", c.thought, c.calls, c.finish)
	}
}

// TestRules: they hold from the end of </think> on, however tokens cut it.
func TestRules(t *testing.T) {
	g, err := grammar.Parse(`root ::= "ab"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"</think>", "hm</think>", "<</think>", "</thin</think>", strings.Repeat("x", 500) + "</think>", "</ think></think>"} {
		for size := 1; size < 12; size++ {
			r := newRules(&job{rules: g, afterThought: true})
			for rest := says; rest != ""; {
				n := min(size, len(rest))
				if r.hold() {
					t.Fatalf("%q in pieces of %d: they hold before %q", says, size, rest)
				}
				if tail := len(rest) - n; tail > 0 && tail < len(thoughtEnd) && size > 1 {
					n = len(rest) - tail // a piece never goes over the end
				}
				if err := r.accept(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if !r.hold() || r.accept("a") != nil || r.accept("x") == nil || r.accept("b") != nil || !r.state.MustEnd() {
				t.Errorf("%q in pieces of %d: they do not hold", says, size)
			}
		}
	}
	if newRules(&job{}).hold() {
		t.Error("no rules hold")
	}
}

package llamacpp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
)

// TestPenalties compares greedy answers with the penalties' formulas, which see the prompt, too.
func TestPenalties(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 2, ContextLength: 256})
	b := newBare(t, e)
	prompt := []llama.Token{300, 60, 80, 300, 60, 301}
	const bias = 35 // on a token that the prompt ends with: without penalties the answer repeats it
	free := func(n int, blind bool, lastN int, repeat, frequency, presence float64) string {
		return b.text(b.answer(prompt, n, func(x []float32, all []llama.Token) llama.Token {
			x[301] += bias
			if blind {
				all = all[len(prompt):]
			}
			count := map[llama.Token]int{}
			for _, tok := range all[max(0, len(all)-lastN):] {
				count[tok]++
			}
			for tok, n := range count {
				if x[tok] <= 0 {
					x[tok] *= float32(repeat)
				} else {
					x[tok] /= float32(repeat)
				}
				x[tok] -= float32(n)*float32(frequency) + float32(presence)
			}
			return argmax(x)
		}))
	}
	plain := free(40, false, 0, 1, 0, 0)
	seen := false
	for _, tc := range []struct {
		lastN                       int
		repeat, frequency, presence float64
	}{
		{64, 1, 0, 0}, {64, 1.3, 0, 0}, {64, 4, 0, 0}, {8, 1.3, 0, 0}, {64, 1, 2, 0}, {64, 1, -2, 0}, {20, 1, 1.1, 0}, {64, 1, 0, 2}, {3, 1, 0, 2}, {-1, 1.2, 1, 1}, {-1, 1, 2, 0}, {0, 10, 2, 2}, {64, 0.5, 0, 0},
	} {
		lastN, n := tc.lastN, 40
		if lastN < 0 {
			lastN, n = 256, 110
		}
		want := free(n, false, lastN, tc.repeat, tc.frequency, tc.presence)
		seen = seen || want != free(n, true, lastN, tc.repeat, tc.frequency, tc.presence)
		got := first(t, e, text(prompt, map[string]any{"max_tokens": n, "repeat_last_n": tc.lastN, "repeat_penalty": tc.repeat,
			"frequency_penalty": tc.frequency, "presence_penalty": tc.presence, "logit_bias": map[string]any{"301": bias}}))
		if got.text != want {
			t.Errorf("%+v: %q, want %q", tc, got.text, want)
		}
		if strong := tc.lastN != 0 && (tc.repeat > 2 || tc.frequency > 1.5); strong && got.text == plain {
			t.Errorf("%+v changes nothing", tc)
		}
	}
	if !seen {
		t.Error("it makes no difference whether the prompt is seen: the test tests nothing")
	}
}

// TestDry: bee-endless repeats its sentence; a strong penalty leaves no piece of four tokens twice.
func TestDry(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Endless), Slots: 1, ContextLength: 512})
	v := e.session.vocab
	twice := func(fields map[string]any) (n int) {
		tokens := v.of(t, bees.Sentence, true, false)
		tokens = append(tokens, v.ids(t, first(t, e, chat(bees.Sentence, with(fields, "max_tokens", 150, "logprobs", true))).tokens)...)
		known := map[string]bool{}
		for i := range len(tokens) - 3 {
			key := fmt.Sprint(tokens[i : i+4])
			if known[key] {
				n++
			}
			known[key] = true
		}
		return n
	}
	dry := map[string]any{"dry_multiplier": 100, "dry_sequence_breakers": []string{"\n"}}
	if n := twice(dry); n > 0 {
		t.Errorf("%d pieces come twice", n)
	}
	if n := twice(nil); n < 50 {
		t.Errorf("without DRY %d pieces come twice: the test tests nothing", n)
	}
	for name, weak := range map[string]map[string]any{
		"a long piece may repeat": with(dry, "dry_allowed_length", 200),
		"it looks back not far":   with(dry, "dry_penalty_last_n", 10),
		"every word breaks it":    with(dry, "dry_sequence_breakers", []string{" "}),
	} {
		if n := twice(weak); n < 20 {
			t.Errorf("%s: %d pieces come twice", name, n)
		}
	}
}

func TestLogitBias(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: 256})
	plain := first(t, e, chat("hive", map[string]any{"max_tokens": 20, "logprobs": true}))
	if got := first(t, e, chat("hive", map[string]any{"max_tokens": 20, "logit_bias": map[string]any{"90": 100}})); got.text != strings.Repeat(e.session.vocab.pieces[90], 20) {
		t.Errorf("forced: %q", got.text)
	}
	banned := map[string]any{}
	for _, tok := range e.session.vocab.ids(t, plain.tokens) {
		banned[fmt.Sprint(tok)] = -100
	}
	other := first(t, e, chat("hive", map[string]any{"max_tokens": 20, "logprobs": true, "logit_bias": banned}))
	for _, tok := range e.session.vocab.ids(t, other.tokens) {
		if banned[fmt.Sprint(tok)] != nil {
			t.Errorf("token %d is banned and was said", tok)
		}
	}
	if _, err := try(t.Context(), t, e, chat("hive", map[string]any{"logit_bias": map[string]any{"512": 1}})); err == nil || !strings.Contains(err.Error(), "logit_bias") {
		t.Errorf("a token that is none: %v", err)
	}
}

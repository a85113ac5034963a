package llamacpp

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// TestLogprobs compares what a client is told with the softmax of the bare loop's logits, before
// anything that sampling does to them.
func TestLogprobs(t *testing.T) {
	for _, model := range []string{bees.Random, bees.Qwen} {
		e := loaded(t, Config{ModelPath: bee(t, model), Slots: 2, ContextLength: 256})
		b := newBare(t, e)
		for _, fields := range []map[string]any{
			{"top_logprobs": 5}, {"top_logprobs": 20, "temperature": 2, "seed": 1, "top_k": 0, "top_p": 1}, {"top_logprobs": 1}, {},
			{"top_logprobs": 3, "repeat_penalty": 3, "logit_bias": map[string]any{"90": 30}, "temperature": 1, "seed": 2},
			{"top_logprobs": 2, "mirostat": 2, "temperature": 1, "seed": 3}, {"top_logprobs": 4, "response_format": map[string]any{"type": "json_object"}},
		} {
			req := chat("hive", with(fields, "logprobs", true, "max_tokens", 20))
			a, err := e.prepare(t.Context(), e.session, mustParse(t, req))
			if err != nil {
				t.Fatal(err)
			}
			r := get(t, e, req)
			said := r.choices[0].tokens
			if len(said) != r.usage.CompletionTokens || len(said) == 0 {
				t.Errorf("%d logprobs, %d tokens", len(said), r.usage.CompletionTokens)
			}
			ids := e.session.vocab.ids(t, said)
			for i, logits := range b.follow(a.prompt, ids) {
				checkTold(t, b, said[i], newSpot(logits, ids[i]), fields)
			}
		}
	}
}

func checkTold(t *testing.T, b *bare, x told, pl spot, fields map[string]any) {
	t.Helper()
	if want := math.Log(pl.p[pl.chosen]); math.Abs(x.Logprob-want) > 1e-3 {
		t.Errorf("%v: %q has %g, want %g", fields, x.Token, x.Logprob, want)
	}
	want, _ := fields["top_logprobs"].(int)
	if len(x.Top) != want {
		t.Fatalf("%v: %d alternatives", fields, len(x.Top))
	}
	if pl.rank < want && !slices.ContainsFunc(x.Top, func(a told) bool { return a.Token == x.Token && a.Logprob == x.Logprob }) {
		t.Errorf("%v: %q is number %d and not among the top", fields, x.Token, pl.rank)
	}
	for i, a := range x.Top {
		if math.Abs(a.Logprob-math.Log(pl.p[pl.order[i]])) > 1e-3 {
			t.Errorf("%v: number %d has %g, want %g", fields, i, a.Logprob, math.Log(pl.p[pl.order[i]]))
		}
		if i > 0 && a.Logprob > x.Top[i-1].Logprob {
			t.Errorf("%v: the top is not sorted: %v", fields, x.Top)
		}
		if tok := pl.order[i]; i > 0 && i+1 < len(x.Top) && pl.p[tok] > 0 && a.Token != b.s.vocab.shown(llama.Token(tok)) {
			t.Errorf("%v: number %d is %q, want %q", fields, i, a.Token, b.s.vocab.shown(llama.Token(tok)))
		}
	}
}

// TestLogprobsAreAll: all probabilities of a place together are 1.
func TestLogprobsAreAll(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: 256})
	b := newBare(t, e)
	v := e.session.vocab
	prompt := v.of(t, "hive worker", true, false)
	for _, logits := range b.follow(prompt, v.of(t, " honey flower sting", false, false)) {
		lp := logprobs(logits, v, 40, len(v.pieces))
		sum := 0.0
		for i, x := range lp.Top {
			sum += math.Exp(float64(x.Logprob))
			if i > 0 && x.Logprob > lp.Top[i-1].Logprob {
				t.Fatalf("not sorted at %d", i)
			}
		}
		if len(lp.Top) != len(v.pieces) || math.Abs(sum-1) > 1e-4 {
			t.Errorf("%d of them together are %g", len(lp.Top), sum)
		}
	}
	// What softmax cannot say still is a number that JSON can write.
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	for _, logits := range [][]float32{{0, -inf, -inf}, {-inf, -inf, -inf}, {inf, 0, 1}, {nan, 1, 2}, {1e30, -1e30, 0}} {
		for _, x := range append(logprobs(logits, v, 1, 3).Top, logprobs(logits, v, 1, 0)) {
			if !(x.Logprob >= leastLogprob && x.Logprob <= 0) {
				t.Errorf("%v: %g", logits, x.Logprob)
			}
		}
	}
}

// TestLogprobsStreamed: the same tokens whole and streamed, with a stop string that hides some of them,
// and with several choices.
func TestLogprobsStreamed(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 2, ContextLength: 256})
	plain := first(t, e, chat("hive", map[string]any{"max_tokens": 24})).text
	for name, fields := range map[string]map[string]any{
		"plain": {}, "a stop string": {"stop": plain[10:14]}, "held back": {"stop": []string{plain[len(plain)-3:] + "never"}},
		"choices": {"n": 3, "temperature": 1.5, "seed": 3}, "one token": {"max_tokens": 1},
	} {
		for _, task := range []string{"chat", "completion"} {
			fields := with(map[string]any{"max_tokens": 24, "logprobs": true, "top_logprobs": 2}, flat(fields)...)
			req := chat("hive", fields)
			if task == "completion" {
				delete(fields, "top_logprobs")
				req = text("hive", with(fields, "logprobs", 2))
			}
			whole, stream := get(t, e, req), get(t, e, asStream(req))
			total := 0
			for i, w := range whole.choices {
				s := stream.choices[i]
				total += len(w.tokens)
				if w.text != s.text || !alike(w.tokens, s.tokens) || !slices.Equal(w.offsets, s.offsets) {
					t.Errorf("%s, %s, choice %d:\n whole %q %v\nstream %q %v", name, task, i, w.text, w.tokens, s.text, s.tokens)
				}
				if all := joined(w.tokens); !strings.HasPrefix(all, w.text) || name != "a stop string" && all != w.text {
					t.Errorf("%s, %s, choice %d: the tokens say %q, the text is %q", name, task, i, all, w.text)
				}
			}
			if total != whole.usage.CompletionTokens || total != stream.usage.CompletionTokens {
				t.Errorf("%s, %s: %d logprobs, %d and %d tokens", name, task, total, whole.usage.CompletionTokens, stream.usage.CompletionTokens)
			}
		}
	}
	if s := first(t, e, chat("hive", map[string]any{"max_tokens": 4})); s.tokens != nil {
		t.Errorf("logprobs that nobody asked for: %v", s.tokens)
	}
}

// alike compares what was told twice: the second time the prompt is in another batch, which rounds
// otherwise.
func alike(a, b []told) bool {
	return slices.EqualFunc(a, b, func(x, y told) bool {
		return x.Token == y.Token && string(x.Bytes) == string(y.Bytes) && math.Abs(x.Logprob-y.Logprob) < 1e-3 && alike(x.Top, y.Top)
	})
}

func joined(tokens []told) string {
	var b strings.Builder
	for _, x := range tokens {
		b.WriteString(x.Token)
	}
	return b.String()
}

func flat(fields map[string]any) (out []any) {
	for k, v := range fields {
		out = append(out, k, v)
	}
	return out
}

// TestLogprobsOfBytes: a token that is a part of a character has its bytes, and the text is whole.
func TestLogprobsOfBytes(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: 256})
	req := chat("hive", map[string]any{"logprobs": true, "grammar": `root ::= "a\U0001F41Dé"`})
	for _, r := range []engine.Request{req, asStream(req)} {
		s := first(t, e, r)
		var all []byte
		for _, x := range s.tokens {
			all = append(all, x.Bytes...)
		}
		if s.text != "a🐝é" || string(all) != s.text || len(s.tokens) < 3 {
			raw, _ := json.Marshal(s.tokens)
			t.Errorf("%q: %s", s.text, raw)
		}
	}
}

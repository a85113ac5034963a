package llamacpp

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

// tokenized is a text's tokens.
func tokenized(t testing.TB, e *Engine, content string, fields ...any) []int {
	t.Helper()
	raw, _ := whole(t, e, oneObject(messages.TaskTokenize, with(map[string]any{"content": content}, fields...)))
	var o struct{ Tokens []int }
	if err := json.Unmarshal(raw, &o); err != nil || o.Tokens == nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return o.Tokens
}

// detokenized is the text of tokens.
func detokenized(t testing.TB, e *Engine, tokens []int) string {
	t.Helper()
	raw, _ := whole(t, e, oneObject(messages.TaskDetokenize, map[string]any{"tokens": tokens}))
	var o struct{ Content *string }
	if err := json.Unmarshal(raw, &o); err != nil || o.Content == nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return *o.Content
}

// randomText is of words, special tokens, spaces, control characters and characters of every width.
func randomText(r *rand.Rand) string {
	bits := []string{"queen", " The", "<|im_start|>", "<|im_end|>", "[CLS]", "\n", "  ", "\t", "\x01", "é", "日本", "🐝", "\u200d", "\uFFFD", "'s", "1234", "{\"a\":"}
	var b strings.Builder
	for range r.IntN(30) {
		if r.IntN(3) == 0 {
			b.WriteRune(rune(1 + r.IntN(0xD7FF)))
		} else {
			b.WriteString(bits[r.IntN(len(bits))])
		}
	}
	return b.String()
}

// Any text is what its tokens say, with special tokens and without; also while no slot is free.
func TestTokensAndBack(t *testing.T) {
	for _, model := range []string{bees.Tiny, bees.Qwen, bees.Embed} {
		t.Run(model, func(t *testing.T) {
			e := loaded(t, Config{ModelPath: bee(t, model), Slots: 1})
			if _, err := e.reserve(); err != nil {
				t.Fatal(err)
			}
			e.readers.Done()
			defer e.release(1)
			r := rand.New(rand.NewPCG(1, 2))
			texts := []string{"", " ", "a", strings.Repeat("queen ", 20_000)}
			for range 300 {
				texts = append(texts, randomText(r))
			}
			for _, text := range texts {
				for _, special := range []bool{true, false} {
					if got := detokenized(t, e, tokenized(t, e, text, "parse_special", special)); got != text {
						t.Errorf("special %v: got %.200q, want %.200q", special, got, text)
					}
				}
			}
		})
	}
}

func TestTokenizeOptions(t *testing.T) {
	tiny, embed := loaded(t, Config{ModelPath: bee(t, bees.Tiny)}), loaded(t, Config{ModelPath: bee(t, bees.Embed)})
	plain := tokenized(t, embed, "queen")
	if got := tokenized(t, embed, "queen", "add_special", true); len(got) != len(plain)+2 ||
		got[0] != int(embed.session.vocab.bos) || got[len(got)-1] != int(embed.session.vocab.eos) {
		t.Errorf("%v, without special tokens %v", got, plain)
	}
	if got := tokenized(t, tiny, "<|im_end|>"); len(got) != 1 || got[0] != int(tiny.session.vocab.eos) {
		t.Errorf("a special token is %v", got)
	}
	if got := tokenized(t, tiny, "<|im_end|>", "parse_special", false); len(got) < 2 {
		t.Errorf("its text is %v", got)
	}
	const text = "The 🐝<|im_end|>"
	ids := tokenized(t, tiny, text)
	raw, u := whole(t, tiny, oneObject(messages.TaskTokenize, map[string]any{"content": text, "with_pieces": true}))
	var o struct {
		Tokens []struct {
			ID    int
			Piece json.RawMessage
		}
	}
	if err := json.Unmarshal(raw, &o); err != nil || len(o.Tokens) != len(ids) || u.PromptTokens != 0 {
		t.Fatalf("%s, %+v: %v", raw, u, err)
	}
	var all []byte
	lists := 0
	for i, x := range o.Tokens {
		var s string
		var b []int
		if json.Unmarshal(x.Piece, &s) != nil {
			if err := json.Unmarshal(x.Piece, &b); err != nil {
				t.Error(err)
			}
			lists++
		}
		all = append(all, s...)
		for _, c := range b {
			all = append(all, byte(c))
		}
		if x.ID != ids[i] {
			t.Errorf("token %d is %d, want %d", i, x.ID, ids[i])
		}
	}
	if string(all) != text || lists == 0 {
		t.Errorf("%q, %d pieces that are no text", all, lists)
	}
	if got := detokenized(t, tiny, ids[:len(ids)-2]); !strings.HasSuffix(got, "\uFFFD") {
		t.Errorf("half a character is %q", got)
	}
	if got := detokenized(t, tiny, []int{}); got != "" {
		t.Errorf("nothing is %q", got)
	}
}

func TestTokensRefused(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Tiny)})
	fails(t, e, oneObject(messages.TaskTokenize, map[string]any{}), messages.CodeBadRequest, "content: is missing")
	fails(t, e, oneObject(messages.TaskTokenize, map[string]any{"content": "a\x00"}), messages.CodeBadRequest, "content: must not contain a NUL")
	fails(t, e, oneObject(messages.TaskDetokenize, map[string]any{}), messages.CodeBadRequest, "tokens: is missing")
	fails(t, e, oneObject(messages.TaskDetokenize, map[string]any{"tokens": []int{1, 512}}), messages.CodeBadRequest, "tokens[1]: 512 is no token of this model, which has 512")
	fails(t, e, oneObject(messages.TaskDetokenize, map[string]any{"tokens": []int{-1}}), messages.CodeBadRequest, "tokens[0]: -1 is no token")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	fails(t, e, oneObject(messages.TaskTokenize, map[string]any{"content": "a"}), messages.CodeUnavailable, "closing")
	fresh := unloaded(t, Config{ModelPath: "m.gguf"})
	fails(t, fresh, oneObject(messages.TaskTokenize, map[string]any{"content": "a"}), messages.CodeUnavailable, "not loaded")
	fails(t, fresh, oneObject(messages.TaskEmbedding, map[string]any{"input": "a"}), messages.CodeUnavailable, "not loaded")
}

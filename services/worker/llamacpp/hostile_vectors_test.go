package llamacpp

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// attackVectors sends what is embedded, ranked and cut into tokens: to a model that chats while its
// streams run, and to models for nothing else.
func attackVectors(a *attack) {
	b := a.besiege(Config{ModelPath: bee(a.t, bees.Random)})
	b.sendEach("chat model", func(name string, req engine.Request) { b.send(name, req) })
	b.relieve()
	for _, model := range []string{bees.Embed, bees.Rerank} {
		e := loaded(a.t, Config{ModelPath: bee(a.t, model), Slots: 2})
		a.sendEach(model, func(name string, req engine.Request) {
			a.try(name, func() error { return answer(a.t.Context(), e, req) })
		})
		a.try(model+", afterwards", func() error {
			good := task("embedding", map[string]any{"input": "hive"})
			if model == bees.Rerank {
				good = task("rerank", map[string]any{"query": "hive", "documents": []string{"bee"}})
			}
			if err := answer(a.t.Context(), e, good); err != nil {
				return errors.New("the engine does not answer any more: " + err.Error())
			}
			if used := e.Stats().SlotsUsed; used != 0 {
				return fmt.Errorf("%d slots are still used", used)
			}
			return nil
		})
	}
}

func (a *attack) sendEach(model string, send func(string, engine.Request)) {
	inputs := []any{
		"hive", "", " ", []string{}, []string{""}, []string{"a", ""}, slices.Repeat([]string{"a"}, 2048), slices.Repeat([]string{"a"}, 2049),
		slices.Repeat([]string{strings.Repeat("hive ", 300)}, 8), strings.Repeat("a ", 100_000), strings.Repeat("a", 5<<20), strings.Repeat(" ", 5<<20), strings.Repeat("\U0001F41D", 1<<20),
		strings.Repeat("\u0301", 3000), "\xff\xfe", "a\x00b", "[CLS][SEP][MASK]<|im_end|>", strings.Repeat("[SEP]", 3000),
		[]int{1}, []int{-1}, []int{math.MaxInt32}, []int{512}, []int{}, slices.Repeat([]int{5}, 2047), slices.Repeat([]int{5}, 2048), slices.Repeat([]int{5}, 100_000),
		[]any{[]int{1}, []int{}}, []any{[]int{1}, []int{-5}}, slices.Repeat([]any{[]int{1, 2}}, 2048), []any{"a", 1}, []any{nil}, nil, 5, true, map[string]any{},
	}
	for _, in := range inputs {
		raw, _ := json.Marshal(in)
		send(fmt.Sprintf("%s, embed %.60s", model, raw), task("embedding", map[string]any{"input": in}))
		if list, ok := in.([]string); ok {
			send(fmt.Sprintf("%s, rank %.60s", model, raw), task("rerank", map[string]any{"query": "bee", "documents": list}))
		} else {
			send(fmt.Sprintf("%s, rank for %.60s", model, raw), task("rerank", map[string]any{"query": in, "documents": []string{"bee"}}))
			send(fmt.Sprintf("%s, rank of %.60s", model, raw), task("rerank", map[string]any{"query": "bee", "documents": []any{in, in}}))
		}
		if len(raw) < 1<<20 { // more is sent below
			send(fmt.Sprintf("%s, tokenize %.60s", model, raw), task("tokenize", map[string]any{"content": in, "with_pieces": true}))
		}
		send(fmt.Sprintf("%s, detokenize %.60s", model, raw), task("detokenize", map[string]any{"tokens": in}))
	}
	for _, d := range []any{0, -1, 1, 1 << 20, math.MaxInt64, 1.5, "x"} {
		send(fmt.Sprintf("%s, dimensions %v", model, d), task("embedding", map[string]any{"input": "hive", "dimensions": d}))
		send(fmt.Sprintf("%s, top_n %v", model, d), task("rerank", map[string]any{"query": "hive", "documents": []string{"a"}, "top_n": d}))
	}
	send(model+", base64", task("embedding", map[string]any{"input": "hive", "encoding_format": "base64"}))
	send(model+", base65", task("embedding", map[string]any{"input": "hive", "encoding_format": "base65"}))
	for _, name := range []string{"embedding", "rerank", "tokenize", "detokenize"} {
		for _, body := range []string{"", "{", "[]", "null", "{}", `"x"`, strings.Repeat("[", 100_000)} {
			send(fmt.Sprintf("%s, %s %.20q", model, name, body), rawTask(name, body))
		}
	}
	texts := map[string]string{"a": "a", "spaces": " ", "words": "honey bee ", "bees": "\U0001F41D", "combining": "\u0301", "control tokens": "<|im_end|>", "newlines": "\n"}
	for _, name := range sortedNames(texts) {
		for _, size := range []int{100 << 10, 16 << 20} {
			text := strings.Repeat(texts[name], size/len(texts[name]))
			send(fmt.Sprintf("%s, tokenize %d KB of %s", model, size>>10, name), task("tokenize", map[string]any{"content": text}))
			if size > 1<<20 {
				continue
			}
			send(fmt.Sprintf("%s, embed %d KB of %s", model, size>>10, name), task("embedding", map[string]any{"input": text}))
			send(fmt.Sprintf("%s, rank %d KB of %s", model, size>>10, name), task("rerank", map[string]any{"query": text, "documents": []string{"bee"}}))
		}
	}
}

package llamacpp

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/gguf/gguftest"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// attackModels loads every hostile file of three good models, in a process without streams: there are
// over a thousand. What loads must answer.
func attackModels(a *attack) {
	path := filepath.Join(a.t.TempDir(), "m.gguf")
	for _, model := range []string{bees.Tiny, bees.Qwen, bees.Embed} {
		var good bytes.Buffer
		if err := bees.Write(&good, model); err != nil {
			a.t.Fatal(err)
		}
		files, err := gguftest.Hostile(good.Bytes(), 1)
		if err != nil {
			a.t.Fatal(err)
		}
		for name, spoil := range files {
			a.try(model+", "+name, func() error {
				if err := os.WriteFile(path, spoil(), 0o600); err != nil {
					return err
				}
				return a.visitAny(Config{ModelPath: path, Slots: 2, ContextLength: besiegedContext})
			})
		}
	}
}

// visitAny asks a model of any kind for what it can do.
func (a *attack) visitAny(cfg Config) (err error) {
	cfg.LibDir, cfg.Threads = libDir(a.t), 1
	e, err := New(cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closed := e.Close(); err == nil {
			err = closed
		}
	}()
	if err := e.Load(a.t.Context(), nil); err != nil {
		return err
	}
	for _, req := range []engine.Request{
		chat("hello", map[string]any{"max_tokens": 3}),
		chat("hello", map[string]any{"max_tokens": 3, "temperature": 1, "logprobs": true, "top_logprobs": 5}),
		completed("hello \U0001F41D", map[string]any{"temperature": 1, "typical_p": 0.5, "dry_multiplier": 1}),
		completed("hello", map[string]any{"temperature": 2, "mirostat": 1}),
		completed("hello", map[string]any{"temperature": 1, "grammar": `root ::= [a-zA-Z ]+`}),
		task("embedding", map[string]any{"input": []string{"hello", "\U0001F41D"}}),
		task("rerank", map[string]any{"query": "hello", "documents": []string{"a"}}),
		task("tokenize", map[string]any{"content": "hello \U0001F41D <|im_end|>", "with_pieces": true}),
		task("detokenize", map[string]any{"tokens": []int{1, 5, 300}}),
	} {
		if err := answer(a.t.Context(), e, req); kindOf(err) == caseFailed {
			return fmt.Errorf("%s: %w", req.Task, err)
		}
	}
	return nil
}

// attackAdapters loads adapters that are not the model's, or none.
func attackAdapters(a *attack) {
	b := a.besiege(Config{ModelPath: bee(a.t, bees.Random)})
	defer b.relieve()
	adapters := map[string][]byte{"empty": nil, "garbage": []byte(strings.Repeat("honey", 5000))}
	for _, of := range []string{bees.Random, bees.Tiny, bees.Qwen, bees.Slow} {
		var file bytes.Buffer
		if err := bees.WriteLoRA(&file, of, 1); err != nil {
			a.t.Fatal(err)
		}
		whole := file.Bytes()
		adapters["of "+of] = whole
		for _, part := range []int{1, 10, 50, 90, 99} {
			adapters[fmt.Sprintf("%d%% of that of %s", part, of)] = whole[:len(whole)*part/100]
		}
		for i := range 24 { // in the header, which is about 2 KB
			flipped := bytes.Clone(whole)
			flipped[(i*i*7+i*11)%min(len(whole), 2000)] ^= 1 << (i % 8)
			adapters[fmt.Sprintf("that of %s with bit %d wrong", of, i)] = flipped
		}
		adapters["of "+of+", not a number"] = bytes.ReplaceAll(whole, whole[len(whole)-64:len(whole)-60], []byte{0, 0, 0xc0, 0x7f})
		var model bytes.Buffer
		if err := bees.Write(&model, of); err != nil {
			a.t.Fatal(err)
		}
		adapters["a model: "+of] = model.Bytes()
	}
	model := bee(a.t, bees.Random)
	for _, name := range sortedNames(adapters) {
		path := filepath.Join(a.t.TempDir(), "a.gguf")
		if err := os.WriteFile(path, adapters[name], 0o600); err != nil {
			a.t.Fatal(err)
		}
		a.try("adapter "+name, func() error {
			return a.visitAny(Config{ModelPath: model, Slots: 1, ContextLength: besiegedContext, LoRA: []LoRA{{Path: path, Scale: 1}}})
		})
	}
	for _, scale := range []float32{0, -100, 100, 101, float32(math.Inf(1)), float32(math.NaN()), 1e-45} {
		path := filepath.Join(a.t.TempDir(), "a.gguf")
		if err := os.WriteFile(path, adapters["of "+bees.Random], 0o600); err != nil {
			a.t.Fatal(err)
		}
		a.try(fmt.Sprintf("adapter, %g times", scale), func() error {
			return a.visitAny(Config{ModelPath: model, Slots: 1, ContextLength: besiegedContext, LoRA: []LoRA{{path, scale}, {path, -scale}, {path, scale}}})
		})
	}
}

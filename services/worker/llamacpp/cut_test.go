package llamacpp

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

func TestPieceEnd(t *testing.T) {
	v := &vocabulary{bpe: true, controls: []string{"<|im_end|>"}}
	v.controlStart['<'] = true
	a := strings.Repeat("a", longestRun)
	words := strings.Repeat("word ", 2000)
	for name, tc := range map[string]struct {
		text string
		want int
	}{
		"empty":            {"", 0},
		"short":            {"hello 12", 8},
		"as long as it is": {a, longestRun},
		"one too long":     {a + "b", longestRun},
		"broken by spaces": {a + " " + a, 2*longestRun + 1},
		"capitals too":     {a + "B", longestRun},
		"of wide letters":  {strings.Repeat("語", longestRun+1), 3 * longestRun},
		"with marks":       {strings.Repeat("e\u0301", longestRun), 3 * longestRun / 2},
		"digits":           {strings.Repeat("7", longestRun+1), longestRun},
		"white space":      {strings.Repeat(" \n", longestRun), longestRun},
		"signs":            {strings.Repeat("=!", longestRun), longestRun},
		"between words":    {words, pieceBytes + 3},
		"before a control": {strings.Repeat("9 ", pieceBytes/2) + "<|im_end|>9", pieceBytes},
		"not before a <":   {strings.Repeat("9 ", pieceBytes/2) + "<|im 9", pieceBytes + 6},
	} {
		if got := v.pieceEnd(tc.text, true); got != tc.want {
			t.Errorf("%s: %d bytes, want %d", name, got, tc.want)
		}
	}
}

// withSplitter is a bee whose text is split as another model's is.
func withSplitter(t *testing.T, pre string) *Engine {
	path := filepath.Join(t.TempDir(), "m.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := bees.WriteChanged(f, bees.Tiny, "tokenizer.ggml.pre", pre); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return loaded(t, Config{ModelPath: path, Slots: 1})
}

// TestCutAsAWhole: a long text's tokens are those of llama.cpp for the whole of it.
func TestCutAsAWhole(t *testing.T) {
	text := strings.Repeat("The queen's 12 hives (and 3,400 bees) hum.\n\n  Größe 語は 🐝!\t", 300) + "<|im_end|>\n<|im_start|>user " + strings.Repeat("ok 1. ", 2000)
	for _, pre := range []string{"gpt-2", "llama-bpe", "qwen2", "deepseek-v3", "tekken"} {
		v := withSplitter(t, pre).session.vocab
		for _, special := range []bool{true, false} {
			got, err := v.cut(t.Context(), text, true, special)
			if want := llama.Tokenize(v.handle, text, true, special); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, special %t: %d tokens in pieces, %d as a whole, %v", pre, special, len(got), len(want), err)
			}
		}
	}
}

// TestLongTexts: llama.cpp's own std::regex, which some models' text is split with, recurses for each
// letter, and the search for special tokens takes the square of their number.
func TestLongTexts(t *testing.T) {
	e := withSplitter(t, "deepseek-coder")
	for _, text := range []string{strings.Repeat("a", 200_000), strings.Repeat(" ", 200_000), strings.Repeat("7", 200_000),
		strings.Repeat("語", 60_000), strings.Repeat("<|im_end|>a", 10_000)} {
		req := engine.Request{ID: "r", Model: "m", Task: messages.TaskTokenize, Body: fmt.Appendf(nil, `{"content":%q}`, text)}
		began := time.Now()
		if _, err := e.Infer(t.Context(), req, func([]byte) error { return nil }); err != nil {
			t.Errorf("%.10s…: %v after %v", text, err, time.Since(began))
		}
		if _, err := enginetest.Ask(t.Context(), e, chat(text[:39_999], map[string]any{"max_tokens": 1})); err != nil && messages.CodeOf(err) != messages.CodeContextFull {
			t.Error(err)
		}
	}
}

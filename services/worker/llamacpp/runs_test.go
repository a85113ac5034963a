package llamacpp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

func TestRuns(t *testing.T) {
	a := strings.Repeat("a", longestRun)
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
	} {
		if got := runs(tc.text); got != tc.want {
			t.Errorf("%s: %d bytes, want %d", name, got, tc.want)
		}
	}
}

// TestLongRunsDoNotEndTheProcess: llama.cpp's own std::regex, which some models' text is split with,
// recurses for each letter.
func TestLongRunsDoNotEndTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := bees.WriteChanged(f, bees.Tiny, "tokenizer.ggml.pre", "deepseek-coder"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	e := loaded(t, Config{ModelPath: path, Slots: 1})
	for _, text := range []string{strings.Repeat("a", 200_000), strings.Repeat(" ", 200_000), strings.Repeat("7", 200_000), strings.Repeat("語", 200_000)} {
		req := engine.Request{ID: "r", Model: "m", Task: messages.TaskTokenize, Body: []byte(`{"content":"` + text + `"}`)}
		if _, err := e.Infer(t.Context(), req, func([]byte) error { return nil }); err != nil {
			t.Error(err)
		}
		if _, err := enginetest.Ask(t.Context(), e, chat(text[:39_999], map[string]any{"max_tokens": 1})); err != nil && messages.CodeOf(err) != messages.CodeContextFull {
			t.Error(err)
		}
	}
}

package chattemplate

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ardanlabs/jinja"
)

// conversations are those of testdata/conversations.json.
func conversations(t *testing.T) map[string]Input {
	t.Helper()
	raw, err := os.ReadFile("testdata/conversations.json")
	if err != nil {
		t.Fatal(err)
	}
	var in map[string]struct {
		Messages []json.RawMessage
		Tools    []json.RawMessage
		Extra    map[string]json.RawMessage
		Add      *bool `json:"add_generation_prompt"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	out := map[string]Input{}
	for name, c := range in {
		out[name] = Input{Messages: c.Messages, Tools: c.Tools, Extra: c.Extra, AddGenerationPrompt: c.Add == nil || *c.Add,
			Date: time.Date(2026, 3, 5, 14, 7, 9, 0, time.UTC)}
	}
	return out
}

// golden compares every template of a folder with what Jinja2 itself made of it (testdata/golden.py).
func golden(t *testing.T, templates, want string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(want, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files in %s: %v", want, err)
	}
	inputs := conversations(t)
	for _, file := range files {
		stem := strings.TrimSuffix(filepath.Base(file), ".txt")
		i := strings.LastIndexByte(stem, '.')
		t.Run(stem, func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join(templates, stem[:i]+".jinja"))
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			goldenOne(t, string(source), inputs[stem[i+1:]], string(want))
		})
	}
}

func goldenOne(t *testing.T, source string, in Input, want string) {
	t.Helper()
	tmpl, err := compile(source, Options{BOS: "<BOS>", EOS: "<EOS>"})
	if err != nil {
		t.Fatal(err)
	}
	// No trial renders: the golden files are of the messages as they are.
	parts, err := tmpl.render(in)
	got := joinText(parts)
	var said raised
	switch {
	case errors.As(err, &said):
		got = "!raised " + string(said)
	case err != nil:
		got = "!failed " + err.Error()
	}
	if strings.HasPrefix(want, "!failed ") {
		t.Skipf("Jinja2 fails: %s; we: %.300q", want, got)
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s\n%s", got, want, firstDifference(got, want))
	}
}

func firstDifference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	near := func(s string) string { return s[max(0, i-60):min(len(s), i+60)] }
	return "got  …" + near(got) + "…\nwant …" + near(want) + "…"
}

// TestGolden holds our templates, whose heads name the formats that they write.
func TestGolden(t *testing.T) { golden(t, "builtin", "testdata/golden") }

// TestGoldenFeatures goes through what Jinja can do.
func TestGoldenFeatures(t *testing.T) { golden(t, "testdata/features", "testdata/features") }

// TestGoldenLibrary holds models' real templates, which lie in the library's own test data: Qwen/Qwen3-8B,
// Qwen/Qwen3.5-35B-A3B, mistralai/Ministral-3-14B-Instruct-2512, openai/gpt-oss-20b (all Apache-2.0) and
// deepseek-ai/DeepSeek-V4-Flash (MIT), each tokenizer_config.json or chat_template.jinja.
func TestGoldenLibrary(t *testing.T) {
	pc := reflect.ValueOf(jinja.Compile).Pointer()
	file, _ := runtime.FuncForPC(pc).FileLine(pc)
	dir := filepath.Join(filepath.Dir(file), "testdata", "templates")
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the library's source is not here: go mod download, and no -trimpath: %v", err)
	}
	golden(t, dir, "testdata/library")
}

// TestGoldenFolder does the same for any folder of templates: golden.py DIR DIR makes its golden files.
func TestGoldenFolder(t *testing.T) {
	dir := os.Getenv("RBEE_CHAT_TEMPLATES")
	if dir == "" {
		t.Skip("RBEE_CHAT_TEMPLATES names no folder")
	}
	golden(t, dir, dir)
}

package llamacpp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/worker/chattemplate"
	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/engine"
)

func TestMain(m *testing.M) {
	chattemplate.Main()
	goleak.VerifyTestMain(m)
}

// libDir is the folder with llama.cpp's libraries.
func libDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("RBEE_LLAMA_LIB")
	if dir == "" {
		t.Fatal("RBEE_LLAMA_LIB is not set: run `make libs` and set it to the folder that it prints")
	}
	return dir
}

// bee writes one of the test models and returns its path.
func bee(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".gguf")
	if err := bees.WriteFile(path, name); err != nil {
		t.Fatal(err)
	}
	return path
}

// unloaded is an engine on one thread: more spin against each other on a busy machine.
func unloaded(t testing.TB, cfg Config) *Engine {
	t.Helper()
	cfg.LibDir, cfg.Threads = libDir(t), 1
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func loaded(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e := unloaded(t, cfg)
	if err := e.Load(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func chat(content string, fields map[string]any) engine.Request {
	body := map[string]any{
		"messages":    []any{map[string]any{"role": "user", "content": content}},
		"temperature": 0,
	}
	for k, v := range fields {
		body[k] = v
	}
	raw, _ := json.Marshal(body) // maps of plain values
	return engine.Request{ID: "r", Model: "m", Task: "chat", Body: raw}
}

func mustParse(t testing.TB, req engine.Request) completion.Params {
	t.Helper()
	p, err := completion.Parse(req.Task, req.Body)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

//go:build slow

package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/hive/catalog/ollama/registrytest"
)

// What the real Ollama has pushed into a real registry is pulled, loads and answers.
func TestSlowRunWhatOllamaPushed(t *testing.T) {
	r := registrytest.Start(t)
	gguf := filepath.Join(t.TempDir(), "bee.gguf")
	if err := bees.WriteFile(gguf, bees.Tiny); err != nil {
		t.Fatal(err)
	}
	registrytest.PushWithOllama(t, r, gguf, "bee:pushed")
	t.Setenv("RBEE_OLLAMA_REGISTRY", r.URL)
	c := start(t)
	if out := c.ok(t, "run", "ollama:bee:pushed", "Hello"); !strings.HasPrefix(out, "The queen") {
		t.Errorf("answer %q", out)
	}
	w := c.workers(t)
	if len(w) != 1 || w[0].ModelID != "ollama:bee:pushed" || w[0].ContextLength != 512 {
		t.Errorf("workers %+v", w)
	}
	code, answer := c.post(t, context.Background(), "/v1/chat/completions", `{"model":"ollama:bee:pushed","messages":[{"role":"user","content":"hi"}]}`)
	if code != 200 || !strings.Contains(answer, "queen") {
		t.Errorf("%d %s", code, answer)
	}
}

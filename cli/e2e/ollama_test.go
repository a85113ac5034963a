package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/hive/catalog/ollama/registrytest"
)

// A model of a real registry is pulled with its template, parameters and system message, and these are used.
func TestPullFromOllamaRegistry(t *testing.T) {
	r := registrytest.Start(t)
	gguf := filepath.Join(t.TempDir(), "bee.gguf")
	if err := bees.WriteFile(gguf, bees.Tiny); err != nil {
		t.Fatal(err)
	}
	r.Push(t, "bee", "tiny", registrytest.Model(gguf), registrytest.Text("template", "{{ .System }} {{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"),
		registrytest.Text("params", `{"num_predict":3,"temperature":0}`), registrytest.Text("system", "You are a bee."), registrytest.Text("license", "MIT License"))
	t.Setenv("RBEE_OLLAMA_REGISTRY", r.URL)
	c := start(t)
	c.ok(t, "model", "pull", "ollama:bee:tiny")
	w := c.spawn(t, "ollama:bee:tiny")
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(w.PID), "cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--go-template=", "--params=", "--system="} {
		if !strings.Contains(string(line), flag) {
			t.Errorf("the worker was started without %s: %q", flag, line)
		}
	}
	code, answer := c.post(t, context.Background(), "/v1/chat/completions", `{"model":"ollama:bee:tiny","messages":[{"role":"user","content":"hi"}]}`)
	if code != 200 || !strings.Contains(answer, `"completion_tokens":3`) {
		t.Errorf("num_predict is not used: %d %s", code, answer)
	}
	if m := models(t, c.dir)[0]; m.ID != "ollama:bee:tiny" || m.License == "" || m.Architecture != "llama" {
		t.Errorf("%+v", m)
	}
	c.rbee(t, "model", "pull", "ollama:wasp").says(t, 1, "wasp")
}

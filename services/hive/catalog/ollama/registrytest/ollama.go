package registrytest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// OllamaVariable is the environment variable with the path of Ollama's binary. Version 0.9.6 is built by
// go install with cgo; its server needs nothing else to make and push models.
const OllamaVariable = "RBEE_OLLAMA_BIN"

// What [PushWithOllama] writes into its Modelfile. The parameters are temperature 0.25, num_ctx 512 and
// the stops "<|im_end|>" and "STOP".
const (
	OllamaTemplate = "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}" +
		"<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
	OllamaSystem  = "You are a bee."
	OllamaLicense = "MIT License\n\nPermission is hereby granted, free of charge, to bees."
)

const ollamaLimit = 5 * time.Minute

// PushWithOllama makes a model of the GGUF file at gguf with the real Ollama ("ollama create") and pushes
// it ("ollama push") as name, which has a tag: "x:small" or "namespace/x:small". Ollama keeps its things
// in folders of the test and is killed at the end. Without its binary the test fails and says how to get it.
func PushWithOllama(t testing.TB, r *Registry, gguf, name string) {
	t.Helper()
	bin := binary(t, OllamaVariable, "github.com/ollama/ollama@v0.9.6")
	if !strings.Contains(name, "/") {
		name = "library/" + name
	}
	name = strings.TrimPrefix(r.URL, "http://") + "/" + name
	home := t.TempDir()
	modelfile := filepath.Join(home, "Modelfile")
	text := fmt.Sprintf("FROM %s\nTEMPLATE \"\"\"%s\"\"\"\nSYSTEM \"\"\"%s\"\"\"\nLICENSE \"\"\"%s\"\"\"\n"+
		"PARAMETER temperature 0.25\nPARAMETER num_ctx 512\nPARAMETER stop \"<|im_end|>\"\nPARAMETER stop STOP\n",
		gguf, OllamaTemplate, OllamaSystem, OllamaLicense)
	if err := os.WriteFile(modelfile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "HOME="+home, "OLLAMA_MODELS="+filepath.Join(home, "models"), "OLLAMA_DEBUG=0")
	serve := exec.Command(bin, "serve")
	serve.Env = append(env, "OLLAMA_HOST=127.0.0.1:0")
	addr := listening(t, serve, regexp.MustCompile(`Listening on (127\.0\.0\.1:\d+)`))
	defer func() { _ = serve.Process.Kill() }()
	ctx, cancel := context.WithTimeout(t.Context(), ollamaLimit)
	defer cancel()
	for _, args := range [][]string{{"create", name, "-f", modelfile}, {"push", "--insecure", name}} {
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Env = append(env, "OLLAMA_HOST="+addr)
		cmd.WaitDelay = 5 * time.Second
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			t.Fatalf("ollama %s: %v\n%s", args[0], err, out.String())
		}
	}
}

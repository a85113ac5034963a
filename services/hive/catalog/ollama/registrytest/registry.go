// Package registrytest runs a real OCI registry for tests (github.com/distribution/distribution/v3, the
// binary that RBEE_REGISTRY_BIN names) and puts models into it as Ollama does.
package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"
)

// BinaryVariable is the environment variable with the path of the registry's binary.
const BinaryVariable = "RBEE_REGISTRY_BIN"

const (
	startLimit = 30 * time.Second
	askLimit   = 2 * time.Minute // of one request of a push
	keptLog    = 16 << 10        // bytes of a child's output that a failure shows
)

// Registry is a running registry.
type Registry struct {
	// URL is its base address, "http://127.0.0.1:41231".
	URL string
	// Dir is where it keeps its blobs; "" if it does so in memory.
	Dir string

	client *http.Client
	tokens *Tokens
}

// Option changes how a registry starts.
type Option func(r *Registry, config map[string]any)

// OnDisk keeps the blobs in files under dir.
func OnDisk(dir string) Option {
	return func(r *Registry, config map[string]any) {
		r.Dir = dir
		config["storage"] = map[string]any{"filesystem": map[string]any{"rootdirectory": dir}}
	}
}

// Redirecting answers requests for blobs by a redirect to the file's path in the store ([Registry.Dir])
// below the address base, as registries with a CDN do.
func Redirecting(base string) Option {
	return func(_ *Registry, config map[string]any) {
		config["middleware"] = map[string]any{"storage": []any{
			map[string]any{"name": "redirect", "options": map[string]any{"baseurl": base}},
		}}
	}
}

// Guarded wants a token of tokens for every request.
func Guarded(tokens *Tokens) Option {
	return func(r *Registry, config map[string]any) {
		r.tokens = tokens
		config["auth"] = map[string]any{"token": map[string]any{
			"realm": tokens.URL, "service": tokenService, "issuer": tokenIssuer, "jwks": tokens.keyFile,
		}}
	}
}

// Start runs a registry on a free port of 127.0.0.1 until the test ends. Blobs are kept in memory unless
// an option says otherwise. Without its binary the test fails and says how to get it.
func Start(t testing.TB, options ...Option) *Registry {
	t.Helper()
	bin := binary(t, BinaryVariable, "github.com/distribution/distribution/v3/cmd/registry@v3.1.2")
	r := &Registry{client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	config := map[string]any{
		"version": "0.1",
		"log":     map[string]any{"level": "info", "accesslog": map[string]any{"disabled": true}},
		"storage": map[string]any{"inmemory": map[string]any{}},
		"http":    map[string]any{"addr": "127.0.0.1:0", "secret": "of the tests"},
	}
	for _, o := range options {
		o(r, config)
	}
	data, err := json.Marshal(config) // which is YAML too
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "registry.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "serve", file)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	r.URL = "http://" + listening(t, cmd, regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`))
	return r
}

// binary is the path in an environment variable; module is where it can be installed from.
func binary(t testing.TB, variable, module string) string {
	t.Helper()
	bin := os.Getenv(variable)
	if bin == "" {
		t.Fatalf("%s is not set: make tools installs it (GOWORK=off go install %s)", variable, module)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%s: %v: make tools installs it (GOWORK=off go install %s)", variable, err, module)
	}
	return bin
}

// listening starts cmd, which is killed at the test's end, and returns what the first group of line
// matches in its output.
func listening(t testing.TB, cmd *exec.Cmd, line *regexp.Regexp) string {
	t.Helper()
	out := &output{line: line, found: make(chan string, 1)}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		select {
		case err := <-ended:
			ended <- err
		case <-ctx.Done():
			t.Errorf("%s does not end when killed", cmd.Path)
		}
	})
	timer := time.NewTimer(startLimit)
	defer timer.Stop()
	select {
	case addr := <-out.found:
		return addr
	case err := <-ended:
		ended <- err
		t.Fatalf("%s ended: %v\n%s", cmd.Path, err, out.text())
	case <-timer.C:
		t.Fatalf("%s does not listen within %v\n%s", cmd.Path, startLimit, out.text())
	}
	return ""
}

// output keeps the end of what a child writes and finds one line in it.
type output struct {
	line  *regexp.Regexp
	found chan string

	mu   sync.Mutex
	kept []byte
	done bool
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, p...)
	if !o.done {
		// A whole line only: the port may come in two writes.
		if end := bytes.LastIndexByte(o.kept, '\n'); end >= 0 {
			if m := o.line.FindSubmatch(o.kept[:end]); m != nil {
				o.done = true
				o.found <- string(m[1])
			}
		}
	}
	if len(o.kept) > 2*keptLog {
		o.kept = append([]byte(nil), o.kept[len(o.kept)-keptLog:]...)
	}
	return len(p), nil
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.kept)
}

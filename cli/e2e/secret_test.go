package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
)

// A token opens a gated repository, and goes nowhere else: not to the CDN, and into no command line, log,
// event, job or file.
func TestTokenStaysSecret(t *testing.T) {
	const token = "hf_thisIsASecretOfTheTests0123456789"
	h := hub(t)
	h.Add(fakehub.Repo{Name: "gated/Bee-GGUF", Gated: true, Files: []fakehub.File{{Path: "Bee-F16.gguf", Content: bee(t, bees.Tiny), LFS: true}}})
	h.AddToken(token, "gated/Bee-GGUF")
	without := start(t)
	without.rbee(t, "model", "pull", "hf:gated/Bee-GGUF").says(t, 1, "gated/Bee-GGUF", "HF_TOKEN")
	without.stop(t)

	t.Setenv("HF_TOKEN", token)
	c := start(t)
	c.ok(t, "model", "pull", "hf:gated/Bee-GGUF")
	w := c.spawn(t, "hf:gated/Bee-GGUF")
	said := strings.Join([]string{c.ok(t, "job", "list", "--json"), c.ok(t, "events", "--since", "1h", "--no-follow", "--json"),
		c.ok(t, "worker", "get", string(w.ID), "--json"), c.ok(t, "model", "list", "--json"), c.ok(t, "hive", "list", "--json"), c.ok(t, "worker", "logs", string(w.ID))}, "\n")
	for _, line := range strings.Split(c.ok(t, "job", "list", "--json"), "\n") {
		if _, id, ok := strings.Cut(line, `"job":"`); ok {
			id, _, _ = strings.Cut(id, `"`)
			said += c.ok(t, "job", "get", id, "--json")
		}
	}
	said += strings.Join(processes(c.dir), "\n")
	if strings.Contains(said, token) {
		t.Error("it is told")
	}
	_ = filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(token)) {
			t.Errorf("it is in %s", path)
		}
		return nil
	})
	// The worker has no use for it.
	if b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(w.PID), "environ")); err != nil || bytes.Contains(b, []byte(token)) {
		t.Errorf("it is in the worker's environment, or that cannot be read: %v", err)
	}
	at := 0
	for _, r := range h.Requests() {
		sent := strings.Contains(r.Path+r.Query, token)
		for _, values := range r.Header {
			sent = sent || strings.Contains(strings.Join(values, " "), token)
		}
		if sent && r.Host != "hub" {
			t.Errorf("it went to %s%s", r.Host, r.Path)
		}
		if sent {
			at++
		}
	}
	if at == 0 {
		t.Error("it was not used")
	}
}

// A signature in an address is told to nobody who looks at jobs and events.
func TestSignatureStaysSecret(t *testing.T) {
	const signature = "s1gnatur3OfTheTests"
	c := start(t)
	address := "http://127.0.0.1:2/none.gguf?X-Amz-Signature=" + signature
	c.rbee(t, "model", "pull", address).says(t, 1, "127.0.0.1:2/none.gguf")
	c.rbee(t, "model", "pull", "--offline", address).says(t, 1, "127.0.0.1:2/none.gguf")
	c.rbee(t, "worker", "spawn", address).says(t, 1, "127.0.0.1:2/none.gguf")
	said := c.ok(t, "events", "--since", "1h", "--no-follow", "--json")
	jobs := strings.Split(c.ok(t, "job", "list", "--json"), `"job":"`)[1:]
	for _, job := range jobs {
		id, _, _ := strings.Cut(job, `"`)
		said += job + c.ok(t, "job", "get", id, "--json")
	}
	if len(jobs) < 3 || !strings.Contains(said, "none.gguf") {
		t.Errorf("%d jobs, which do not say what they were for", len(jobs))
	}
	for _, line := range strings.Split(said, "\n") {
		if strings.Contains(line, signature) {
			t.Errorf("it is told: %s", line)
		}
	}
}

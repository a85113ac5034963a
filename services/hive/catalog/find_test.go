package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// Spelling and case of what Find is asked for.
func TestFindSpellings(t *testing.T) {
	s := newStock()
	for name, refs := range map[string][]string{
		"org/repo:Q4_K_M": {"test:1"}, "hf-like": {"test:2"}, "Case": {"test:3"}, "case": {"test:4"}, "ollama:qwen3": {"test:5"}, "Alone": {"test:6"},
		"no-full": {"test:7"}, "ollama:tagged:latest": {"test:8"},
	} {
		a := s.put(refs[0], name, weights(uint64(refs[0][5]), 4096))
		if name == "no-full" {
			a.Ref = ""
			s.set(refs[0], *a)
		}
	}
	c := at(t.TempDir(), s)
	for ref := range s.artifacts {
		pull(t, c, Pull{Ref: ref})
	}
	pull(t, c, Pull{Ref: "test:7", Name: "a-second-name"})
	m, err := readManifest(filepath.Join(c.dir, "hf-like"))
	if err != nil {
		t.Fatal(err)
	}
	m.Refs = append(m.Refs, "hf:org/other", "https://huggingface.co/org/other")
	if err := m.write(filepath.Join(c.dir, "hf-like")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"org/repo:Q4_K_M": "org/repo:Q4_K_M", "hf:org/repo:Q4_K_M": "org/repo:Q4_K_M", "ORG/repo:q4_k_m": "org/repo:Q4_K_M", "hf:Org/Repo:Q4_K_M": "org/repo:Q4_K_M",
		"hf:org/other": "hf-like", "org/other": "hf-like", "https://huggingface.co/org/other": "hf-like", "Case": "Case", "case": "case", "CASE": "",
		"ollama:qwen3": "ollama:qwen3", "ollama:qwen3:latest": "ollama:qwen3", "ollama:qwen3:8b": "", "ollama:tagged": "ollama:tagged:latest", "ollama:": "", "hf:ollama:qwen3": "", "alone": "Alone", "test:6": "Alone", "test:6@1": "Alone", "TEST:6": "", "": "", "hf:": "", "/org/other": "", "hf:hf-like": "",
		"org": "", "no-full": "no-full",
	} {
		found, err := c.Find(name)
		if found.ID != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, want %q: %v", name, found.ID, want, err)
		}
	}
	names, aliases := c.Names()
	if len(names) != 9 {
		t.Errorf("names %q", names)
	}
	for alias, id := range aliases {
		if found, err := c.Find(alias); err != nil || found.ID != id {
			t.Errorf("alias %q is said to be %q, and is %q: %v", alias, id, found.ID, err)
		}
	}
	for _, alias := range []string{"test:7", "hf:org/repo:Q4_K_M", "org/other", "hf:org/other", "test:6", "test:6@1", "ollama:tagged"} {
		if aliases[alias] == "" {
			t.Errorf("no alias %q", alias)
		}
	}
}

// What is said of all models fits a message.
func TestNamesAreBounded(t *testing.T) {
	c := at(t.TempDir(), newStock())
	path := write(t, filepath.Join(t.TempDir(), "m.gguf"), weights(1, 64))
	for i := range 60 {
		m := manifest{Schema: manifestSchema, ID: fmt.Sprintf("m%d", i), Files: []file{{Kind: vendor.Model, InPlace: path}}}
		for j := range maxRefs {
			m.Refs = append(m.Refs, fmt.Sprintf("org/%d-%d-%s", i, j, strings.Repeat("x", 4000)))
		}
		dir := filepath.Join(c.dir, m.ID)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := m.write(dir); err != nil {
			t.Fatal(err)
		}
	}
	names, aliases := c.Names()
	sum := 0
	for a, id := range aliases {
		sum += len(a) + len(id)
	}
	if len(names) != 60 || sum > maxAliasBytes || sum < maxAliasBytes/2 {
		t.Errorf("%d names, aliases of %d bytes", len(names), sum)
	}
}

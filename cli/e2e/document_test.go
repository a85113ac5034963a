package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
)

// Every command of docs/catalog.md works, in its order, with a small model under the names it uses.
func TestCatalogDocument(t *testing.T) {
	h := hub(t)
	h.Add(fakehub.Repo{Name: "Qwen/Qwen3-0.6B-GGUF", License: "apache-2.0", Files: []fakehub.File{
		{Path: "Qwen3-0.6B-Q8_0.gguf", Content: bee(t, bees.Random), LFS: true}, {Path: "Qwen3-0.6B-Q4_K_M.gguf", Content: bee(t, bees.Tiny), LFS: true}}})
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "catalog.md"))
	if err != nil {
		t.Fatal(err)
	}
	c := start(t)
	ran := 0
	_, block, _ := strings.Cut(string(doc), "```\n")
	block, _, _ = strings.Cut(block, "```")
	for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
		command, _, _ := strings.Cut(line, " # ")
		r := sh(t, c.dir, strings.TrimSpace(command))
		r.says(t, 0)
		if strings.Contains(line, "rbee run") && !strings.HasPrefix(r.stdout, "The queen") {
			t.Errorf("%s: %q", command, r.stdout)
		}
		ran++
	}
	if ran < 10 {
		t.Errorf("%d commands were found", ran)
	}
	if all := models(t, c.dir); len(all) != 1 || all[0].ID != "Qwen/Qwen3-0.6B-GGUF:Q4_K_M" {
		t.Errorf("left: %+v", all)
	}
}

// sh runs a line with the binaries under test on PATH.
func sh(t *testing.T, dir, line string) result {
	t.Helper()
	return command(t, dir, "", "sh", "-c", "PATH="+bin+":$PATH; "+line)
}

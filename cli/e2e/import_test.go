package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

// ollamaStore makes a model in a home's ~/.ollama as Ollama does, and returns the path of its weights.
func ollamaStore(t *testing.T, home, name, tag string) string {
	t.Helper()
	root := filepath.Join(home, ".ollama", "models")
	put := func(path string, b []byte) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var layers []string
	blob := func(kind string, b []byte) string {
		sum := sha256.Sum256(b)
		digest := hex.EncodeToString(sum[:])
		path := filepath.Join(root, "blobs", "sha256-"+digest)
		put(path, b)
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.ollama.image.%s","digest":"sha256:%s","size":%d}`, kind, digest, len(b)))
		return path
	}
	weights := blob("model", bee(t, bees.Tiny))
	blob("template", []byte("{{ range .Messages }}{{ .Content }}\n{{ end }}"))
	blob("params", []byte(`{"temperature":0,"stop":["<end>"]}`))
	put(filepath.Join(root, "manifests", "registry.ollama.ai", "library", name, tag),
		[]byte(`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","layers":[`+strings.Join(layers, ",")+`]}`))
	return weights
}

// What other programs have is used where it lies, and nothing of theirs changes.
func TestImport(t *testing.T) {
	c := start(t)
	weights := ollamaStore(t, c.dir, "bee", "tiny")
	repo := filepath.Join(c.dir, ".lmstudio", "models", "honey", "Bee-GGUF")
	if err := os.MkdirAll(repo, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := bees.WriteFile(filepath.Join(repo, "Bee-F32.gguf"), bees.Random); err != nil {
		t.Fatal(err)
	}
	before := listing(t, c.dir, ".ollama", ".lmstudio")
	if out := c.ok(t, "model", "import", "--dry-run"); !strings.Contains(out, "ollama:bee:tiny") || !strings.Contains(out, "honey/Bee-GGUF:F32") {
		t.Errorf("found: %s", out)
	}
	if all := models(t, c.dir); len(all) != 0 {
		t.Errorf("a dry run registered %+v", all)
	}
	var got []messages.ImportedModel
	for dec := json.NewDecoder(strings.NewReader(c.ok(t, "model", "import", "--json"))); ; {
		var m messages.ImportedModel
		if dec.Decode(&m) != nil {
			break
		}
		if m.State != "imported" {
			t.Errorf("%+v", m)
		}
		got = append(got, m)
	}
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	if out := c.ok(t, "run", "ollama:bee:tiny", "Hello"); !strings.HasPrefix(out, "The queen") {
		t.Errorf("answer %q", out)
	}
	if all := models(t, c.dir); len(all) != 2 || all[1].Path != weights {
		t.Errorf("models %+v", all)
	}
	if out := c.ok(t, "model", "import"); strings.Count(out, "there") < 2 {
		t.Errorf("again: %s", out)
	}
	c.ok(t, "model", "rm", "ollama:bee:tiny", "honey/Bee-GGUF:F32", "--force")
	if after := listing(t, c.dir, ".ollama", ".lmstudio"); after != before {
		t.Errorf("their folders changed:\n%s\n%s", before, after)
	}
	c.rbee(t, "model", "import", "nothing").says(t, 1, "nothing", "--dry-run")
}

// listing is every file below the folders with size and time of change.
func listing(t *testing.T, dir string, folders ...string) string {
	t.Helper()
	var out strings.Builder
	for _, f := range folders {
		err := filepath.Walk(filepath.Join(dir, f), func(path string, fi os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			fmt.Fprintln(&out, path, fi.Size(), fi.Mode(), fi.ModTime().UnixNano())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

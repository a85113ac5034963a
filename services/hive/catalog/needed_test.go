package catalog

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

// A model that makes vectors or scores is measured as any other: it fits at least when its file and a
// cache of its trained length do.
func TestNeededByEncoders(t *testing.T) {
	for _, name := range []string{bees.Embed, bees.Rerank} {
		path := filepath.Join(t.TempDir(), name+".gguf")
		if err := bees.WriteFile(path, name); err != nil {
			t.Fatal(err)
		}
		_, size, err := bees.Digest(name)
		if err != nil {
			t.Fatal(err)
		}
		need, sum, err := Needed(messages.Model{ID: name, Path: path}, 0, 0)
		if err != nil || need < uint64(size) || need > uint64(size)+32<<20 || !strings.Contains(sum, "4 slots x 512 tokens") {
			t.Errorf("%s: %d bytes of a file of %d (%s), %v", name, need, size, sum, err)
		}
	}
}

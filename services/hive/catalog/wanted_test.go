package catalog

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

func TestWantedContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "params.json")
	for text, want := range map[string]int{
		`{"num_ctx":8192}`: 8192, `{"num_ctx":8192.0,"x":1}`: 8192, `{}`: 0, `{"num_ctx":-1}`: 0, `{"num_ctx":"8"}`: 0, `garbage`: 0,
		`{"num_ctx":1e30}`: messages.MaxContext, `{"num_ctx":0}`: 0, ``: 0,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m := &messages.Model{Files: []messages.ModelFile{{Kind: "model", Path: "/none"}, {Kind: "params", Path: path}}}
		if got := WantedContext(m); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	if got := WantedContext(&messages.Model{Files: []messages.ModelFile{{Kind: "params", Path: "/none"}}}); got != 0 {
		t.Errorf("without the file: %d", got)
	}
}

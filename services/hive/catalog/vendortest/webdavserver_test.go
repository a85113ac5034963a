package vendortest_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	dav "golang.org/x/net/webdav"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
	"github.com/rbee-project/rbee/services/hive/catalog/vendortest"
)

// TestWebDAV runs the vendor that was written from docs/add-a-vendor.md against a real server.
func TestWebDAV(t *testing.T) {
	dir := t.TempDir()
	bee := bytes.Repeat([]byte("GGUF of a bee. "), 3000)
	for name, content := range map[string][]byte{"bee-Q8_0.gguf": bee, "sub/a b%.gguf": []byte("GGUF small"), "locked.gguf": bee} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewUnstartedServer(nil)
	gate := new(vendortest.Gate)
	files := &dav.Handler{Prefix: "/models", FileSystem: dav.Dir(dir), LockSystem: dav.NewMemLS()}
	server.Config.Handler = gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/models/locked.gguf" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		files.ServeHTTP(w, r)
	}))
	server.Start()
	t.Cleanup(server.Close)

	model := func(name string, content []byte) []vendortest.File {
		return []vendortest.File{{Name: name, Kind: vendor.Model, Content: content}}
	}
	vendortest.Run(t, vendortest.Case{
		New: func(t testing.TB) vendor.Vendor {
			client := vendor.NewClient()
			t.Cleanup(client.CloseIdleConnections)
			return &webdav{folder: server.URL + "/models", client: client}
		},
		Refs: []vendortest.Ref{
			{Ref: "dav:bee-Q8_0.gguf", Name: "bee-Q8_0", Files: model("bee-Q8_0.gguf", bee)},
			{Ref: "dav:sub/a b%.gguf", Name: "a-b%", Files: model("a b%.gguf", []byte("GGUF small"))},
		},
		NotMine:   []string{"bee-Q8_0.gguf", "https://host/bee.gguf", "davs:bee.gguf"},
		Malformed: []string{"dav:", "dav:../bee.gguf", "dav:/etc/bee.gguf", "dav:bee.txt", "dav:bee\n.gguf"},
		Unknown:   "dav:no-such.gguf",
		Denied:    []string{"dav:locked.gguf"},
		Ranges:    true,
		Gate:      gate,
	})
}

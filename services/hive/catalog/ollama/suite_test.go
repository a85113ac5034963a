package ollama

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/ollama/registrytest"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
	"github.com/rbee-project/rbee/services/hive/catalog/vendortest"
)

// TestVendor runs the suite for vendors on a real registry that wants tokens; a proxy before it is the gate.
func TestVendor(t *testing.T) {
	tokens := registrytest.StartTokens(t, "library/")
	r := registrytest.Start(t, registrytest.Guarded(tokens))
	gguf := beeFile(t)
	push(t, r, "bee", "latest", gguf)
	push(t, r, "secret/bee", "latest", gguf)
	r.Push(t, "bare", "q8", registrytest.Model(gguf), registrytest.Text("projector", "GGUF of pictures"), registrytest.Text("license", someLicense),
		registrytest.Text("license", "Gemma Terms of Use"))
	weights, err := os.ReadFile(gguf)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	var gate vendortest.Gate
	server := httptest.NewServer(gate.Wrap(&httputil.ReverseProxy{
		Rewrite:  func(p *httputil.ProxyRequest) { p.SetURL(to) },
		ErrorLog: nil,
	}))
	defer server.Close()

	model := vendortest.File{Name: "model", Kind: vendor.Model, Content: weights}
	text := func(name string, kind vendor.Kind, text string) vendortest.File {
		return vendortest.File{Name: name, Kind: kind, Content: []byte(text)}
	}
	whole := []vendortest.File{model, text("template", vendor.GoTemplate, someTemplate), text("params", vendor.Params, someParams),
		text("system", vendor.System, "You are a bee."), text("license", vendor.License, someLicense)}
	host := strings.TrimPrefix(server.URL, "http://")
	vendortest.Run(t, vendortest.Case{
		New: func(t testing.TB) vendor.Vendor { return newVendor(t, server.URL) },
		Refs: []vendortest.Ref{
			{Ref: "ollama:bee", Name: "ollama:bee:latest", Files: whole},
			{Ref: "https://ollama.com/library/bee:latest", Name: "ollama:bee:latest", Files: whole},
			{Ref: "ollama:" + host + "/library/bee", Name: "ollama:" + host + "/library/bee:latest", Files: whole},
			{Ref: "ollama:bare:q8", Name: "ollama:bare:q8", Files: []vendortest.File{model, text("license", vendor.License, someLicense),
				text("license-2", vendor.License, "Gemma Terms of Use"), {Name: "projector", Kind: vendor.Projector}}},
		},
		NotMine:   []string{"bee", "hf:a/b", "a/b", "https://example.com/x.gguf", "builtin:bee-tiny", "ollama"},
		Malformed: malformedRefs[:16], // the suite tries hundreds of changes to each
		Unknown:   "ollama:wasp:latest",
		Denied:    []string{"ollama:secret/bee:latest"},
		Ranges:    true,
		Gate:      &gate,
		Secrets:   []string{"eyJ"}, // how every JSON web token starts
	})
}

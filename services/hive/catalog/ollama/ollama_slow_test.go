//go:build slow

package ollama

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"text/template"

	"github.com/rbee-project/rbee/services/hive/catalog/ollama/registrytest"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// TestSlowOllamaPush resolves and fetches what a real Ollama made of a GGUF and pushed.
func TestSlowOllamaPush(t *testing.T) {
	r := registrytest.Start(t)
	gguf := beeFile(t)
	weights, err := os.ReadFile(gguf)
	if err != nil {
		t.Fatal(err)
	}
	registrytest.PushWithOllama(t, r, gguf, "bee:small")
	_, digest := r.Manifest(t, "library/bee", "small")

	v := newVendor(t, r.URL)
	a, err := v.Resolve(t.Context(), "ollama:bee:small")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", a)
	if a.Revision != digest || a.License != "mit" || a.Architecture != "llama" || a.Quantization == "" || len(a.Notes) != 0 {
		t.Errorf("%+v; the registry says %s", a, digest)
	}
	got := map[vendor.Kind]string{}
	for _, f := range a.Files {
		text, _ := content(t, v, f, vendor.Whole)
		if _, double := got[f.Kind]; double || digestOf([]byte(text)) != f.Digest || int64(len(text)) != f.SizeBytes {
			t.Errorf("%s has %d bytes of %d and the digest %s", f.Name, len(text), f.SizeBytes, digestOf([]byte(text)))
		}
		got[f.Kind] = text
	}
	if got[vendor.Model] != string(weights) {
		t.Error("the weights are not those of the file")
	}
	if got[vendor.GoTemplate] != registrytest.OllamaTemplate || got[vendor.System] != registrytest.OllamaSystem || got[vendor.License] != registrytest.OllamaLicense {
		t.Errorf("the texts are %q", got)
	}
	if _, err := template.New("").Parse(got[vendor.GoTemplate]); err != nil {
		t.Error(err)
	}
	var params map[string]any
	want := map[string]any{"temperature": 0.25, "num_ctx": 512.0, "stop": []any{"<|im_end|>", "STOP"}}
	if err := json.Unmarshal([]byte(got[vendor.Params]), &params); err != nil || !reflect.DeepEqual(params, want) {
		t.Errorf("the parameters are %s, %v", got[vendor.Params], err)
	}
}

package ollama

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/ollama/registrytest"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	someTemplate = "{{ .System }}\n{{ .Prompt }}"
	someParams   = `{"temperature":0.5,"stop":["<|im_end|>"]}`
	someLicense  = "MIT License\n\nPermission is hereby granted"
)

// beeFile writes a small GGUF.
func beeFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bee.gguf")
	if err := bees.WriteFile(path, bees.Tiny); err != nil {
		t.Fatal(err)
	}
	return path
}

// push puts a whole model into r and returns the digest of its manifest.
func push(t testing.TB, r *registrytest.Registry, name, tag, gguf string) string {
	t.Helper()
	return r.Push(t, name, tag, registrytest.Model(gguf), registrytest.Text("template", someTemplate), registrytest.Text("params", someParams),
		registrytest.Text("system", "You are a bee."), registrytest.Text("license", someLicense))
}

// content fetches a part of a file.
func content(t testing.TB, v *Vendor, f vendor.File, part vendor.Range) (string, *vendor.Body) {
	t.Helper()
	b, err := v.Fetch(t.Context(), &f, part)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	defer b.Close()
	data, err := io.ReadAll(b)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return string(data), b
}

func TestRealRegistry(t *testing.T) {
	r := registrytest.Start(t)
	gguf := beeFile(t)
	weights, err := os.ReadFile(gguf)
	if err != nil {
		t.Fatal(err)
	}
	digest := push(t, r, "bee", "latest", gguf)
	push(t, r, "hive/bee", "small", gguf)
	v := newVendor(t, r.URL)

	a, err := v.Resolve(t.Context(), "ollama:bee")
	if err != nil {
		t.Fatal(err)
	}
	if a.Name != "ollama:bee:latest" || a.Ref != "ollama:bee:latest@"+digest || a.Revision != digest {
		t.Errorf("name %q, ref %q, revision %q; the manifest is %s", a.Name, a.Ref, a.Revision, digest)
	}
	if a.Architecture != "llama" || a.Quantization != "Q8_0" || a.License != "mit" || len(a.Notes) != 0 {
		t.Errorf("%+v", a)
	}
	want := []string{string(weights), someTemplate, someParams, "You are a bee.", someLicense}
	if len(a.Files) != len(want) {
		t.Fatalf("the files are %+v", a.Files)
	}
	for i, f := range a.Files {
		got, b := content(t, newVendor(t, r.URL), f, vendor.Whole)
		if got != want[i] || f.SizeBytes != int64(len(got)) || f.Digest != digestOf([]byte(got)) || b.Version != "" {
			t.Errorf("%s: %d bytes of %d, digest %s, version %q", f.Name, len(got), f.SizeBytes, f.Digest, b.Version)
		}
	}
	if got, b := content(t, v, a.Files[0], vendor.Range{From: 1000, To: 1010}); got != string(weights[1000:1010]) || b.From != 1000 || b.SizeBytes != int64(len(weights)) {
		t.Errorf("a part is %q from %d of %d", got, b.From, b.SizeBytes)
	}

	other, err := v.Resolve(t.Context(), "ollama:"+strings.TrimPrefix(r.URL, "http://")+"/hive/bee:small")
	if err != nil || other.Name != "ollama:"+strings.TrimPrefix(r.URL, "http://")+"/hive/bee:small" {
		t.Errorf("with the host in the reference: %+v, %v", other, err)
	}
}

// A tag that moves on leaves the full reference where it was.
func TestPinned(t *testing.T) {
	r := registrytest.Start(t)
	gguf := beeFile(t)
	first := push(t, r, "bee", "latest", gguf)
	v := newVendor(t, r.URL)
	a, err := v.Resolve(t.Context(), "ollama:bee")
	if err != nil {
		t.Fatal(err)
	}
	second := r.Push(t, "bee", "latest", registrytest.Model(gguf))
	b, err := v.Resolve(t.Context(), "ollama:bee")
	if err != nil || b.Revision != second || second == first {
		t.Fatalf("the tag is %v, %v, not %s", b, err, second)
	}
	if again, err := v.Resolve(t.Context(), a.Ref); err != nil || again.Revision != first || len(again.Files) != len(a.Files) || again.Name != a.Name {
		t.Errorf("%s is %+v, %v", a.Ref, again, err)
	}
	bare, err := v.Resolve(t.Context(), "ollama:bee@"+first)
	if err != nil || bare.Name != "ollama:bee@"+first || bare.Ref != bare.Name {
		t.Errorf("without a tag: %+v, %v", bare, err)
	}
	_, err = v.Resolve(t.Context(), "ollama:bee@"+someDigest)
	if messages.CodeOf(err) != messages.CodeModelUnknown {
		t.Errorf("a digest that is not there: %v", err)
	}
}

func TestUnknown(t *testing.T) {
	r := registrytest.Start(t)
	push(t, r, "bee", "small", beeFile(t))
	v := newVendor(t, r.URL)
	for ref, want := range map[string][]string{
		"ollama:wasp":        {"no model ollama:wasp:latest", "MANIFEST_UNKNOWN", "check its name"},
		"ollama:bee":         {`no tag "latest" of ollama:bee`, "its tags are: small"},
		"ollama:bee:large":   {`no tag "large" of ollama:bee`, "its tags are: small"},
		"ollama:hive/wasp:x": {"no model ollama:hive/wasp:x"},
	} {
		_, err := v.Resolve(t.Context(), ref)
		if messages.CodeOf(err) != messages.CodeModelUnknown || vendor.Temporary(err) {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v lacks %q", ref, err, w)
			}
		}
	}
}

func TestAbsentBlob(t *testing.T) {
	r := registrytest.Start(t)
	push(t, r, "bee", "small", beeFile(t))
	v := newVendor(t, r.URL)
	f := vendor.File{Name: "model", Kind: vendor.Model, Digest: someDigest, Source: "ollama:bee@" + someDigest}
	_, err := v.Fetch(t.Context(), &f, vendor.Whole)
	if messages.CodeOf(err) != messages.CodeModelUnknown || !strings.Contains(err.Error(), "BLOB_UNKNOWN") {
		t.Errorf("a blob that is not there: %v", err)
	}
	for _, f := range []vendor.File{
		{Digest: someDigest, Source: "ollama:bee"},
		{Digest: someDigest, Source: ""},
		{Digest: someDigest, Source: "ollama:bee@" + strings.Replace(someDigest, "0", "1", 1)},
	} {
		if _, err := v.Fetch(t.Context(), &f, vendor.Whole); messages.CodeOf(err) != messages.CodeBadRequest {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newVendor(t, "http://127.0.0.1:1").Resolve(ctx, "ollama:bee")
	if messages.CodeOf(err) != messages.CodeCancelled {
		t.Errorf("%v", err)
	}
}

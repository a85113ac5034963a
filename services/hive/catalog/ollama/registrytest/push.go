package registrytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

const (
	typeManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeConfig   = "application/vnd.docker.container.image.v1+json"
	typeOllama   = "application/vnd.ollama.image."
)

// Layer is content that is pushed, from memory or a file.
type Layer struct {
	MediaType string
	Data      []byte
	Path      string // of a file, instead of Data
}

// Model is a layer with the weights in the file at path.
func Model(path string) Layer { return Layer{MediaType: typeOllama + "model", Path: path} }

// Text is a layer of one of Ollama's kinds that hold a text: template, params, system, license.
func Text(kind, text string) Layer { return Layer{MediaType: typeOllama + kind, Data: []byte(text)} }

// Config replaces the description that Push writes by itself.
func Config(text string) Layer { return Layer{MediaType: typeConfig, Data: []byte(text)} }

// descriptor is a layer as a manifest has it.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

func (l Layer) open() (io.ReadCloser, error) {
	if l.Path != "" {
		return os.Open(l.Path)
	}
	return io.NopCloser(bytes.NewReader(l.Data)), nil
}

func (l Layer) describe(t testing.TB) descriptor {
	t.Helper()
	in, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, in)
	if err != nil {
		t.Fatal(err)
	}
	return descriptor{l.MediaType, "sha256:" + hex.EncodeToString(sum.Sum(nil)), n}
}

// Push puts a model of these layers into the registry as name ("x" is "library/x") and tag, and returns
// its manifest's digest. Without a [Config] it says that the model is a llama in Q8_0.
func (r *Registry) Push(t testing.TB, name, tag string, layers ...Layer) string {
	t.Helper()
	if !strings.Contains(name, "/") {
		name = "library/" + name
	}
	config := Config(`{"model_format":"gguf","model_family":"llama","model_families":["llama"],"model_type":"1M","file_type":"Q8_0",` +
		`"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	descriptors := []descriptor{}
	for _, l := range layers {
		if l.MediaType == typeConfig {
			config = l
			continue
		}
		descriptors = append(descriptors, r.upload(t, name, l))
	}
	manifest, err := json.Marshal(struct {
		Schema    int          `json:"schemaVersion"`
		MediaType string       `json:"mediaType"`
		Config    descriptor   `json:"config"`
		Layers    []descriptor `json:"layers"`
	}{2, typeManifest, r.upload(t, name, config), descriptors})
	if err != nil {
		t.Fatal(err)
	}
	r.ask(t, http.MethodPut, r.URL+"/v2/"+name+"/manifests/"+tag, name, typeManifest, bytes.NewReader(manifest), int64(len(manifest)), http.StatusCreated)
	return Layer{Data: manifest}.describe(t).Digest
}

// upload is the push in two requests of the OCI distribution specification.
func (r *Registry) upload(t testing.TB, name string, l Layer) descriptor {
	t.Helper()
	d := l.describe(t)
	header, _ := r.ask(t, http.MethodPost, r.URL+"/v2/"+name+"/blobs/uploads/", name, "", nil, 0, http.StatusAccepted)
	to, err := url.Parse(header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	q := to.Query()
	q.Set("digest", d.Digest)
	to.RawQuery = q.Encode()
	in, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r.ask(t, http.MethodPut, to.String(), name, "application/octet-stream", in, d.Size, http.StatusCreated)
	return d
}

// Manifest is what the registry has under a name and tag, and its digest.
func (r *Registry) Manifest(t testing.TB, name, tag string) (data []byte, digest string) {
	t.Helper()
	header, data := r.ask(t, http.MethodGet, r.URL+"/v2/"+name+"/manifests/"+tag, name, "", nil, 0, http.StatusOK)
	return data, header.Get("Docker-Content-Digest")
}

// ask sends a request and returns the answer, which must have the status want.
func (r *Registry) ask(t testing.TB, method, address, name, contentType string, body io.Reader, size int64, want int) (http.Header, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	if method == http.MethodGet {
		req.Header.Set("Accept", typeManifest)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if r.tokens != nil {
		req.Header.Set("Authorization", "Bearer "+r.tokens.issue(name, "pull", "push"))
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s of %s: %s, not %d: %v %.500s", method, name, resp.Status, want, err, data)
	}
	return resp.Header, data
}

package stores

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// fakeOllama writes a folder as Ollama's server does.
type fakeOllama struct {
	t   testing.TB
	dir string
}

type fakeLayer struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

func (o fakeOllama) blob(kind string, content []byte) fakeLayer {
	write(o.t, filepath.Join(o.dir, "blobs", "sha256-"+hash(content)), content)
	return fakeLayer{"application/vnd.ollama.image." + kind, "sha256:" + hash(content), int64(len(content))}
}

func (o fakeOllama) manifest(name string, layers ...fakeLayer) string {
	config := o.blob("config", []byte(`{"model_format":"gguf","model_family":"llama","file_type":"Q4_K_M"}`))
	config.MediaType = "application/vnd.docker.container.image.v1+json"
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
		"config": config, "layers": layers,
	}); err != nil {
		o.t.Fatal(err)
	}
	return write(o.t, filepath.Join(o.dir, "manifests", name), b.Bytes())
}

func newOllama(t testing.TB) (fakeOllama, Store) {
	dir := filepath.Join(t.TempDir(), "models")
	return fakeOllama{t, dir}, ollama{places(dir)}
}

func TestOllama(t *testing.T) {
	o, s := newOllama(t)
	weights := o.blob("model", model(t, "a"))
	o.manifest("registry.ollama.ai/library/qwen3/8b", o.blob("license", []byte("Apache")), weights,
		o.blob("prompt", []byte("old")), o.blob("template", []byte("{{ .Prompt }}")), o.blob("params", []byte(`{"stop":["x"]}`)),
		o.blob("system", []byte("You are a bee.")), o.blob("projector", []byte("GGUF")), o.blob("messages", []byte("[]")))
	o.manifest("registry.ollama.ai/library/qwen3/latest", weights)
	o.manifest("registry.ollama.ai/alice/bee/v1.0", weights)
	path := o.manifest("hf.co/org/repo-GGUF/Q4_K_M", weights)
	o.manifest("localhost:5000/library/x/latest", weights)
	write(t, filepath.Join(o.dir, "manifests/.DS_Store"), nil)
	write(t, filepath.Join(o.dir, "manifests/registry.ollama.ai/library/qwen3/.DS_Store"), nil)
	found := findAll(t, s, o.dir)
	if len(found) != 5 {
		t.Fatalf("found\n%s", list(found))
	}
	f := named(t, found, "ollama:qwen3:8b")
	usable(t, f, "ollama:qwen3:8b", "ollama:qwen3:8b@"+f.Revision)
	var kinds []vendor.Kind
	for _, file := range f.Files {
		kinds = append(kinds, file.Kind)
	}
	if want := []vendor.Kind{vendor.Model, vendor.License, vendor.GoTemplate, vendor.Params, vendor.System, vendor.Projector}; !slices.Equal(kinds, want) {
		t.Errorf("files %q, want %q", kinds, want)
	}
	if got := f.Files[0]; got.Digest != weights.Digest || got.InPlace != filepath.Join(o.dir, "blobs", strings.Replace(weights.Digest, ":", "-", 1)) {
		t.Errorf("%+v", got)
	}
	if b, _ := os.ReadFile(f.Files[2].InPlace); string(b) != "{{ .Prompt }}" {
		t.Errorf("the template is %q, not the last one", b)
	}
	if !slices.Equal(f.Notes, []string{"left out: messages"}) {
		t.Errorf("notes %q", f.Notes)
	}
	for name, refs := range map[string][]string{
		"ollama:qwen3:latest":                    {"ollama:qwen3:latest", "ollama:qwen3"},
		"ollama:alice/bee:v1.0":                  {"ollama:alice/bee:v1.0"},
		"ollama:localhost:5000/library/x:latest": {"ollama:localhost:5000/library/x:latest", "ollama:localhost:5000/library/x"},
	} {
		f := named(t, found, name)
		usable(t, f, append(refs, name+"@"+f.Revision)...)
	}
	f = named(t, found, "ollama:hf.co/org/repo-GGUF:Q4_K_M")
	usable(t, f, "ollama:hf.co/org/repo-GGUF:Q4_K_M", f.Ref)
	if b, _ := os.ReadFile(path); f.Revision != "sha256:"+hash(b) {
		t.Errorf("revision %s", f.Revision)
	}
}

func TestOllamaProblems(t *testing.T) {
	good := model(t, "a")
	for name, tc := range map[string]struct {
		make func(t *testing.T, o fakeOllama, name string)
		want string
	}{
		"no blob": {func(t *testing.T, o fakeOllama, name string) {
			o.manifest(name, fakeLayer{layerType + "model", "sha256:" + strings.Repeat("ab", 32), 5})
		}, "is not there"},
		"cut blob": {func(t *testing.T, o fakeOllama, name string) {
			l := o.blob("model", good)
			l.Size++
			o.manifest(name, l)
		}, "its manifest says"},
		"truncated GGUF": {func(t *testing.T, o fakeOllama, name string) { o.manifest(name, o.blob("model", good[:200])) }, "truncated"},
		"no GGUF": {func(t *testing.T, o fakeOllama, name string) {
			o.manifest(name, o.blob("model", []byte("hello world")))
		}, "is not a GGUF file"},
		"adapter": {func(t *testing.T, o fakeOllama, name string) {
			o.manifest(name, o.blob("model", good), o.blob("adapter", good))
		}, "LoRA"},
		"pieces":      {func(t *testing.T, o fakeOllama, name string) { o.manifest(name, o.blob("tensor", good)) }, "not in GGUF"},
		"two weights": {func(t *testing.T, o fakeOllama, name string) { l := o.blob("model", good); o.manifest(name, l, l) }, "2 files of weights"},
		"no weights":  {func(t *testing.T, o fakeOllama, name string) { o.manifest(name, o.blob("template", nil)) }, "has no weights"},
		"other text": {func(t *testing.T, o fakeOllama, name string) {
			l := o.blob("system", []byte("you are a bee"))
			write(t, filepath.Join(o.dir, "blobs", strings.Replace(l.Digest, ":", "-", 1)), []byte("YOU ARE A BEE"))
			o.manifest(name, o.blob("model", good), l)
		}, "another digest"},
		"long text": {func(t *testing.T, o fakeOllama, name string) {
			o.manifest(name, o.blob("model", good), o.blob("template", make([]byte, maxText+1)))
		}, "has more than"},
		"digest leads out": {func(t *testing.T, o fakeOllama, name string) {
			o.manifest(name, fakeLayer{layerType + "model", "sha256-../../../../etc/passwd", 5})
		}, "digest"},
		"no JSON": {func(t *testing.T, o fakeOllama, name string) {
			write(t, filepath.Join(o.dir, "manifests", name), []byte("<html>"))
		}, "JSON"},
		"long manifest": {func(t *testing.T, o fakeOllama, name string) {
			write(t, filepath.Join(o.dir, "manifests", name), bytes.Repeat([]byte(" "), maxManifest+1))
		}, "has more than"},
		"manifest is a link": {func(t *testing.T, o fakeOllama, name string) {
			symlink(t, o.manifest("registry.ollama.ai/library/other/1", o.blob("model", good)), filepath.Join(o.dir, "manifests", name))
		}, "not a regular file"},
		"weights lead out": {func(t *testing.T, o fakeOllama, name string) {
			l := o.blob("model", good)
			blob := filepath.Join(o.dir, "blobs", strings.Replace(l.Digest, ":", "-", 1))
			outside := filepath.Join(o.dir, "..", "outside")
			if err := os.Rename(blob, outside); err != nil {
				t.Fatal(err)
			}
			symlink(t, outside, blob)
			o.manifest(name, l)
		}, "leads out of the store"},
	} {
		t.Run(name, func(t *testing.T) {
			o, s := newOllama(t)
			write(t, filepath.Join(o.dir, "blobs/x"), nil)
			tc.make(t, o, "registry.ollama.ai/library/m/1")
			unusable(t, named(t, findAll(t, s, o.dir), "ollama:m:1"), tc.want)
		})
	}
}

// A text of the store must not be a link to a secret of whoever runs the hive.
func TestOllamaTextLeadsOut(t *testing.T) {
	o, s := newOllama(t)
	secret := []byte("PRIVATE KEY")
	outside := write(t, filepath.Join(o.dir, "../secret"), secret)
	layer := fakeLayer{layerType + "system", "sha256:" + hash(secret), int64(len(secret))}
	o.manifest("registry.ollama.ai/library/m/1", o.blob("model", model(t, "a")), layer)
	symlink(t, outside, filepath.Join(o.dir, "blobs", "sha256-"+hash(secret)))
	f := named(t, findAll(t, s, o.dir), "ollama:m:1")
	unusable(t, f, "leads out of the store")
	for _, file := range f.Files {
		if file.Kind == vendor.System {
			t.Errorf("%+v", file)
		}
	}
}

func TestOllamaCloud(t *testing.T) {
	o, s := newOllama(t)
	config := o.blob("x", []byte(`{"remote_host":"https://ollama.com","remote_model":"m"}`))
	b, _ := json.Marshal(map[string]any{"config": config, "layers": []any{}})
	write(t, filepath.Join(o.dir, "manifests/registry.ollama.ai/library/m/cloud"), b)
	unusable(t, named(t, findAll(t, s, o.dir), "ollama:m:cloud"), "cloud")
}

// People move the blobs, or all of it, to a larger disk.
func TestOllamaBehindLinks(t *testing.T) {
	o, _ := newOllama(t)
	o.manifest("registry.ollama.ai/library/m/1", o.blob("model", model(t, "a")))
	big := filepath.Join(o.dir, "../big")
	if err := os.Rename(filepath.Join(o.dir, "blobs"), big); err != nil {
		t.Fatal(err)
	}
	symlink(t, big, filepath.Join(o.dir, "blobs"))
	link := filepath.Join(o.dir, "../link")
	symlink(t, o.dir, link)
	found := findAll(t, ollama{places(link, o.dir)}, filepath.Dir(o.dir))
	if len(found) != 1 {
		t.Fatalf("found\n%s", list(found))
	}
	usable(t, found[0], "ollama:m:1", found[0].Ref)
}

func TestOllamaNames(t *testing.T) {
	o, s := newOllama(t)
	for _, name := range []string{"registry.ollama.ai/library/m\x1b[31m/1", "registry.ollama.ai/library/m\u202egpj/1", "h/n.s/m/1", "h/n/m/" + strings.Repeat("x", 81), "h/n/short"} {
		o.manifest(name, o.blob("model", model(t, "a")))
	}
	found := findAll(t, s, o.dir)
	if len(found) != 5 {
		t.Fatalf("found\n%s", list(found))
	}
	for _, f := range found {
		unusable(t, f, "no name")
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"sha256:` + strings.Repeat("0a", 32) + `","size":1},"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256-` + strings.Repeat("AB", 32) + `","size":12}]}`))
	f.Add([]byte(`{"layers":[{"digest":"sha256:../../x","size":-1}]}`))
	f.Add([]byte(`{"layers":null,"config":null}`))
	f.Add([]byte("\xef\xbb\xbf[[[["))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			if len(m.layers) > 0 || len(err.Error()) > 1<<10 {
				t.Fatalf("%v %v", m, err)
			}
			return
		}
		for _, l := range m.layers {
			if !sha256Hash.MatchString(strings.TrimPrefix(l.digest, "sha256:")) || !strings.EqualFold(l.hash, l.digest[7:]) || l.size < 0 {
				t.Fatalf("%+v", l)
			}
			if strings.ContainsAny(l.hash, `/\.`) {
				t.Fatalf("%q leads somewhere", l.hash)
			}
		}
	})
}

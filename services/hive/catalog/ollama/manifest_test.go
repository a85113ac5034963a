package ollama

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func one(kind string, n int) string {
	return fmt.Sprintf(`{"mediaType":"application/vnd.ollama.image.%s","digest":"sha256:%064x","size":%d}`, kind, n, n)
}

func manifestOf(layers ...string) string {
	return `{"schemaVersion":2,"mediaType":"` + typeManifest + `","config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"` +
		someDigest + `","size":9},"layers":[` + strings.Join(layers, ",") + `]}`
}

func TestLayers(t *testing.T) {
	m, err := parseManifest([]byte(manifestOf(one("license", 1), one("system", 2), one("model", 3), one("template", 4), one("license", 5), one("params", 6),
		one("projector", 7), one("messages", 8), one("new", 9), one("template", 10), one("embed", 11))))
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.sort()
	if err != nil {
		t.Fatal(err)
	}
	r, _ := parse("ollama:hf.co/a/b:c")
	var got []string
	for _, f := range s.files(r) {
		got = append(got, fmt.Sprintf("%s %s %d", f.Kind, f.Name, f.SizeBytes))
		if want := fmt.Sprintf("sha256:%064x", f.SizeBytes); f.Digest != want || f.Source != "ollama:hf.co/a/b@"+want {
			t.Errorf("%s has the digest %s and the source %s", f.Name, f.Digest, f.Source)
		}
	}
	want := []string{"model model 3", "go-template template 10", "params params 6", "system system 2", "license license 1", "license license-2 5", "projector projector 7"}
	if !slices.Equal(got, want) {
		t.Errorf("the files are %q, not %q", got, want)
	}
	notes := strings.Join(s.notes(), "\n")
	for _, w := range []string{"projector", "messages", "2 of its layers", "image.new", "image.embed"} {
		if !strings.Contains(notes, w) {
			t.Errorf("no note about %q: %s", w, notes)
		}
	}
}

func TestRefusedManifests(t *testing.T) {
	for name, tc := range map[string]struct{ manifest, want string }{
		"adapter":          {manifestOf(one("model", 1), one("adapter", 2)), "adapter (LoRA)"},
		"tensors":          {manifestOf(one("tensor", 1)), "no GGUF"},
		"tensor with type": {manifestOf(`{"mediaType":"application/vnd.ollama.image.tensor; name=x","digest":"` + someDigest + `","size":1}`), "no GGUF"},
		"two models":       {manifestOf(one("model", 1), one("model", 2)), "more than one layer"},
		"no model":         {manifestOf(one("template", 1)), "no layer"},
		"other's model":    {manifestOf(`{"mediaType":"application/vnd.other.image.model","digest":"` + someDigest + `","size":1}`), "no layer"},
		"huge text":        {manifestOf(one("model", 1), one("system", 4<<20+1)), "at most"},
		"many licences":    {manifestOf(append(slices.Repeat([]string{one("license", 2)}, 65), one("model", 1))...), "65"},
		"page":             {"<!doctype html>", "no manifest"},
		"empty":            {"", "no manifest"},
		"null":             {"null", "version 0"},
		"list":             {`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}`, "not those of a model"},
		"version 1":        {`{"schemaVersion":1}`, "version 1"},
		"digest":           {manifestOf(`{"mediaType":"x","digest":"sha256:../../x","size":1}`), "the digest"},
		"upper digest":     {manifestOf(`{"mediaType":"x","digest":"` + strings.ToUpper(someDigest) + `","size":1}`), "the digest"},
		"no digest":        {manifestOf(`{"mediaType":"x","size":1}`), "the digest"},
		"negative":         {manifestOf(`{"mediaType":"x","digest":"` + someDigest + `","size":-1}`), "the size"},
		"enormous":         {manifestOf(`{"mediaType":"x","digest":"` + someDigest + `","size":9000000000000000000}`), "the size"},
		"fraction":         {manifestOf(`{"mediaType":"x","digest":"` + someDigest + `","size":1.5}`), "no manifest"},
		"config's digest":  {`{"schemaVersion":2,"config":{"digest":"x","size":1},"layers":[]}`, "the digest"},
		"config's size":    {`{"schemaVersion":2,"config":{"digest":"` + someDigest + `","size":-5},"layers":[]}`, "the size"},
	} {
		if _, err := understand(tc.manifest, "{}"); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, not %q", name, err, tc.want)
		}
	}
}

// understand does what Resolve does between its requests.
func understand(manifest, config string) ([]vendor.File, error) {
	m, err := parseManifest([]byte(manifest))
	if err != nil {
		return nil, err
	}
	s, err := m.sort()
	if err != nil {
		return nil, err
	}
	d, err := parseDescription([]byte(config))
	if err != nil {
		return nil, err
	}
	if err := d.runnable(s); err != nil {
		return nil, err
	}
	r, _ := parse("ollama:x")
	_ = append(s.notes(), d.notes()...)
	return s.files(r), nil
}

func TestDescriptions(t *testing.T) {
	d, err := parseDescription([]byte(`{"model_family":"qwen3","file_type":"Q4_K_M","context_length":4096,"renderer":"qwen3-coder"}`))
	if err != nil || d.Family != "qwen3" || d.FileType != "Q4_K_M" || d.ContextLength != 4096 || len(d.notes()) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	d, err = parseDescription([]byte(`{"model_family":"\u001b[31m","file_type":"unknown","context_length":-1}`))
	if err != nil || d != (description{}) {
		t.Errorf("hostile words: %+v, %v", d, err)
	}
	for config, want := range map[string]string{
		`[]`:                             "no JSON",
		`{"model_format":"safetensors"}`: "no GGUF",
		`{"remote_host":"https://ollama.com:443"}`: "cloud",
	} {
		layers := []string{one("model", 1)}
		if want == "cloud" {
			layers = nil
		}
		if _, err := understand(manifestOf(layers...), config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func TestLicenses(t *testing.T) {
	for text, want := range map[string]string{
		"                                 Apache License\n                           Version 2.0, January 2004\n": "apache-2.0",
		"MIT License\n\nCopyright (c) Microsoft Corporation.":                                                     "mit",
		"The MIT License (MIT)": "mit",
		"# MIT License":         "mit",
		"apache-2.0\n":          "apache-2.0",
		"GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007":                        "gpl-3.0",
		"Creative Commons Attribution-NonCommercial 4.0 International Public License": "cc-by-nc-4.0",
		"LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nApache License Version 2.0":           "",
		"Gemma Terms of Use":                "",
		"This is not under the MIT License": "",
		"":                                  "",
		"\xff\xfe":                          "",
	} {
		if got := spdx(text); got != want {
			t.Errorf("%q is %q, not %q", text, got, want)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(manifestOf(one("model", 1), one("template", 2), one("license", 3)), `{"model_family":"llama","file_type":"Q8_0"}`, "MIT License")
	f.Add(manifestOf(one("projector", 1), one("messages", 2), one("model", 3), one("\\u0000", 4)), `{"remote_host":"x"}`, "\xff")
	f.Add(`{"schemaVersion":2,"config":{"size":-1}}`, `{"context_length":1e9}`, "")
	f.Fuzz(func(t *testing.T, manifest, config, license string) {
		_ = spdx(license)
		files, err := understand(manifest, config)
		if err != nil {
			if len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\n\x1b\x00") {
				t.Fatalf("an error that cannot be shown: %q", err.Error())
			}
			return
		}
		if !json.Valid([]byte(manifest)) || len(files) == 0 || files[0].Kind != vendor.Model {
			t.Fatalf("%q has the files %+v", manifest, files)
		}
		for i, file := range files {
			if file.SizeBytes < 0 || !digestRule.MatchString(file.Digest) || i > 0 && file.Kind == vendor.Model {
				t.Fatalf("%q has the file %+v", manifest, file)
			}
			if r, err := parse(file.Source); err != nil || r.digest != file.Digest {
				t.Fatalf("the source %q: %v", file.Source, err)
			}
		}
	})
}

package stores

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const maxLayers = 256

// layerKinds are what Ollama's layers are to us, by the last word of their media types.
var layerKinds = map[string]vendor.Kind{
	"model":     vendor.Model,
	"projector": vendor.Projector,
	"template":  vendor.GoTemplate,
	"prompt":    vendor.GoTemplate, // by its first versions
	"params":    vendor.Params,
	"system":    vendor.System,
	"license":   vendor.License,
}

// manifest is what an Ollama model consists of.
type manifest struct {
	config layer
	layers []layer
}

// layer is one blob.
type layer struct {
	kind   string // "model": what follows application/vnd.ollama.image.
	hash   string // as the manifest has it, which is how the blob is called
	digest string // "sha256:" and lower case
	size   int64
}

const layerType = "application/vnd.ollama.image."

// ollamaDigest is what Ollama takes for a digest (server/modelpath.go, GetBlobsPath).
var ollamaDigest = regexp.MustCompile(`^sha256[:-]([0-9a-fA-F]{64})$`)

// parseManifest reads a manifest of at most 1 MiB. A layer of a kind that is not Ollama's is kept by its
// full media type.
func parseManifest(b []byte) (manifest, error) {
	type raw struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	}
	var in struct {
		Config raw   `json:"config"`
		Layers []raw `json:"layers"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return manifest{}, errors.New("is not the JSON of one: " + err.Error())
	}
	if len(in.Layers) > maxLayers {
		return manifest{}, fmt.Errorf("has %d layers, the limit is %d", len(in.Layers), maxLayers)
	}
	read := func(r raw) (layer, error) {
		m := ollamaDigest.FindStringSubmatch(r.Digest)
		if m == nil {
			return layer{}, fmt.Errorf("has the digest %.80q, want sha256", r.Digest)
		}
		if r.Size < 0 {
			return layer{}, fmt.Errorf("has a layer of %d bytes", r.Size)
		}
		return layer{strings.TrimPrefix(r.MediaType, layerType), m[1], "sha256:" + strings.ToLower(m[1]), r.Size}, nil
	}
	var out manifest
	for _, r := range in.Layers {
		l, err := read(r)
		if err != nil {
			return manifest{}, err
		}
		out.layers = append(out.layers, l)
	}
	if in.Config.Digest != "" {
		var err error
		if out.config, err = read(in.Config); err != nil {
			return manifest{}, err
		}
	}
	return out, nil
}

// counting are the layers without those of which only the last of its kind counts, as in Ollama's server.
func (m manifest) counting() []layer {
	var out []layer
	for i, l := range m.layers {
		switch kind := layerKinds[l.kind]; kind {
		case vendor.GoTemplate, vendor.Params, vendor.System:
			if slices.ContainsFunc(m.layers[i+1:], func(o layer) bool { return layerKinds[o.kind] == kind }) {
				continue
			}
		}
		out = append(out, l)
	}
	return out
}

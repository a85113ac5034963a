package ollama

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"regexp"
	"strings"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// Media types, of Ollama's server/images.go and server/manifest.go.
const (
	typeManifest    = "application/vnd.docker.distribution.manifest.v2+json"
	typeOCIManifest = "application/vnd.oci.image.manifest.v1+json"
	typeLayer       = "application/vnd.ollama.image."
)

const (
	maxBytes  = int64(1) << 46 // of a layer
	maxText   = int64(4) << 20 // bytes of a layer that is a text
	maxFiles  = 64
	maxIgnore = 3 // unknown types that are named
)

// layer is a descriptor in a manifest.
type layer struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

func (l layer) check() error {
	switch {
	case !digestRule.MatchString(l.Digest):
		return fmt.Errorf("its layer %.100q has the digest %.100q", l.MediaType, l.Digest)
	case l.Size < 0 || l.Size > maxBytes:
		return fmt.Errorf("its layer %.100q has the size %d", l.MediaType, l.Size)
	}
	return nil
}

type manifest struct {
	Schema    int     `json:"schemaVersion"`
	MediaType string  `json:"mediaType"`
	Config    layer   `json:"config"`
	Layers    []layer `json:"layers"`
}

// parseManifest reads a manifest and checks each of its descriptors.
func parseManifest(data []byte) (*manifest, error) {
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, errors.New("what came is no manifest")
	}
	if m.Schema != 2 || m.MediaType != "" && m.MediaType != typeManifest && m.MediaType != typeOCIManifest {
		return nil, fmt.Errorf("its manifest has version %d and type %.100q, not those of a model", m.Schema, m.MediaType)
	}
	all := m.Layers
	if m.Config != (layer{}) {
		all = append([]layer{m.Config}, all...)
	}
	for _, l := range all {
		if err := l.check(); err != nil {
			return nil, err
		}
	}
	return &m, nil
}

// sorted is a manifest's layers by what they are. Of a kind that counts once the last one does, as in Ollama.
type sorted struct {
	model                    *layer
	template, params, system *layer
	licenses, projectors     []layer
	messages                 bool
	unknown                  []string // the first few types
	unknowns                 int
}

// sort says what the layers are for. It refuses a model that needs more than one file.
func (m *manifest) sort() (*sorted, error) {
	s := &sorted{}
	for _, l := range m.Layers {
		if err := s.add(l); err != nil {
			return nil, err
		}
	}
	if n := len(s.licenses) + len(s.projectors); n > maxFiles {
		return nil, fmt.Errorf("it has %d licences and projectors", n)
	}
	return s, nil
}

func (s *sorted) add(l layer) error {
	kind, ours := strings.CutPrefix(mediaType(l.MediaType), typeLayer)
	if !ours {
		kind = ""
	}
	text := &s.template
	switch kind {
	case "model":
		if s.model != nil {
			return &unusable{"its weights are in more than one layer", "look for a tag with one file of weights"}
		}
		s.model = &l
		return nil
	case "tensor":
		return notGGUF("single tensors")
	case "adapter":
		return &unusable{"it is an adapter (LoRA) that changes another model", "pull the model that it was made for, or merge the two and publish the result"}
	case "projector":
		s.projectors = append(s.projectors, l)
		return nil
	case "messages":
		s.messages = true
		return nil
	case "license":
		s.licenses = append(s.licenses, l)
		return short(l)
	case "template", "prompt": // "prompt" until Ollama 0.0.12
	case "params":
		text = &s.params
	case "system":
		text = &s.system
	default:
		if s.unknowns++; len(s.unknown) < maxIgnore {
			s.unknown = append(s.unknown, fmt.Sprintf("%.80q", l.MediaType))
		}
		return nil
	}
	*text = &l
	return short(l)
}

func short(l layer) error {
	if l.Size > maxText {
		return fmt.Errorf("its text %.100q has %d bytes, at most %d are taken", l.MediaType, l.Size, maxText)
	}
	return nil
}

// mediaType is t without parameters.
func mediaType(t string) string {
	if name, _, err := mime.ParseMediaType(t); err == nil {
		return name
	}
	return ""
}

func notGGUF(what string) error {
	return &unusable{"its weights are " + what + ", and no GGUF", "look for a tag with GGUF weights, such as one that ends in q4_K_M"}
}

// files are what the artifact has.
func (s *sorted) files(r reference) []vendor.File {
	r.tag = ""
	var out []vendor.File
	add := func(name string, kind vendor.Kind, l *layer) {
		if l != nil {
			out = append(out, vendor.File{Name: name, Kind: kind, SizeBytes: l.Size, Digest: l.Digest, Source: r.pinned(l.Digest)})
		}
	}
	add("model", vendor.Model, s.model)
	add("template", vendor.GoTemplate, s.template)
	add("params", vendor.Params, s.params)
	add("system", vendor.System, s.system)
	for i := range s.licenses {
		add(numbered("license", i), vendor.License, &s.licenses[i])
	}
	for i := range s.projectors {
		add(numbered("projector", i), vendor.Projector, &s.projectors[i])
	}
	return out
}

func numbered(name string, i int) string {
	if i == 0 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, i+1)
}

func (s *sorted) notes() []string {
	var out []string
	if len(s.projectors) > 0 {
		out = append(out, "it has a projector for pictures or sound, which is left out: it takes text alone")
	}
	if s.messages {
		out = append(out, "it has messages that Ollama puts before each chat, which are left out")
	}
	if s.unknowns > 0 {
		out = append(out, fmt.Sprintf("%d of its layers are of types that rbee does not know and are left out: %s", s.unknowns, strings.Join(s.unknown, ", ")))
	}
	return out
}

// description is the manifest's config (ConfigV2 in Ollama's server/images.go and its successors).
type description struct {
	Format        string `json:"model_format"`
	Family        string `json:"model_family"`
	FileType      string `json:"file_type"`
	ContextLength int    `json:"context_length"`
	Renderer      string `json:"renderer"` // built into Ollama, in the place of a template
	Parser        string `json:"parser"`
	RemoteHost    string `json:"remote_host"` // a model that runs there
}

var wordRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$`)

// parseDescription reads a config; what is no plain word in it counts as not said.
func parseDescription(data []byte) (description, error) {
	var d description
	if err := json.Unmarshal(data, &d); err != nil {
		return d, errors.New("its config is no JSON of a model")
	}
	for _, s := range []*string{&d.Family, &d.FileType, &d.Renderer, &d.Parser} {
		if !wordRule.MatchString(*s) || strings.EqualFold(*s, "unknown") {
			*s = ""
		}
	}
	if d.ContextLength < 0 || d.ContextLength > 1<<30 {
		d.ContextLength = 0
	}
	return d, nil
}

// runnable says why a model with these parts is none for rbee; nil if it is.
func (d description) runnable(s *sorted) error {
	switch {
	case d.Format != "" && d.Format != "gguf":
		return notGGUF(fmt.Sprintf("of the format %.40q", d.Format))
	case s.model == nil && d.RemoteHost != "":
		return &unusable{"it runs in Ollama's cloud and has no weights to fetch", "look for a tag without \"cloud\""}
	case s.model == nil:
		return &unusable{"it has no layer " + typeLayer + "model: it is no model, or one without weights", "look at its page for a tag with weights"}
	}
	return nil
}

func (d description) notes() []string {
	if d.Renderer == "" && d.Parser == "" {
		return nil
	}
	return []string{"Ollama writes and reads its chats by code of its own; rbee goes by its template"}
}

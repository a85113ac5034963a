package stores

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// ollama is Ollama's folder of models (Ollama, server/manifest.go and server/modelpath.go):
//
//	manifests/<host>/<namespace>/<model>/<tag>   what its registry answers for the name
//	blobs/sha256-<hex>
type ollama struct{ places []string }

func ollamaStore(e environment) Store {
	return ollama{places(
		e.at("OLLAMA_MODELS"), e.below(".ollama", "models"),
		"/usr/share/ollama/.ollama/models",                         // the service's that its installer makes on Linux
		"/var/lib/ollama/.ollama/models", "/var/lib/ollama/models", // of some distributions
	)}
}

func (ollama) Name() string       { return "ollama" }
func (s ollama) Places() []string { return slices.Clone(s.places) }

func (s ollama) Find(ctx context.Context) ([]Found, error) {
	return find(ctx, s.Name(), s.places, func(l *look, root string) {
		manifests := filepath.Join(root, "manifests")
		blobs, err := filepath.EvalSymlinks(filepath.Join(root, "blobs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.problem("", "its blobs: "+why(err))
			return
		}
		l.walk(manifests, func(rel string, e fs.DirEntry) {
			name, ok := ollamaNameOf(filepath.ToSlash(rel))
			switch {
			case l.ctx.Err() != nil || strings.HasPrefix(e.Name(), "."):
			case !ok:
				l.problem(rel, "is no name of Ollama's for a model")
			default:
				l.ollamaModel(name, filepath.Join(manifests, rel), blobs)
			}
		})
	})
}

// ownHosts are names of Ollama's own registry.
var ownHosts = []string{"registry.ollama.ai", "ollama.com", "www.ollama.com"}

// ollamaName is a model's full name.
type ollamaName struct{ host, namespace, model, tag string }

// Ollama's own rules (types/model/name.go, isValidPart).
var (
	ollamaHost      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}$`)
	ollamaNamespace = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,79}$`)
	ollamaPart      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}$`)
)

func ollamaNameOf(rel string) (ollamaName, bool) {
	p := strings.Split(rel, "/")
	if len(p) != 4 || !ollamaHost.MatchString(p[0]) || !ollamaNamespace.MatchString(p[1]) ||
		!ollamaPart.MatchString(p[2]) || !ollamaPart.MatchString(p[3]) {
		return ollamaName{}, false
	}
	return ollamaName{strings.ToLower(p[0]), p[1], p[2], p[3]}, true
}

// short is the name as `ollama list` shows it.
func (n ollamaName) short() string {
	s := n.model + ":" + n.tag
	switch {
	case !slices.Contains(ownHosts, n.host):
		return n.host + "/" + n.namespace + "/" + s
	case n.namespace != "library":
		return n.namespace + "/" + s
	}
	return s
}

func (l *look) ollamaModel(name ollamaName, path, blobs string) {
	f := Found{Store: l.store, Place: l.place}
	f.Name = "ollama:" + name.short()
	f.Refs = []string{f.Name}
	if short, ok := strings.CutSuffix(f.Name, ":latest"); ok {
		f.Refs = append(f.Refs, short)
	}
	if b, err := l.text(path, maxManifest); err != nil {
		f.Problem = "its manifest " + why(err)
	} else if m, err := parseManifest(b); err != nil {
		f.Problem = "its manifest " + clean(err.Error())
	} else {
		// Ollama writes manifests anew, so the registry's may have another digest.
		sum := sha256.Sum256(b)
		f.Revision = "sha256:" + hex.EncodeToString(sum[:])
		f.Ref = f.Name + "@" + f.Revision
		f.Refs = append(f.Refs, f.Ref)
		f.Problem = l.layers(&f, m, blobs)
	}
	if f.Problem == "" {
		f.Problem = l.check(&f)
	}
	l.found = append(l.found, f)
}

// layers fills in the files of a model, its weights first, and returns what is wrong.
func (l *look) layers(f *Found, m manifest, blobs string) string {
	weights := 0
	for _, layer := range m.counting() {
		kind, known := layerKinds[layer.kind]
		switch {
		case layer.kind == "adapter":
			return "has an adapter (LoRA), without which it is another model"
		case layer.kind == "tensor":
			return "is not in GGUF: its weights are single tensors"
		case !known:
			f.Notes = append(f.Notes, "left out: "+clean(layer.kind))
			continue
		}
		file, err := l.blob(layer, kind, blobs)
		switch {
		case err == nil:
		case kind == vendor.License || kind == vendor.Projector:
			f.Notes = append(f.Notes, fmt.Sprintf("left out: its %s %s", kind, why(err)))
			continue
		default:
			return fmt.Sprintf("its %s (%s) %s", kind, layer.digest, why(err))
		}
		at := len(f.Files)
		if kind == vendor.Model {
			at = weights
			weights++
		}
		f.Files = slices.Insert(f.Files, at, file)
	}
	switch weights {
	case 0:
		return l.noWeights(m, blobs)
	case 1:
		return ""
	}
	return fmt.Sprintf("has %d files of weights, want one", weights)
}

// blob is a layer's file. One that is read as text has the digest that it should have.
func (l *look) blob(layer layer, kind vendor.Kind, blobs string) (vendor.File, error) {
	path, size, err := inside(blobs, filepath.Join(blobs, "sha256-"+layer.hash))
	if err != nil {
		return vendor.File{}, err
	}
	if size != layer.size {
		return vendor.File{}, fmt.Errorf("has %d bytes, its manifest says %d", size, layer.size)
	}
	if kind != vendor.Model && kind != vendor.Projector {
		b, err := l.text(path, maxText)
		if err != nil {
			return vendor.File{}, err
		}
		if sum := sha256.Sum256(b); "sha256:"+hex.EncodeToString(sum[:]) != layer.digest {
			return vendor.File{}, errors.New("has another digest than its name")
		}
	}
	return vendor.File{Name: layer.kind, Kind: kind, SizeBytes: size, Digest: layer.digest, InPlace: path}, nil
}

// noWeights says why a manifest names none.
func (l *look) noWeights(m manifest, blobs string) string {
	const none = "has no weights"
	path, _, err := inside(blobs, filepath.Join(blobs, "sha256-"+m.config.hash))
	if err != nil {
		return none
	}
	var config struct {
		RemoteHost string `json:"remote_host"`
	}
	if b, err := l.text(path, maxManifest); err != nil || json.Unmarshal(b, &config) != nil || config.RemoteHost == "" {
		return none
	}
	return none + ": it runs in Ollama's cloud"
}

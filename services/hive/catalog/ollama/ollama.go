// Package ollama brings models from Ollama's registry, https://ollama.com/library, and from others that
// speak its protocol: an OCI registry whose manifests list a GGUF and texts by Ollama's media types.
//
// RBEE_OLLAMA_REGISTRY is the registry that is asked for references without a host, such as
// http://127.0.0.1:5000; plain http is for this machine only. Only what is public can be had: a registry
// that asks for a token is asked for one without an account.
package ollama

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	op = "model.ollama"

	// RegistryVariable is the environment variable with the address of the registry.
	RegistryVariable = "RBEE_OLLAMA_REGISTRY"
	// DefaultRegistry is asked unless the environment names another.
	DefaultRegistry = "https://registry.ollama.ai"

	// smallLimit is how long a manifest or another small answer may take.
	smallLimit = time.Minute
)

// Vendor is a [vendor.Vendor]. Its methods may be called by many goroutines.
type Vendor struct {
	client   *http.Client
	registry *url.URL
	wrong    error // of the address in the environment; told by what needs it
	tokens   tokens
	limit    time.Duration // of a small answer
}

var _ vendor.Vendor = (*Vendor)(nil)

// New returns the vendor. It reads [RegistryVariable] by getenv, does no I/O and has no goroutine; an
// address there that cannot be is told by Resolve and Fetch.
func New(getenv func(string) string) *Vendor {
	v := &Vendor{client: vendor.NewClient(), limit: smallLimit}
	v.client.CheckRedirect = onlySafe(v.client.CheckRedirect)
	address := getenv(RegistryVariable)
	if address == "" {
		address = DefaultRegistry
	}
	v.registry, v.wrong = parseRegistry(address)
	return v
}

// Name is "ollama".
func (v *Vendor) Name() string { return "ollama" }

// Forms are the references that Ollama takes, with "ollama:" before them, and its web pages.
func (v *Vendor) Forms() []string { return forms() }

// Supports says whether ref starts with "ollama:" or is a page of ollama.com.
func (v *Vendor) Supports(ref string) bool { return supports(ref) }

// Spell is a [vendor.Speller]'s.
func (v *Vendor) Spell(ref string) string {
	r, err := parse(ref)
	switch {
	case err != nil:
		return ref
	case r.digest != "":
		return r.pinned(r.digest)
	}
	return r.public()
}

// Resolve reads a model's manifest, its description and, if it is short, its licence. What is neither a
// GGUF alone nor a text beside it is left out with a note; a model that cannot run without is refused with
// [messages.CodeBadModel].
func (v *Vendor) Resolve(ctx context.Context, ref string) (*vendor.Artifact, error) {
	r, err := parse(ref)
	if err != nil {
		return nil, err
	}
	raw, err := v.manifest(ctx, r)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, v.bad(r, err)
	}
	parts, err := m.sort()
	if err != nil {
		return nil, v.bad(r, err)
	}
	var about description
	if m.Config.Digest != "" {
		text, err := v.blob(ctx, r, m.Config, maxConfig)
		if err != nil {
			return nil, err
		}
		if about, err = parseDescription(text); err != nil {
			return nil, v.bad(r, err)
		}
	}
	if err := about.runnable(parts); err != nil {
		return nil, v.bad(r, err)
	}
	a := &vendor.Artifact{Revision: digestOf(raw)}
	a.Name, a.Ref = r.public(), r.pinned(a.Revision)
	a.Architecture, a.Quantization, a.ContextLength = about.Family, about.FileType, about.ContextLength
	a.Files = parts.files(r)
	a.Notes = append(parts.notes(), about.notes()...)
	if len(parts.licenses) == 1 && parts.licenses[0].Size <= maxLicense {
		text, err := v.blob(ctx, r, parts.licenses[0], maxLicense)
		if err != nil {
			return nil, err
		}
		a.License = spdx(string(text))
	}
	return a, nil
}

// Fetch gives bytes of a blob. Redirects lead it to where the registry keeps its blobs.
func (v *Vendor) Fetch(ctx context.Context, f *vendor.File, part vendor.Range) (*vendor.Body, error) {
	r, err := parse(f.Source)
	if err == nil && (r.digest == "" || f.Digest != "" && f.Digest != r.digest) {
		err = messages.Errorf(messages.CodeBadRequest, op, "the file %.100q has the source %.100q, which is not its blob", f.Name, f.Source)
	}
	if err != nil {
		return nil, err
	}
	var body *vendor.Body
	err = v.ask(ctx, r, "blobs/"+r.digest, "", func(req *http.Request) (err error) {
		body, err = vendor.Open(v.client, req, part)
		return err
	})
	if err != nil {
		return nil, v.failed(ctx, r, "the file "+r.digest, err)
	}
	body.Version = "" // the digest pins it
	return body, nil
}

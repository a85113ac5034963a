// Package catalog keeps the models on this machine's disk: it brings them there, checks them and
// finds them again. It keeps nothing in memory, the disk is the truth. A kill at any moment leaves
// no half entry: an entry counts from the moment its manifest is renamed into place, which happens
// last. Everything exported is safe for concurrent use, also by several processes on one data
// directory.
package catalog

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/messages"
)

const (
	opResolve = "model.resolve"
	opFind    = "model.find"
	opCheck   = "model.check"
)

// Step is what is done right now to bring a model. Done and Total are bytes; Total is 0 while nobody
// knows how much there is to do.
type Step struct {
	Text  string
	Done  int64
	Total int64
}

// Artifact is what a vendor would bring for a reference.
type Artifact struct {
	// ID is the model's public name: what a client asks for.
	ID string
	// InPlace is the absolute path of a model that is used where it lies; "" for one to be fetched.
	InPlace string
	// SizeBytes of the file to fetch; 0 if unknown.
	SizeBytes int64
	// Digest of the file to fetch, "sha256:" and lower-case hexadecimal; "" if unknown. A fetched
	// file with another digest is refused, a registered one is fetched anew.
	Digest string
}

// Vendor is where models come from. Its methods may be called by many goroutines.
type Vendor interface {
	// Name is short and stable; it is written into manifests.
	Name() string
	// Supports says by the look of a reference alone, without I/O, whether it is this vendor's.
	Supports(ref string) bool
	// Forms are the references that the vendor takes, as people would write them.
	Forms() []string
	// Offers are references that can be had at any time without a network; often none.
	Offers() []string
	// Resolve finds out what ref stands for. [messages.CodeModelUnknown] if it is nothing.
	Resolve(ctx context.Context, ref string) (Artifact, error)
	// Fetch writes the artifact's file to path, whose folder exists. A file that is there is what an
	// interrupted Fetch left. When ctx ends it returns soon, with ctx's error. It is not called for
	// what is in place.
	Fetch(ctx context.Context, a Artifact, path string, step func(Step)) error
}

// Vendors returns every vendor, preferred first. Adding a vendor is adding a line here.
func Vendors() []Vendor {
	return []Vendor{
		builtin{},
		local{},
	}
}

// Catalog is the models below one data directory.
type Catalog struct {
	dir     string // <data>/models
	vendors []Vendor
}

// New returns the catalog of a data directory; without vendors it has [Vendors]. No I/O happens yet.
func New(dataDir string, vendors ...Vendor) *Catalog {
	if len(vendors) == 0 {
		vendors = Vendors()
	}
	return &Catalog{dir: filepath.Join(dataDir, "models"), vendors: vendors}
}

// List is every registered model whose file is there, sorted by public name. A model in place whose
// file is gone is left out, and is back when its file is.
func (c *Catalog) List() []messages.Model {
	var out []messages.Model
	for _, m := range c.manifests() {
		if path, err := m.path(c.dir); err == nil && present(path) == nil {
			out = append(out, m.model(path))
		}
	}
	return out
}

// Available is [Catalog.List] and, without a path and with size 0, what the vendors offer and nobody
// has asked for yet; sorted by public name.
func (c *Catalog) Available() []messages.Model {
	out := c.List()
	for _, v := range c.vendors {
		for _, name := range v.Offers() {
			if !slices.ContainsFunc(out, func(m messages.Model) bool { return m.ID == name }) {
				out = append(out, messages.Model{ID: name, Refs: []string{name}})
			}
		}
	}
	slices.SortFunc(out, func(a, b messages.Model) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Names is the public names that [Catalog.Resolve] can make present without a network: those of
// [Catalog.List] and what the vendors offer; sorted.
func (c *Catalog) Names() []string {
	var names []string
	for _, m := range c.List() {
		names = append(names, m.ID)
	}
	for _, v := range c.vendors {
		names = append(names, v.Offers()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Find is the registered model with that public name, or that was asked for by that reference. It
// fetches nothing. [messages.CodeModelUnknown] if there is none, [messages.CodeBadModel] if its file
// is gone.
func (c *Catalog) Find(name string) (messages.Model, error) {
	var found *manifest
	for _, m := range c.manifests() {
		if m.ID == name {
			found = &m
			break // a public name wins over a reference
		}
		if found == nil && slices.Contains(m.Refs, name) {
			found = &m
		}
	}
	if found == nil {
		return messages.Model{}, messages.Errorf(messages.CodeModelUnknown, opFind, "no model %q on this machine", name)
	}
	path, err := found.path(c.dir)
	if err != nil {
		return messages.Model{}, err
	}
	if err := present(path); err != nil {
		return messages.Model{}, err
	}
	return found.model(path), nil
}

// Resolve makes the model that ref stands for present on this disk, checks and registers it. ref is
// a reference of one of the vendors, or the public name of a registered model. step is called from
// this goroutine and may be nil. Several calls for one model fetch it once.
//
// Errors: [messages.CodeModelUnknown] when ref is nothing known, with the forms that are;
// [messages.CodeBadModel] when the file is missing, unreadable, truncated or no GGUF;
// [messages.CodeConflict] when another model has the public name; [messages.CodeCancelled] when ctx
// ended first; [messages.CodeInternal] for a failing disk.
func (c *Catalog) Resolve(ctx context.Context, ref string, step func(Step)) (messages.Model, error) {
	if step == nil {
		step = func(Step) {}
	}
	i := slices.IndexFunc(c.vendors, func(v Vendor) bool { return v.Supports(ref) })
	if i < 0 {
		return c.byName(ref)
	}
	m, err := c.resolve(ctx, c.vendors[i], ref, step)
	if err == nil {
		return m, nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return m, messages.Errorf(messages.CodeCancelled, opResolve, "model %q: %w", ref, err)
	}
	return m, messages.AsError(err, opResolve)
}

// byName is Resolve for what no vendor knows.
func (c *Catalog) byName(name string) (messages.Model, error) {
	m, err := c.Find(name)
	if messages.CodeOf(err) == messages.CodeModelUnknown {
		var forms []string
		for _, v := range c.vendors {
			forms = append(forms, v.Name()+": "+strings.Join(v.Forms(), ", "))
		}
		return m, messages.Errorf(messages.CodeModelUnknown, opResolve, "no model is called %q", name).
			WithHint("models are named like this: %s", strings.Join(forms, "; "))
	}
	if err != nil {
		return m, err
	}
	_, err = openHeader(m.Path)
	return m, err
}

func (c *Catalog) resolve(ctx context.Context, v Vendor, ref string, step func(Step)) (messages.Model, error) {
	a, err := v.Resolve(ctx, ref)
	if err != nil {
		return messages.Model{}, err
	}
	if a.InPlace != "" {
		if _, err := openHeader(a.InPlace); err != nil { // before there is a trace of it
			return messages.Model{}, err
		}
	}
	e, err := c.enter(ctx, a.ID)
	if err != nil {
		return messages.Model{}, err
	}
	defer e.leave()
	if a.InPlace != "" {
		return e.registerInPlace(v, a, ref)
	}
	return e.fetch(ctx, v, a, ref, step)
}

package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// Step is what is done right now to bring a model. Done and Total are bytes; Total is 0 while nobody
// knows how much there is to do.
type Step struct {
	Text  string
	Done  int64
	Total int64
}

// Watcher is told what a pull does. Both may be nil.
type Watcher struct {
	// Say is for what a person should know: what was chosen, that a file was replaced at its source. Any
	// goroutine calls it, one at a time.
	Say func(text string)
	// Step is for how far it is, some times a second.
	Step func(Step)
}

func (w Watcher) say(format string, args ...any) {
	if w.Say != nil {
		w.Say(fmt.Sprintf(format, args...))
	}
}

func (w Watcher) step(s Step) {
	if w.Step != nil {
		w.Step(s)
	}
}

// Pull is what to bring, and how.
type Pull struct {
	Ref  string
	Name string // public name; "": the vendor's
	// Copy has a file of this machine copied into the catalog, not used where it lies.
	Copy bool
	// Hash has files that are used in place read for their digest.
	Hash    bool
	Offline bool
	// IfMissing takes a registered model as it is, without asking its source.
	IfMissing      bool
	BytesPerSecond int64 // 0: no limit
}

// Resolve makes the model that ref stands for present, as a spawn needs it: a registered one as it is.
func (c *Catalog) Resolve(ctx context.Context, ref string, w Watcher) (messages.Model, error) {
	return c.Pull(ctx, Pull{Ref: ref, IfMissing: true}, w)
}

// Pull makes the model that a reference stands for present on this disk, checks and registers it. The
// reference is one of a vendor's, or the public name of a registered model. Several calls for one model fetch
// it once.
//
// Errors: [messages.CodeModelUnknown] when the reference is nothing known, with the forms that are;
// [messages.CodeBadModel] when a file is missing, unreadable, truncated, damaged or no GGUF;
// [messages.CodeConflict] when another model has the public name; [messages.CodeDiskFull];
// [messages.CodeUnavailable] when the source cannot be reached, or must not be; [messages.CodeCancelled]
// when ctx ended first; [messages.CodeInternal] for a failing disk; and those of [vendor.Vendor].
func (c *Catalog) Pull(ctx context.Context, p Pull, w Watcher) (messages.Model, error) {
	m, err := c.pull(ctx, p, w)
	if err == nil {
		return m, nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return m, messages.Errorf(messages.CodeCancelled, opResolve, "model %q: %w", p.Ref, err)
	}
	return m, messages.AsError(err, opResolve)
}

func (c *Catalog) pull(ctx context.Context, p Pull, w Watcher) (messages.Model, error) {
	v, known := c.pick(p.Ref)
	_, local := v.(vendor.Local)
	if !known || p.IfMissing && !local || (p.Offline || c.cfg.Offline) && !local {
		m, err := c.usable(p.Ref)
		switch {
		case err == nil:
			return m, nil
		case !known && messages.CodeOf(err) == messages.CodeModelUnknown:
			return m, c.unknown(p.Ref)
		case !known:
			return m, err
		case p.Offline || c.cfg.Offline:
			return m, messages.Errorf(messages.CodeUnavailable, opResolve, "model %q is not on this machine, and it is offline", p.Ref).
				WithHint("rbee model list shows what is there; rbee model import takes what other programs have")
		}
	}
	a, err := ask(ctx, v, p.Ref, w)
	if errors.Is(err, vendor.ErrOffline) {
		if m, e := c.usable(p.Ref); e == nil {
			return m, nil
		}
	}
	if err != nil {
		return messages.Model{}, err
	}
	for i := range a.Files {
		if f := &a.Files[i]; f.InPlace != "" {
			if digest, ok := c.ours(f.InPlace); ok {
				f.Digest, f.InPlace = digest, ""
			}
		}
	}
	c.knowUnchanged(v, a)
	for _, note := range a.Notes {
		w.say("%s", note)
	}
	m := newManifest(v.Name(), a)
	if p.Name != "" {
		if likePath(p.Name) {
			return messages.Model{}, messages.Errorf(messages.CodeBadRequest, opResolve, "%.80q cannot be a model's name: it would be taken for a path", p.Name).
				WithHint("give another one with --name")
		}
		if c.offered(p.Name) && p.Name != a.Name {
			return messages.Model{}, messages.Errorf(messages.CodeConflict, opResolve, "%q is the name of another model", p.Name).
				WithHint("give another one with --name")
		}
		m.ID = p.Name
	}
	if err := checkName(m.ID); err != nil {
		return messages.Model{}, err
	}
	if err := c.conflict(&m, a, p.Ref, false); err != nil { // before much is fetched
		return messages.Model{}, err
	}
	cl, err := c.claim(ctx)
	if err != nil {
		return messages.Model{}, err
	}
	defer cl.release()
	b := &bringing{c: c, v: v, a: a, p: p, w: w, claim: cl, name: m.ID}
	if m.Files, err = b.all(ctx); err != nil {
		return messages.Model{}, err
	}
	return c.register(ctx, &m, p.Ref, w)
}

// usable is a registered model whose header can be read.
func (c *Catalog) usable(name string) (messages.Model, error) {
	m, err := c.Find(name)
	if err == nil {
		_, err = openHeader(m.Path)
	}
	return m, err
}

func newManifest(vendorName string, a *vendor.Artifact) manifest {
	return manifest{Schema: manifestSchema, ID: a.Name, Vendor: vendorName, Full: a.Ref, License: a.License, Architecture: a.Architecture,
		Quantization: a.Quantization, ContextLength: a.ContextLength, Revision: a.Revision, AddedAt: time.Now().UTC().Truncate(time.Second)}
}

// conflict says whether another model has m's public name. A model that was asked for by the same reference, or by
// another for the same thing, is the same one, grown older: it is replaced. a stands for m's files while they are not
// fetched.
func (c *Catalog) conflict(m *manifest, a *vendor.Artifact, ref string, fetched bool) error {
	dir := filepath.Join(c.dir, folder(m.ID))
	old, err := readManifest(dir)
	switch {
	case errors.Is(err, errNewer):
		return messages.Errorf(messages.CodeConflict, opResolve, "model %q cannot be registered anew: %w", m.ID, err).
			WithHint("use that version, give another name with --name, or remove %s", dir)
	case err != nil || old.ID == m.ID && (slices.Contains(old.Refs, ref) || c.grewInto(&old, m, ref)):
		return nil
	case old.ID != m.ID: // their digests start alike: somebody tried for long
		return messages.Errorf(messages.CodeConflict, opResolve, "the names %q and %q have the same folder", m.ID, old.ID).WithHint("give it another with --name")
	}
	if fetched && sameWeights(old.weights(), m.weights()) && sameManners(old.Files, m.Files) ||
		!fetched && mayBe(old.weights(), bare(a).weights()) && sameManners(old.Files, bare(a).Files) {
		return nil
	}
	there, err := c.present(&old)
	if err != nil {
		return nil // it is gone
	}
	return messages.Errorf(messages.CodeConflict, opResolve, "the name %q is taken by %s (%s), so %s cannot have it", m.ID, there.Path,
		strings.Join(old.Refs, ", "), ref).WithHint("give it another with --name, or remove that one: rbee model rm %s", m.ID)
}

// register makes the model visible: its files are there and verified.
func (c *Catalog) register(ctx context.Context, m *manifest, ref string, w Watcher) (out messages.Model, err error) {
	if err := c.describe(m); err != nil {
		return out, err
	}
	leave, err := c.changing(ctx)
	if err != nil {
		return out, err
	}
	defer leave()
	if err := c.conflict(m, nil, ref, true); err != nil {
		return out, err
	}
	dir := filepath.Join(c.dir, folder(m.ID))
	if err := notLink(dir); err != nil {
		return out, err
	}
	if old, err := readManifest(dir); err == nil && old.ID == m.ID {
		if sameWeights(old.weights(), m.weights()) {
			m.Refs, m.AddedAt = union(old.Refs, m.Refs), old.AddedAt
			m.Full = cmp.Or(m.Full, old.Full)
		} else if d := old.digest(); d != "" {
			w.say("%s was %s and is %s now", m.ID, short(d), short(m.digest()))
			if c.grewInto(&old, m, ref) {
				m.Refs = slices.DeleteFunc(slices.Clone(old.Refs), c.pinned)
			}
		}
	}
	if !slices.Contains(m.Refs, ref) {
		m.Refs = append(m.Refs, ref)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return out, err
	}
	if err := c.linkParts(m); err != nil {
		return out, err
	}
	if out, err = c.present(m); err != nil {
		return out, err
	}
	if err := m.write(dir); err != nil {
		return out, err
	}
	c.tidy(dir, m)
	return out, c.moved(m, ref)
}

// moved takes a reference from the models that it meant before: what it means now has other weights.
func (c *Catalog) moved(m *manifest, ref string) error {
	for _, other := range c.manifests() {
		if other.ID == m.ID || !slices.Contains(other.Refs, ref) || sameWeights(other.weights(), m.weights()) {
			continue
		}
		other.Refs = slices.DeleteFunc(other.Refs, func(r string) bool { return r == ref })
		if err := other.write(filepath.Join(c.dir, folder(other.ID))); err != nil {
			return err
		}
	}
	return nil
}

// union is a, and what b has besides.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// short is the start of a digest, for people.
func short(digest string) string {
	d := strings.TrimPrefix(digest, digestPrefix)
	return d[:min(len(d), 12)]
}

// describe has the file's own header say what the model is, over what its source says.
func (c *Catalog) describe(m *manifest) error {
	weights := m.weights()
	if len(weights) == 0 {
		return messages.Errorf(messages.CodeBadModel, opCheck, "model %s has no weights", m.ID)
	}
	for i := range weights {
		path, err := c.path(&weights[i])
		if err != nil {
			return err
		}
		h, err := openHeader(path)
		if err != nil {
			return err
		}
		if i > 0 {
			continue // the first part has the keys
		}
		if n, ok := h.Uint("split.count"); ok && n > 1 && n != uint64(len(weights)) {
			return messages.Errorf(messages.CodeBadModel, opCheck, "model %s is split into %d files and has %d", m.ID, n, len(weights)).
				WithHint("name the first part, and have all parts in one folder")
		}
		m.Architecture = cmp.Or(h.Architecture, m.Architecture)
		m.ContextLength = cmp.Or(h.ContextLength, m.ContextLength)
		m.Quantization = cmp.Or(m.Quantization, h.Quantization)
	}
	return nil
}

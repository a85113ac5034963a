package stores

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// collection is GGUF files that belong together: those of a repository at one revision, or of a folder.
type collection struct {
	repo     string   // "owner/name" at HuggingFace, or "" if no reference leads there
	shown    string   // the same, or what stands for it
	revision string   // a commit, or ""
	at       []string // what references to this revision end in: "" for main, "@dev"
	files    []file
	// seen are the models of the same repository that were there before, by their files, and the
	// references to them.
	seen map[string]bool
}

// file is a GGUF file in a store.
type file struct {
	name    string // in the collection, with slashes, as it is on the disk
	path    string // behind all links
	size    int64
	digest  string // or ""
	problem string
}

// group is the parts of one model; one, if it is not split.
type group struct {
	model string // as of part
	of    int
	parts []file
	quant string // by its name; "" if that does not tell
	means bool   // whether quant alone means it
}

// models notes every model of a collection.
func (l *look) models(c collection) {
	var projectors []vendor.File
	var groups []*group
	known := map[string]*group{}
	for _, f := range c.files {
		switch {
		case isMatrix(f.name):
			continue
		case isProjector(f.name):
			if f.problem == "" && c.shown != "" {
				projectors = append(projectors, f.as(vendor.Projector))
			}
			continue
		}
		model, _, of := vendor.Part(f.name)
		key := fmt.Sprintf("%s/%d%s", model, of, path.Ext(f.name))
		if known[key] == nil {
			known[key] = &group{model: model, of: of, quant: quantization(model)}
			groups = append(groups, known[key])
		}
		known[key].parts = append(known[key].parts, f)
	}
	slices.SortStableFunc(groups, compare)
	taken := map[string]bool{}
	for _, g := range groups {
		if l.ctx.Err() != nil {
			return
		}
		// The best of those with one quantization is what that alone means.
		g.means = g.quant != "" && !isAside(g.model) && !taken[g.quant]
		taken[g.quant] = true
		if key := g.key(); key == "" || !c.before(key) {
			l.model(c, g, projectors)
		}
	}
}

// compare orders models as the vendor huggingface does among those of one quantization.
func compare(a, b *group) int {
	order := func(g *group) []int {
		aside := 0
		if isAside(g.model) {
			aside = 1
		}
		incomplete := 0
		if len(g.parts) != g.of {
			incomplete = 1
		}
		return []int{aside, incomplete, strings.Count(g.model, "/"), len(g.model)}
	}
	return cmp.Or(slices.Compare(order(a), order(b)), strings.Compare(a.model, b.model), cmp.Compare(a.of, b.of))
}

// before says whether the same was seen before.
func (c collection) before(what string) bool {
	seen := c.seen[what]
	if c.seen != nil {
		c.seen[what] = true
	}
	return seen
}

func (f file) as(kind vendor.Kind) vendor.File {
	return vendor.File{Name: clean(f.name), Kind: kind, SizeBytes: f.size, Digest: f.digest, InPlace: f.path}
}

// key is equal for two groups that are the same files.
func (g *group) key() string {
	var b strings.Builder
	for _, p := range g.parts {
		if p.path == "" {
			return ""
		}
		b.WriteString(p.name + "\x00" + p.path + "\x00")
	}
	return b.String()
}

// problem says what is wrong with the files as such.
func (g *group) problem() string {
	if len(g.parts) != g.of {
		return fmt.Sprintf("has %d of its %d parts", len(g.parts), g.of)
	}
	for i, p := range g.parts { // sorted by name, so by number
		if _, number, _ := vendor.Part(p.name); number != i+1 {
			return fmt.Sprintf("has no part %d of %d", i+1, g.of)
		}
	}
	for _, p := range g.parts {
		if p.problem == "" {
			continue
		}
		if g.of > 1 {
			return clean(path.Base(p.name)) + " " + p.problem
		}
		return p.problem
	}
	return ""
}

// model notes one model.
func (l *look) model(c collection, g *group, projectors []vendor.File) {
	f := Found{Store: l.store, Place: l.place, Problem: g.problem()}
	f.Revision, f.Quantization = c.revision, g.quant
	for _, p := range g.parts {
		f.Files = append(f.Files, p.as(vendor.Model))
	}
	f.Files = append(f.Files, projectors...)
	if f.Problem == "" {
		f.Problem = l.check(&f)
	}
	switch {
	case c.shown == "":
		f.Name = clean(path.Base(g.model))
	case g.means:
		f.Name = clean(c.shown + ":" + g.quant)
	default:
		f.Name = clean(c.shown + ":" + path.Base(g.model))
	}
	f.Refs = c.refs(g, f.Problem == "")
	switch first := g.parts[0]; {
	case c.repo != "" && c.revision != "" && plain(first.name):
		f.Ref = "hf:" + c.repo + "/" + first.name + "@" + c.revision
	case g.of == 1 && first.path != "" && isGGUF(first.path) && clean(first.path) == first.path:
		f.Ref = first.path
	}
	if f.Ref != "" {
		f.Refs = append(f.Refs, f.Ref)
	}
	l.found = append(l.found, f)
}

// refs are the references to a model of the collection that do not say its revision.
func (c collection) refs(g *group, usable bool) (refs []string) {
	if c.repo == "" {
		return nil
	}
	add := func(ref string) {
		if c.seen[ref] {
			return
		}
		if refs = append(refs, ref); usable { // else a later one may have it
			c.before(ref)
		}
	}
	for _, at := range c.at {
		if g.means {
			add("hf:" + c.repo + ":" + g.quant + at)
		}
		if plain(g.parts[0].name) {
			add("hf:" + c.repo + "/" + g.parts[0].name + at)
		}
	}
	return refs
}

// check reads the headers of a model's files, fills in what they say, and returns what is wrong.
func (l *look) check(f *Found) string {
	first := true
	for _, file := range f.Files {
		if file.Kind != vendor.Model {
			continue
		}
		h, size, err := l.header(file.InPlace)
		switch {
		case err != nil:
			return why(err)
		case size != file.SizeBytes:
			return fmt.Sprintf("has %d bytes, %d are noted for it", size, file.SizeBytes)
		case !first:
			continue
		}
		first = false
		if p := notModel(h); p != "" {
			return p
		}
		f.Architecture, f.ContextLength = clean(h.Architecture), h.ContextLength
		if f.Quantization == "" {
			f.Quantization = h.Quantization
		}
		if license, ok := gguf.Get[string](h, "general.license"); ok {
			f.License = clean(license)
		}
	}
	return ""
}

// notModel says what a GGUF file is, if no engine can answer with it.
func notModel(h *gguf.Header) string {
	if kind, ok := gguf.Get[string](h, "general.type"); ok && kind != "model" {
		return "is no model: its general.type is " + clean(kind)
	}
	if h.Architecture == "clip" {
		return "is no model: it projects pictures or sound (clip)"
	}
	if err := gguf.CheckModel(h); err != nil {
		return clean(err.Error())
	}
	return ""
}

// link is the file behind an entry of a folder below base, with what is wrong with it.
func link(base, dir, rel string) file {
	f := file{name: filepath.ToSlash(rel)}
	target, size, err := inside(base, filepath.Join(dir, rel))
	if err != nil {
		f.problem = why(err)
		return f
	}
	f.path, f.size = target, size
	return f
}

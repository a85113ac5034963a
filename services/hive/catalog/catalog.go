// Package catalog keeps the models on this machine's disk: it brings them there, checks them and
// finds them again. It keeps no list in memory, the disk is the truth:
//
//	<data>/models/<name>/manifest.json   what a model is and which files it has
//	<data>/models/<name>/parts-<hex>/    links by which engines find the files of a split model
//	<data>/models/blobs/sha256-<hex>     one copy of a file, whatever needs it; there only when verified
//	<data>/models/partial/<key>/         a download under way or interrupted
//	<data>/models/partial/of-<hash>      which of them a reference's file was fetched to last
//	<data>/models/claims/                files that a pull has brought and not yet registered
//
// A kill at any moment leaves no half entry: a model counts from the moment its manifest is renamed into
// place, which happens last. No name from outside becomes a path. Everything exported is safe for
// concurrent use, also by several processes on one data directory.
package catalog

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/peaks"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	opResolve = "model.resolve"
	opFind    = "model.find"
	opCheck   = "model.check"
)

// Config of a catalog.
type Config struct {
	// DataDir is the hive's; models are below it.
	DataDir string
	// Vendors are asked in order; nil: [Vendors].
	Vendors []vendor.Vendor
	// Offline refuses what needs a network.
	Offline bool
	// QuotaBytes is the most that files and downloads may take; 0: what the disk has. Files that are used in
	// place do not count; downloads of other processes do as far as they are on the disk.
	QuotaBytes int64
	// Around wraps the way to a file of known digest: other machines are asked before its source. Nil: the
	// source alone.
	Around Around
	Log    *slog.Logger // nil: none
}

// Catalog is the models below one data directory.
type Catalog struct {
	cfg     Config
	dir     string // <data>/models
	vendors []vendor.Vendor
	space   ledger
	free    func(dir string) int64 // bytes of the disk; -1: not known
	peaks   *peaks.Peaks
}

// New returns the catalog of a data directory. No I/O happens yet.
func New(cfg Config) *Catalog {
	if cfg.Vendors == nil {
		cfg.Vendors = Vendors()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	dir := filepath.Join(cfg.DataDir, "models")
	return &Catalog{cfg: cfg, dir: dir, vendors: cfg.Vendors, space: ledger{under: map[string]*reservation{}}, free: freeBytes,
		peaks: peaks.Open(filepath.Join(dir, peaksName), cfg.Log)}
}

// List is every registered model whose files are there, sorted by public name, without its files. A model in
// place whose file is gone is left out, and is back when its file is.
func (c *Catalog) List() []messages.Model {
	var out []messages.Model
	for _, m := range c.manifests() {
		if model, err := c.present(&m); err == nil {
			model.Files = nil
			out = append(out, model)
		}
	}
	return out
}

// Available is [Catalog.List] and, without a path and with size 0, what the vendors offer and nobody
// has asked for yet; sorted by public name.
func (c *Catalog) Available() []messages.Model {
	out := c.List()
	for _, name := range c.offers() {
		if !slices.ContainsFunc(out, func(m messages.Model) bool { return m.ID == name }) {
			out = append(out, messages.Model{ID: name, Refs: []string{name}})
		}
	}
	slices.SortFunc(out, func(a, b messages.Model) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (c *Catalog) offers() []string {
	var names []string
	for _, v := range c.vendors {
		if o, ok := v.(vendor.Offerer); ok {
			names = append(names, o.Offers()...)
		}
	}
	return names
}

// maxAliasBytes bounds what all aliases take: they travel in one message.
const maxAliasBytes = 256 << 10

// Names is the public names that can be served without a network, those of [Catalog.List] and what the
// vendors offer, sorted; and other names of theirs, at most [messages.MaxAliases] and 256 KiB. They mean what
// they mean to [Catalog.Find].
func (c *Catalog) Names() (names []string, aliases map[string]string) {
	models := c.List()
	names = append(ids(models), c.offers()...)
	slices.Sort(names)
	names = slices.Compact(names)
	aliases = map[string]string{}
	room := maxAliasBytes
	add := func(id string, others ...string) {
		for _, a := range others {
			_, public := slices.BinarySearch(names, a)
			if cost := len(a) + len(id); aliases[a] == "" && a != "" && !public && cost <= room && len(aliases) < messages.MaxAliases {
				aliases[a] = id
				room -= cost
			}
		}
	}
	for _, m := range models {
		add(m.ID, append(m.Refs, m.Full)...)
	}
	for _, m := range models { // as it is written wins over a spelling
		for _, other := range append([]string{m.ID, m.Full}, m.Refs...) {
			add(m.ID, spellings(other)...)
		}
	}
	return names, aliases
}

func ids(models []messages.Model) []string {
	var out []string
	for _, m := range models {
		out = append(out, m.ID)
	}
	return out
}

// Find is the registered model with that public name, or that was asked for by that reference, with its
// files. It fetches nothing. [messages.CodeModelUnknown] if there is none, [messages.CodeBadModel] if one of
// its files is gone.
func (c *Catalog) Find(name string) (messages.Model, error) {
	m, ok := c.lookup(name)
	if !ok {
		return messages.Model{}, messages.Errorf(messages.CodeModelUnknown, opFind, "no model %q on this machine", name).WithHint("rbee model list")
	}
	return c.present(&m)
}

// lookup finds the manifest of a name: a public name wins over a reference, as it is written over a spelling,
// and upper and lower case matter unless there is one model only that differs in that alone.
func (c *Catalog) lookup(name string) (manifest, bool) {
	all, written := c.manifests(), spellings(name)
	if name == "" {
		return manifest{}, false // what has no full reference is not meant
	}
	for _, match := range []func(m *manifest) bool{
		func(m *manifest) bool { return m.ID == name },
		func(m *manifest) bool { return slices.Contains(m.Refs, name) || m.Full == name },
		func(m *manifest) bool { return m.answersTo(written) },
		c.spelt(name),
	} {
		if i := slices.IndexFunc(all, func(m manifest) bool { return match(&m) }); i >= 0 {
			return all[i], true
		}
	}
	var found []manifest
	for _, m := range all {
		if slices.ContainsFunc(written, func(w string) bool { return strings.EqualFold(w, m.ID) }) {
			found = append(found, m)
		}
	}
	if len(found) == 1 {
		return found[0], true
	}
	return manifest{}, false
}

// pick is the first vendor that supports ref.
func (c *Catalog) pick(ref string) (vendor.Vendor, bool) {
	for _, v := range c.vendors {
		if v.Supports(ref) {
			return v, true
		}
	}
	return nil, false
}

// unknown says how models are named.
func (c *Catalog) unknown(name string) error {
	var forms []string
	for _, v := range c.vendors {
		forms = append(forms, v.Name()+": "+strings.Join(v.Forms(), ", "))
	}
	return messages.Errorf(messages.CodeModelUnknown, opResolve, "no model is called %q", name).
		WithHint("models are named like this: %s", strings.Join(forms, "; "))
}

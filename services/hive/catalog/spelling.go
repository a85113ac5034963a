package catalog

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// spellings are the ways to write one reference that need no vendor to be known: "hf:" may be left out, and
// Ollama's tag "latest".
func spellings(ref string) []string {
	const hf, latest = "hf:", ":latest"
	repo, named := strings.CutPrefix(ref, hf)
	short, tagged := strings.CutSuffix(ref, latest)
	name, ofOllama := strings.CutPrefix(short, "ollama:")
	switch {
	case ref == "":
		return nil
	case ofOllama && name != "" && !strings.ContainsAny(name[strings.LastIndexByte(name, '/')+1:], ":@"):
		if tagged {
			return []string{ref, short}
		}
		return []string{ref, ref + latest}
	case !strings.Contains(repo, "/") || strings.Contains(repo, "://") || filepath.IsAbs(repo) || strings.HasPrefix(repo, "ollama:"):
		return []string{ref}
	case named:
		return []string{ref, repo}
	}
	return []string{ref, hf + ref}
}

// spelt says of a model whether name, by its vendor's spelling, is one of the references that it was asked for by.
func (c *Catalog) spelt(name string) func(*manifest) bool {
	v, _ := c.pick(name)
	s, ok := v.(vendor.Speller)
	if !ok {
		return func(*manifest) bool { return false }
	}
	one := s.Spell(name)
	return func(m *manifest) bool {
		return m.Vendor == v.Name() && slices.ContainsFunc(append([]string{m.Full}, m.Refs...), func(ref string) bool { return s.Spell(ref) == one })
	}
}

// answersTo says whether one of the spellings is one of the model's.
func (m *manifest) answersTo(written []string) bool {
	for _, ref := range append([]string{m.ID, m.Full}, m.Refs...) {
		for _, s := range spellings(ref) {
			if slices.Contains(written, s) {
				return true
			}
		}
	}
	return false
}

// pinned says that a reference means one revision and no later one, however it is written.
func (c *Catalog) pinned(ref string) bool {
	v, _ := c.pick(ref)
	if s, ok := v.(vendor.Speller); ok {
		ref = s.Spell(ref)
	}
	return strings.Contains(ref, "@")
}

package huggingface

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// model is a GGUF of a repository: one file, or the parts of a split one in order.
type model struct {
	name  string // its path without the part's number and without .gguf
	quant string // "" if the name tells none
	parts []entry
	of    int // how many parts there should be
	aside bool
}

// contents is what a repository has.
type contents struct {
	models     []model // best first
	projectors []entry
	matrices   []entry // imatrix
	other      []string
}

// sortOut groups a repository's files.
func sortOut(entries []entry) contents {
	var c contents
	groups, seen := map[string]*model{}, map[string]bool{}
	for _, e := range entries {
		if seen[e.Path] {
			continue
		}
		seen[e.Path] = true
		base := strings.ToLower(path.Base(e.Path))
		switch {
		case !isGGUF(e.Path):
			c.other = append(c.other, e.Path)
		case strings.Contains(base, "mmproj"):
			c.projectors = append(c.projectors, e)
		case strings.Contains(base, "imatrix"):
			c.matrices = append(c.matrices, e)
		default:
			name, part, of := vendor.Part(e.Path)
			key := fmt.Sprintf("%s %d %s", name, of, path.Ext(e.Path))
			if groups[key] == nil {
				groups[key] = &model{name: name, quant: vendor.Quantization(path.Base(name)), of: of, aside: isAside(base)}
			}
			e.part = part
			groups[key].parts = append(groups[key].parts, e)
		}
	}
	for _, m := range groups {
		slices.SortFunc(m.parts, func(a, b entry) int { return a.part - b.part })
		if m.quant == "" && path.Dir(m.name) != "." { // Q4_K_M/model.gguf
			m.quant = vendor.Quantization(path.Base(path.Dir(m.name)))
		}
		c.models = append(c.models, *m)
	}
	slices.SortFunc(c.models, compare)
	return c
}

var words = regexp.MustCompile(`[A-Za-z0-9]+`)

// isAside says whether a file is no model of its own, by the words of its name.
func isAside(base string) bool {
	for _, w := range words.FindAllString(base, -1) {
		switch w {
		case "lora", "loras", "adapter", "draft", "drafter", "speculative", "eagle", "eagle2", "eagle3", "mtp", "vocab":
			return true
		}
	}
	return strings.Contains(base, "control-vector") || strings.Contains(base, "control_vector")
}

// compare orders models: those that are chosen first, first.
func compare(a, b model) int {
	order := func(m model) [5]int {
		n := [5]int{0, 0, rank(m.quant), strings.Count(m.name, "/"), len(m.name)}
		if m.aside {
			n[0] = 1
		}
		if m.missing() != "" {
			n[1] = 1
		}
		return n
	}
	x, y := order(a), order(b)
	if d := slices.Compare(x[:], y[:]); d != 0 {
		return d
	}
	if d := strings.Compare(a.name, b.name); d != 0 {
		return d
	}
	return a.of - b.of
}

// missing tells the parts that are not there; "" if none is.
func (m *model) missing() string {
	if len(m.parts) == m.of {
		return ""
	}
	have := map[int]bool{}
	for _, p := range m.parts {
		have[p.part] = true
	}
	var names []string
	for i := 1; i <= m.of && len(names) < 4; i++ {
		if !have[i] {
			names = append(names, fmt.Sprintf("%s-%05d-of-%05d.gguf", path.Base(m.name), i, m.of))
		}
	}
	s := strings.Join(names, ", ")
	if more := m.of - len(m.parts) - len(names); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

func (m *model) stem() string { return path.Base(m.name) }

var unsayable = regexp.MustCompile(`[^\pL\pN._+=()-]+`)

// public is the stem as a part of a name that clients ask for: without blanks, @ or colons.
func (m *model) public() string { return unsayable.ReplaceAllString(m.stem(), "-") }

// label is how people are told of it.
func (m *model) label() string {
	if m.quant != "" && !m.aside {
		return m.quant
	}
	return m.stem()
}

// labels are those of models, at most 20, each once, best first.
func labels(models []model) string {
	var names []string
	more := 0
	for i := range models {
		l := models[i].label()
		switch {
		case slices.Contains(names, l):
		case len(names) < 20:
			names = append(names, l)
		default:
			more++
		}
	}
	s := strings.Join(names, ", ")
	if more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

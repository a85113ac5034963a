package huggingface

import (
	"fmt"
	"path"
	"strings"

	"github.com/rbee-project/rbee/messages"
)

// choose gives the model that r means, and notes on what else there is. There is at least one model.
func (c *contents) choose(r reference) (*model, []string, error) {
	m, notes, err := c.find(r)
	if err != nil {
		return nil, nil, err
	}
	if gone := m.missing(); gone != "" {
		return nil, nil, messages.Errorf(messages.CodeModelUnknown, op, "%s is split into %d files and not all of them are in %s: %s", m.stem(), m.of, r.Repo, gone).
			WithHint("its upload may not have ended: try later, or take another one: %s", labels(c.models))
	}
	if len(c.projectors) > 0 {
		notes = append(notes, fmt.Sprintf("%s is a projector for pictures or sound; it is listed and not fetched", list(c.projectors)))
	}
	return m, notes, nil
}

func (c *contents) find(r reference) (*model, []string, error) {
	switch {
	case isGGUF(r.Path):
		m, err := c.file(r)
		return m, nil, err
	case r.Path != "":
		sub := contents{other: c.other}
		for _, m := range c.models {
			if strings.HasPrefix(m.name, r.Path+"/") {
				sub.models = append(sub.models, m)
			}
		}
		if len(sub.models) == 0 {
			return nil, nil, c.noFile(r)
		}
		m, notes := sub.best()
		return m, notes, nil
	case r.Quant != "":
		return c.quantized(r)
	}
	m, notes := c.best()
	return m, notes, nil
}

// best is the first by the order of the package's documentation.
func (c *contents) best() (*model, []string) {
	m := &c.models[0]
	var notes, rest []string
	var others []model
	for _, o := range c.models[1:] {
		switch {
		case o.missing() != "":
			rest = append(rest, o.label())
		case o.quant == m.quant && !o.aside:
			notes = append(notes, fmt.Sprintf("%s has the same quantization", o.parts[0].Path))
		default:
			others = append(others, o)
		}
	}
	if len(notes) > 3 {
		notes = append(notes[:3], fmt.Sprintf("so have %d more files", len(notes)-3))
	}
	if len(others) > 0 {
		notes = append([]string{fmt.Sprintf("chose %s; there is also %s", m.label(), labels(others))}, notes...)
	} else if len(notes) > 0 {
		notes = append([]string{"chose " + m.parts[0].Path}, notes...)
	}
	if len(rest) > 0 {
		notes = append(notes, "left out, as files of it are missing: "+strings.Join(rest[:min(len(rest), 20)], ", "))
	}
	return m, notes
}

// quantized finds a model by its quantization, else by its file's name.
func (c *contents) quantized(r reference) (*model, []string, error) {
	var found *model
	level, same := 3, 0
	for i := range c.models {
		n := matches(r.Quant, c.models[i].quant)
		switch {
		case n < 0 || n > level:
		case n < level:
			found, level, same = &c.models[i], n, 0
		case c.models[i].quant == found.quant && !c.models[i].aside:
			same++
		}
	}
	var notes []string
	if found != nil && !found.aside {
		if !strings.EqualFold(found.quant, r.Quant) {
			notes = append(notes, fmt.Sprintf("chose %s for %s", found.quant, r.Quant))
		}
		if same > 0 {
			notes = append(notes, fmt.Sprintf("chose %s; %d more have the same quantization: name the file to have another", found.parts[0].Path, same))
		}
		return found, notes, nil
	}
	for i := range c.models {
		m := &c.models[i]
		if strings.EqualFold(r.Quant, m.public()) || strings.EqualFold(r.Quant, m.stem()) || strings.EqualFold(r.Quant, m.stem()+".gguf") || strings.EqualFold(r.Quant, path.Base(m.parts[0].Path)) {
			return m, nil, nil
		}
	}
	if found != nil {
		return found, notes, nil
	}
	var names []string
	for i := range c.models {
		names = append(names, c.models[i].label())
	}
	e := messages.Errorf(messages.CodeModelUnknown, op, "%s has no %.100s; it has %s", r.Repo, r.Quant, labels(c.models))
	return nil, nil, e.WithHint("try %s:%s", prefix+r.Repo, nearest(r.Quant, names))
}

// file finds the model that a file is, or is a part of.
func (c *contents) file(r reference) (*model, error) {
	for i := range c.models {
		for _, p := range c.models[i].parts {
			if p.Path == r.Path {
				return &c.models[i], nil
			}
		}
	}
	for _, p := range c.projectors {
		if p.Path == r.Path {
			return nil, messages.Errorf(messages.CodeBadRequest, op, "%s is a projector, which goes with a model and is none", path.Base(r.Path)).
				WithHint("take a model of that repository: %s", labels(c.models))
		}
	}
	for _, p := range c.matrices {
		if p.Path == r.Path {
			return nil, messages.Errorf(messages.CodeBadRequest, op, "%s is an importance matrix, not a model", path.Base(r.Path)).
				WithHint("take a model of that repository: %s", labels(c.models))
		}
	}
	return nil, c.noFile(r)
}

func (c *contents) noFile(r reference) error {
	for _, p := range c.other {
		if p == r.Path {
			return messages.Errorf(messages.CodeBadRequest, op, "%s in %s is not a GGUF file", r.Path, r.Repo).
				WithHint("take one of its models: %s", labels(c.models))
		}
	}
	what := "folder with a model in it"
	if isGGUF(r.Path) {
		what = "file"
	}
	var names []string
	for i := range c.models {
		names = append(names, c.models[i].parts[0].Path)
	}
	near := nearest(r.Path, names)
	return messages.Errorf(messages.CodeModelUnknown, op, "%s has no %s %s at %s; it has %s", r.Repo, what, r.Path, r.revision(), labels(c.models)).
		WithHint("try %s", reference{Repo: r.Repo, Path: near, Revision: r.Revision})
}

// shortName is what stands behind the colon: the quantization, or the file's name if that would mean another.
func (c *contents) shortName(m *model) string {
	if m.quant != "" {
		if found, _, err := c.quantized(reference{Quant: m.quant}); err == nil && found.name == m.name && found.of == m.of {
			return m.quant
		}
	}
	return m.public()
}

func list(entries []entry) string {
	var names []string
	for _, e := range entries[:min(len(entries), 5)] {
		names = append(names, path.Base(e.Path))
	}
	s := strings.Join(names, ", ")
	if len(entries) > 5 {
		s += fmt.Sprintf(" and %d more", len(entries)-5)
	}
	return s
}

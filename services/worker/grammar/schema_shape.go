package grammar

import (
	"maps"
	"slices"
	"strings"
)

// types is a set of JSON types. A number is integer or fraction.
type types uint8

const (
	typeNull types = 1 << iota
	typeBoolean
	typeObject
	typeArray
	typeString
	typeInteger
	typeFraction
	allTypes = 1<<iota - 1
)

var typeNames = map[string]types{
	"null": typeNull, "boolean": typeBoolean, "object": typeObject, "array": typeArray, "string": typeString,
	"integer": typeInteger, "number": typeInteger | typeFraction,
}

// shape is what some schemas say together. Each may be seen as merged into it by allOf.
type shape struct {
	at       string
	never    bool
	types    types
	typed    bool  // a schema has said "type"
	implied  types // those that a keyword is about
	values   []any // enum and const
	listed   bool  // values counts
	objects  []objectPart
	required []located
	minProps int
	maxProps int
	arrays   []arrayPart
	minItems int
	maxItems int // below 0: no limit
	minLen   int
	maxLen   int
	pattern  located // no value: none
	format   located
	low      bound
	high     bound
	groups   []group // anyOf and oneOf
	seen     map[string]bool
}

// objectPart is what one schema says about the properties of an object.
type objectPart struct {
	names      []string
	declared   map[string]located
	additional *located
}

// arrayPart is what one schema says about the items of an array.
type arrayPart struct {
	prefix []located
	items  *located
}

// group is a list of schemas of which one must hold. active are the places that led to it.
type group struct {
	of     []located
	active []string
}

func newShape(at string) *shape {
	return &shape{at: at, types: allTypes, maxProps: -1, maxItems: -1, maxLen: -1, seen: map[string]bool{}}
}

// clone returns a copy that can be added to.
func (s *shape) clone() *shape {
	c := *s
	c.values, c.objects, c.required = slices.Clip(s.values), slices.Clip(s.objects), slices.Clip(s.required)
	c.arrays, c.groups, c.seen = slices.Clip(s.arrays), slices.Clip(s.groups), maps.Clone(s.seen)
	return &c
}

// onlyGroup says that the shape is one group and nothing else.
func (s *shape) onlyGroup() bool {
	return len(s.groups) == 1 && !s.typed && s.implied == 0 && !s.listed
}

// shape returns an atom for what s allows.
func (b *builder) shape(s *shape) (string, error) {
	if s.never {
		return "", &impossible{s.at}
	}
	if len(s.groups) > 0 {
		return b.oneOf(s)
	}
	if s.listed {
		return b.values(s)
	}
	t := s.types
	if !s.typed && s.implied != 0 {
		t &= s.implied
	}
	var out choices
	if t&typeNull != 0 {
		out.add(quote("null"), nil)
	}
	if t&typeBoolean != 0 {
		out.add(b.base("boolean"), nil)
	}
	if t&typeObject != 0 {
		out.add(b.object(s))
	}
	if t&typeArray != 0 {
		out.add(b.array(s))
	}
	if t&typeString != 0 {
		out.add(b.string(s))
	}
	switch {
	case t&typeFraction != 0:
		out.add(b.number(s))
	case t&typeInteger != 0:
		out.add(b.integer(s))
	}
	return out.atom(b, s.at)
}

// oneOf writes the first group of s out.
func (b *builder) oneOf(s *shape) (string, error) {
	g := s.groups[0]
	var out choices
	for _, l := range g.of {
		if s.onlyGroup() {
			out.add(b.convert([]located{l}))
			continue
		}
		c := s.clone()
		c.groups = slices.Clone(s.groups[1:])
		if err := b.collect(c, l, g.active); err != nil {
			return "", err
		}
		out.add(b.shape(c))
	}
	return out.atom(b, s.at)
}

// choices are alternatives. Those that are impossible are left out.
type choices struct {
	of   []string
	err  error
	none error // the last that was impossible
}

func (c *choices) add(atom string, err error) {
	switch {
	case isImpossible(err):
		c.none = err
	case err != nil && c.err == nil:
		c.err = err
	case err == nil && !slices.Contains(c.of, atom):
		c.of = append(c.of, atom)
	}
}

func (c *choices) atom(b *builder, at string) (string, error) {
	switch {
	case c.err != nil:
		return "", c.err
	case len(c.of) == 0 && c.none != nil:
		return "", c.none
	case len(c.of) == 0:
		return "", &impossible{at}
	case len(c.of) == 1:
		return c.of[0], nil
	}
	return b.rule(strings.Join(c.of, " | ")), nil
}

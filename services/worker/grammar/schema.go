package grammar

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/messages"
)

// Limits of a schema.
const (
	// MaxSchema is the size of a schema in bytes.
	MaxSchema = 64 << 10
	// maxSchemaDepth is how deep its JSON may be nested, and how deep places may refer to others.
	maxSchemaDepth = 100
	// maxConversions is how many schemas are looked at, each as often as it is merged with others.
	maxConversions = 6_000
	// maxProperties is how many properties one object may declare.
	maxProperties = 500
	// maxCount is the largest minLength, maxLength, minItems, or maxItems.
	maxCount = 100_000
)

// FromSchema returns a grammar of the JSON values that are valid by a JSON schema. The package
// documentation lists the keywords. Every other keyword is a [messages.Error] with
// [messages.CodeBadRequest] that names it and its place. What is returned can be given to [Parse].
func FromSchema(schema json.RawMessage) (string, error) {
	if len(schema) > MaxSchema {
		return "", badSchema("#", "is longer than %d bytes", MaxSchema)
	}
	root, err := decode(schema)
	if err != nil {
		return "", err
	}
	b := newBuilder(root)
	start, err := b.convert([]located{{"#", root}})
	if none, ok := errors.AsType[*impossible](err); ok {
		return "", badSchema(none.at, "nothing can satisfy it")
	}
	if err != nil {
		return "", err
	}
	text := b.text(start)
	if _, err := Parse(text); err != nil {
		e, ok := errors.AsType[*messages.Error](err)
		if !ok {
			return "", err
		}
		return "", badSchema("#", "is too large or too recursive: %s", e.Message)
	}
	return text, nil
}

// JSONObject returns a grammar of any JSON object.
func JSONObject() string {
	b := newBuilder(true)
	return b.text(b.base("object"))
}

// JSONValue returns a grammar of any JSON value.
func JSONValue() string {
	b := newBuilder(true)
	return b.text(b.base("value"))
}

func badSchema(at, format string, args ...any) error {
	args = append([]any{at}, args...)
	return messages.Errorf(messages.CodeBadRequest, "grammar.schema", "response_format.json_schema.schema: %s: "+format, args...)
}

// impossible is the error of a schema that nothing satisfies. An optional part that is impossible is
// left out.
type impossible struct{ at string }

func (e *impossible) Error() string { return e.at + ": nothing can satisfy it" }

func isImpossible(err error) bool {
	_, ok := errors.AsType[*impossible](err)
	return ok
}

// located is a schema and its place as a JSON pointer.
type located struct {
	at    string
	value any
}

func (l located) under(keys ...any) located {
	at, v := l.at, l.value
	for _, k := range keys {
		switch k := k.(type) {
		case string:
			at += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(k)
			v = v.(*object).values[k]
		case int:
			at += fmt.Sprintf("/%d", k)
			v = v.([]any)[k]
		}
	}
	return located{at, v}
}

// builder collects the rules of one schema. Its methods return an atom: a rule's name or a literal.
type builder struct {
	root   any
	names  []string          // in order
	bodies map[string]string // by name
	named  map[string]string // name by body
	known  map[string]string // atom by the places that a conversion is of
	used   map[string]bool   // names of conversions that have been asked for before they were done
	none   map[string]bool   // conversions that were impossible
	chain  map[string]bool   // conversions that are open, and nothing is written before them yet
	depth  int
	steps  int
}

func newBuilder(root any) *builder {
	return &builder{
		root: root, bodies: map[string]string{}, named: map[string]string{}, known: map[string]string{},
		used: map[string]bool{}, none: map[string]bool{}, chain: map[string]bool{},
	}
}

// rule returns an atom for body.
func (b *builder) rule(body string) string {
	if name, ok := b.named[body]; ok {
		return name
	}
	if _, ok := b.bodies[body]; ok {
		return body
	}
	name := b.newName()
	b.bodies[name], b.named[body] = body, name
	return name
}

func (b *builder) newName() string {
	name := fmt.Sprintf("s%d", len(b.names))
	b.names = append(b.names, name)
	return name
}

func (b *builder) text(start string) string {
	var out strings.Builder
	out.WriteString("root ::= " + start + "\n")
	for _, name := range b.names {
		if body, ok := b.bodies[name]; ok {
			out.WriteString(name + " ::= " + body + "\n")
		}
	}
	return out.String()
}

// convert returns an atom for the values that satisfy all of the schemas.
func (b *builder) convert(all []located) (string, error) {
	all, err := b.simplify(all)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return b.base("value"), nil
	}
	var places []string
	for _, l := range all {
		places = append(places, l.at)
	}
	key := strings.Join(places, " ")
	if b.none[key] {
		return "", &impossible{all[0].at}
	}
	if atom, ok := b.known[key]; ok {
		if b.chain[key] {
			return "", badSchema(all[0].at, "leads back to itself")
		}
		b.used[atom] = true
		return atom, nil
	}
	if b.depth++; b.depth > maxSchemaDepth {
		return "", badSchema(all[0].at, "is nested deeper than %d", maxSchemaDepth)
	}
	defer func() { b.depth-- }()
	name := b.newName()
	b.known[key], b.chain[key] = name, true
	atom, err := b.conjunction(all)
	delete(b.chain, key)
	switch {
	case err != nil:
		delete(b.known, key)
		b.none[key] = true // if the error is another, it ends everything
		return "", err
	case b.used[name]:
		b.bodies[name] = atom
		return name, nil
	}
	b.known[key] = atom
	return atom, nil
}

// simplify follows schemas that are nothing but a reference, and drops those that say nothing and
// those that are there twice.
func (b *builder) simplify(all []located) ([]located, error) {
	var out []located
	for _, l := range all {
		seen := map[string]bool{}
		for {
			ref, ok := onlyRef(l.value)
			if !ok {
				break
			}
			if seen[l.at] {
				return nil, badSchema(l.at+"/$ref", "leads back to itself")
			}
			seen[l.at] = true
			var err error
			if l, err = b.resolve(l.at, ref); err != nil {
				return nil, err
			}
		}
		if l.value == true || slices.ContainsFunc(out, func(o located) bool { return o.at == l.at }) {
			continue
		}
		out = append(out, l)
	}
	return out, nil
}

func (b *builder) conjunction(all []located) (string, error) {
	s := newShape(all[0].at)
	for _, l := range all {
		if err := b.collect(s, l, nil); err != nil {
			return "", err
		}
	}
	return b.shape(s)
}

// inside converts what comes behind something written, so that it may lead back to what is open.
func (b *builder) inside(all []located) (string, error) {
	chain := b.chain
	b.chain = map[string]bool{}
	defer func() { b.chain = chain }()
	return b.convert(all)
}

package grammar

import (
	"bytes"
	"encoding/json"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// object is a JSON object whose keys keep their order.
type object struct {
	keys   []string
	values map[string]any
}

func (o *object) has(key string) bool { _, ok := o.values[key]; return ok }

// decode reads a schema: nil, bool, string, [json.Number], []any, and *object.
func decode(raw json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := decodeValue(d, located{at: "#"}, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, badSchema("#", "something follows the JSON value")
	}
	return v, nil
}

func decodeValue(d *json.Decoder, l located, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, badSchema(l.at, "is not JSON: %w", err)
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxSchemaDepth {
		return nil, badSchema("#", "is nested deeper than %d", maxSchemaDepth)
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := decodeValue(d, l, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, endOf(d, l)
	}
	o := &object{values: map[string]any{}}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, badSchema(l.at, "is not JSON: %w", err)
		}
		key := k.(string) // the decoder takes nothing else for a key
		if o.has(key) {
			return nil, badSchema(l.at, "has the key %.40q twice", key)
		}
		o.keys = append(o.keys, key)
		o.values[key] = nil
		if o.values[key], err = decodeValue(d, located{l.at, o}.under(key), depth+1); err != nil {
			return nil, err
		}
	}
	return o, endOf(d, l)
}

func endOf(d *json.Decoder, l located) error {
	if _, err := d.Token(); err != nil {
		return badSchema(l.at, "is not JSON: %w", err)
	}
	return nil
}

// encode writes a decoded value without blanks.
func encode(v any) string {
	switch v := v.(type) {
	case *object:
		var parts []string
		for _, k := range v.keys {
			parts = append(parts, encode(k)+":"+encode(v.values[k]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, encode(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // nil, bool, string, and Number of a decoded text cannot fail
	return strings.TrimSuffix(out.String(), "\n")
}

// resolve finds what a $ref in the schema at a place means.
func (b *builder) resolve(at, ref string) (located, error) {
	bad := func(format string, args ...any) (located, error) {
		return located{}, badSchema(at+"/$ref", format, args...)
	}
	fragment, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return bad("must begin with #: only places in the schema itself are supported, not %.80q", ref)
	}
	path, err := url.PathUnescape(fragment)
	if err != nil || path != "" && path[0] != '/' {
		return bad("%.80q is not a JSON pointer", ref)
	}
	l := located{"#", b.root}
	if path == "" {
		return l, nil
	}
	for step := range strings.SplitSeq(path[1:], "/") {
		key := strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := l.value.(type) {
		case *object:
			if !v.has(key) {
				return bad("there is nothing at %.80q", ref)
			}
			l = l.under(key)
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return bad("there is nothing at %.80q", ref)
			}
			l = l.under(i)
		default:
			return bad("there is nothing at %.80q", ref)
		}
	}
	return l, nil
}

// onlyRef returns the reference if the schema says nothing else.
func onlyRef(v any) (string, bool) {
	o, ok := v.(*object)
	if !ok {
		return "", false
	}
	ref, ok := o.values["$ref"].(string)
	for _, k := range o.keys {
		if k != "$ref" && !annotation(k) {
			return "", false
		}
	}
	return ref, ok
}

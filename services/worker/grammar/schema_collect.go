package grammar

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// annotation says that a keyword does not say which values are valid.
func annotation(key string) bool {
	switch key {
	case "title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated",
		"readOnly", "writeOnly", "$defs", "definitions":
		return true
	}
	return strings.HasPrefix(key, "x-")
}

// collect adds to s what the schema l says. active are the places that led here.
func (b *builder) collect(s *shape, l located, active []string) error {
	if slices.Contains(active, l.at) {
		return badSchema(l.at, "leads back to itself")
	}
	if b.steps++; b.steps > maxConversions || len(active) > maxSchemaDepth {
		return badSchema(l.at, "the schema is too large: it refers to itself and merges too often")
	}
	if s.seen[l.at] {
		return nil
	}
	s.seen[l.at] = true
	if v, ok := l.value.(bool); ok {
		s.never = s.never || !v
		return nil
	}
	o, ok := l.value.(*object)
	if !ok {
		return badSchema(l.at, "must be a JSON object or a boolean")
	}
	active = append(slices.Clip(active), l.at)
	for _, key := range o.keys {
		if annotation(key) {
			continue
		}
		if err := b.keyword(s, l, key, active); err != nil {
			return err
		}
	}
	collectObject(s, l, o)
	collectArray(s, l, o)
	return nil
}

func (b *builder) keyword(s *shape, l located, key string, active []string) error {
	v := l.under(key)
	switch key {
	case "$ref":
		ref, ok := v.value.(string)
		if !ok {
			return badSchema(v.at, "must be a string")
		}
		to, err := b.resolve(l.at, ref)
		if err != nil {
			return err
		}
		return b.collect(s, to, active)
	case "allOf", "anyOf", "oneOf":
		return b.combine(s, key, v, active)
	case "type":
		return s.setTypes(v)
	case "enum":
		list, ok := v.value.([]any)
		if !ok || len(list) == 0 {
			return badSchema(v.at, "must be a list with at least one value")
		}
		s.list(list)
	case "const":
		s.list([]any{v.value})
	case "properties", "additionalProperties", "required", "minProperties", "maxProperties":
		s.implied |= typeObject
		return s.objectKeyword(key, v)
	case "items", "prefixItems", "minItems", "maxItems":
		s.implied |= typeArray
		return s.arrayKeyword(key, v)
	case "minLength", "maxLength", "pattern", "format":
		s.implied |= typeString
		return s.stringKeyword(key, v)
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		s.implied |= typeInteger | typeFraction
		return s.limit(key, v)
	case "uniqueItems":
		if v.value != false {
			return badSchema(v.at, "is not supported")
		}
	default:
		return badSchema(v.at, "is not supported")
	}
	return nil
}

func (b *builder) combine(s *shape, key string, v located, active []string) error {
	list, err := schemaList(v)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return badSchema(v.at, "must not be empty")
	}
	if key != "allOf" {
		s.groups = append(s.groups, group{list, active})
		return nil
	}
	for _, l := range list {
		if err := b.collect(s, l, active); err != nil {
			return err
		}
	}
	return nil
}

func schemaList(v located) ([]located, error) {
	list, ok := v.value.([]any)
	if !ok {
		return nil, badSchema(v.at, "must be a list of schemas")
	}
	out := make([]located, len(list))
	for i := range list {
		out[i] = v.under(i)
	}
	return out, nil
}

func (s *shape) setTypes(v located) error {
	list, ok := v.value.([]any)
	if !ok {
		list = []any{v.value}
	}
	var t types
	for _, e := range list {
		name, _ := e.(string)
		if typeNames[name] == 0 {
			return badSchema(v.at, "%.40s is not a type", encode(e))
		}
		t |= typeNames[name]
	}
	s.types &= t
	s.typed = true
	return nil
}

// list keeps only those values that were allowed before.
func (s *shape) list(values []any) {
	if !s.listed {
		s.values, s.listed = values, true
		return
	}
	allowed := map[string]bool{}
	for _, v := range values {
		allowed[encode(v)] = true
	}
	s.values = slices.DeleteFunc(slices.Clone(s.values), func(v any) bool { return !allowed[encode(v)] })
}

// count reads a number of items or characters.
func count(v located) (int, error) {
	n, ok := v.value.(json.Number)
	i, err := strconv.Atoi(strings.TrimSuffix(string(n), ".0"))
	if !ok || err != nil || i < 0 {
		return 0, badSchema(v.at, "must be a whole number that is not negative")
	}
	if i > maxCount {
		return 0, badSchema(v.at, "must be %d at most", maxCount)
	}
	return i, nil
}

// least returns the smaller of two limits, where below 0 is none.
func least(a, b int) int {
	if a < 0 {
		return b
	}
	return min(a, b)
}

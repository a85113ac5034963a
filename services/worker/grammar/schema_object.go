package grammar

import "slices"

func (s *shape) objectKeyword(key string, v located) error {
	switch key {
	case "properties":
		o, ok := v.value.(*object)
		if !ok {
			return badSchema(v.at, "must be a JSON object")
		}
		if len(o.keys) > maxProperties {
			return badSchema(v.at, "has more than %d properties", maxProperties)
		}
	case "required":
		list, ok := v.value.([]any)
		if !ok {
			return badSchema(v.at, "must be a list of names")
		}
		for i := range list {
			l := v.under(i)
			if _, ok := l.value.(string); !ok {
				return badSchema(l.at, "must be a string")
			}
			s.required = append(s.required, l)
		}
	case "minProperties":
		n, err := count(v)
		s.minProps = max(s.minProps, n)
		return err
	case "maxProperties":
		n, err := count(v)
		s.maxProps = least(s.maxProps, n)
		return err
	}
	return nil
}

// collectObject adds what the schema says about properties.
func collectObject(s *shape, l located, o *object) {
	part := objectPart{declared: map[string]located{}}
	if props, ok := o.values["properties"].(*object); ok {
		part.names = props.keys
		for _, name := range props.keys {
			part.declared[name] = l.under("properties", name)
		}
	}
	if o.has("additionalProperties") {
		a := l.under("additionalProperties")
		part.additional = &a
	}
	if part.names != nil || part.additional != nil {
		s.objects = append(s.objects, part)
	}
}

// property is one that an object may have.
type property struct {
	pair     string // rules of key, colon, and value
	required bool
}

// object returns an atom for the objects that s allows: declared properties in the order as
// written, then others if additionalProperties says so, or if none is declared.
func (b *builder) object(s *shape) (string, error) {
	names, required, err := s.propertyNames()
	if err != nil {
		return "", err
	}
	var props []property
	for _, name := range names {
		pair, err := b.pair(s, name)
		if isImpossible(err) && !required[name] {
			continue
		}
		if err != nil {
			return "", err
		}
		props = append(props, property{pair, required[name]})
	}
	more, err := b.morePairs(s, names)
	if err != nil {
		return "", err
	}
	if s.minProps > len(required) {
		return "", badSchema(s.at+"/minProperties", "is not supported, unless as many are required")
	}
	if s.maxProps >= 0 && (more != "" || s.maxProps < len(props)) {
		return "", badSchema(s.at+"/maxProperties", "is not supported, unless no more can be there")
	}
	if more == "" && len(names) == 0 && len(s.objects) == 0 {
		return b.base("object"), nil
	}
	return b.members(props, more), nil
}

// propertyNames lists the properties in order, and those that are required.
func (s *shape) propertyNames() ([]string, map[string]bool, error) {
	var names []string
	declared := map[string]bool{}
	add := func(name string) {
		if !declared[name] {
			declared[name] = true
			names = append(names, name)
		}
	}
	for _, part := range s.objects {
		for _, name := range part.names {
			add(name)
		}
	}
	required := map[string]bool{}
	for _, l := range s.required {
		add(l.value.(string))
		required[l.value.(string)] = true
	}
	if len(names) > maxProperties {
		return nil, nil, badSchema(s.at, "has more than %d properties", maxProperties)
	}
	return names, required, nil
}

// pair returns what writes the property: every schema must agree to it.
func (b *builder) pair(s *shape, name string) (string, error) {
	var all []located
	for _, part := range s.objects {
		if l, ok := part.declared[name]; ok {
			all = append(all, l)
		} else if part.additional != nil {
			all = append(all, *part.additional)
		}
	}
	value, err := b.inside(all)
	if err != nil {
		return "", err
	}
	return quote(encode(name)+":") + ` " "? ` + value, nil
}

// morePairs returns an atom for one property that is not declared, or "".
func (b *builder) morePairs(s *shape, names []string) (string, error) {
	var all []located
	for _, part := range s.objects {
		if part.additional != nil {
			all = append(all, *part.additional)
		}
	}
	if all == nil && len(names) > 0 {
		return "", nil
	}
	value, err := b.inside(all)
	if isImpossible(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return b.rule(b.otherKey(names) + ` ":" " "? ` + value), nil
}

// members writes an object: next is one of the properties from here on, rest is what may follow when
// one has been written. From the last to the first.
func (b *builder) members(props []property, more string) string {
	space := b.base("space")
	comma := `"," ` + space + " "
	next, rest, must := "", "", false // must: a required one is still to come
	if more != "" {
		rest = b.rule("(" + comma + more + ")*")
		next = more + " " + rest
	}
	for i, p := range slices.Backward(props) {
		one := p.pair
		if rest != "" {
			one += " " + rest
		}
		if !p.required && next != "" {
			one += " | " + next
		}
		must = must || p.required
		next = one
		before := i > 0 && !props[i-1].required // it needs next and rest both
		if before || !p.required {
			next = b.rule(one)
		}
		rest = comma + next
		if !must {
			rest = "(" + rest + ")?"
		}
		if before {
			rest = b.rule(rest)
		}
	}
	if next == "" {
		return b.rule(`"{" ` + space + ` "}"`)
	}
	if must {
		return b.rule(`"{" ` + space + " " + next + " " + space + ` "}"`)
	}
	return b.rule(`"{" ` + space + " (" + next + " " + space + `)? "}"`)
}

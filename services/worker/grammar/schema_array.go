package grammar

func (s *shape) arrayKeyword(key string, v located) error {
	switch key {
	case "items":
		if _, ok := v.value.([]any); ok {
			return badSchema(v.at, "a list is not supported, use prefixItems")
		}
	case "prefixItems":
		list, err := schemaList(v)
		if len(list) > maxSchemaDepth {
			return badSchema(v.at, "has more than %d items", maxSchemaDepth)
		}
		return err
	case "minItems":
		n, err := count(v)
		s.minItems = max(s.minItems, n)
		return err
	case "maxItems":
		n, err := count(v)
		s.maxItems = least(s.maxItems, n)
		return err
	}
	return nil
}

// collectArray adds what the schema says about items.
func collectArray(s *shape, l located, o *object) {
	var part arrayPart
	if o.has("prefixItems") {
		part.prefix, _ = schemaList(l.under("prefixItems")) // looked at by arrayKeyword
	}
	if o.has("items") {
		items := l.under("items")
		part.items = &items
	}
	if part.prefix != nil || part.items != nil {
		s.arrays = append(s.arrays, part)
	}
}

// items lists what must hold for the item at index i.
func (s *shape) items(i int) []located {
	var all []located
	for _, part := range s.arrays {
		if i < len(part.prefix) {
			all = append(all, part.prefix[i])
		} else if part.items != nil {
			all = append(all, *part.items)
		}
	}
	return all
}

// array returns an atom for the arrays that s allows. Behind prefixItems come others only if items
// is there, or if minItems asks for them.
func (b *builder) array(s *shape) (string, error) {
	prefix := 0
	for _, part := range s.arrays {
		prefix = max(prefix, len(part.prefix))
	}
	least, most := s.minItems, s.maxItems
	if most >= 0 && most < least {
		return "", &impossible{s.at}
	}
	if most >= 0 {
		prefix = min(prefix, most)
	}
	var first []string
	for i := range prefix {
		item, err := b.inside(s.items(i))
		if isImpossible(err) {
			if least > i {
				return "", err
			}
			return b.list(first, "", least, i), nil
		}
		if err != nil {
			return "", err
		}
		first = append(first, item)
	}
	others := s.items(prefix)
	if len(others) == 0 && prefix > 0 {
		most = max(least, prefix)
	}
	if most == prefix {
		return b.list(first, "", least, prefix), nil
	}
	rest, err := b.inside(others)
	if isImpossible(err) && least <= prefix {
		return b.list(first, "", least, prefix), nil
	}
	if err != nil {
		return "", err
	}
	return b.list(first, rest, least, most), nil
}

// list writes an array of least to most items: those of first, then more.
func (b *builder) list(first []string, more string, least, most int) string {
	space := b.base("space")
	comma := `"," ` + space + " "
	tail := ""
	if more != "" && (most < 0 || most > max(len(first), 1)) {
		done := max(len(first), 1) // items before the tail
		left := -1
		if most >= 0 {
			left = most - done
		}
		tail = b.times(b.rule(comma+more), max(least-done, 0), left)
	}
	if len(first) == 0 && more != "" {
		first = []string{more}
	}
	body := tail
	for i := len(first) - 1; i >= 0; i-- {
		item := first[i]
		if i > 0 {
			item = comma + item
		}
		if body != "" {
			item += " " + body
		}
		if body = item; least <= i && i > 0 {
			body = "(" + item + ")?"
		}
	}
	switch {
	case body == "" || most == 0:
		return b.rule(`"[" ` + space + ` "]"`)
	case least == 0:
		return b.rule(`"[" ` + space + " (" + body + " " + space + `)? "]"`)
	}
	return b.rule(`"[" ` + space + " " + body + " " + space + ` "]"`)
}

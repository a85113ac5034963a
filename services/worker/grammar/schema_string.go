package grammar

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"
)

func (s *shape) stringKeyword(key string, v located) error {
	switch key {
	case "minLength":
		n, err := count(v)
		s.minLen = max(s.minLen, n)
		return err
	case "maxLength":
		n, err := count(v)
		s.maxLen = least(s.maxLen, n)
		return err
	}
	text, ok := v.value.(string)
	if !ok {
		return badSchema(v.at, "must be a string")
	}
	to := &s.pattern
	if key == "format" {
		to = &s.format
		if _, ok := formats[text]; !ok {
			return badSchema(v.at, "%.40q is not supported", text)
		}
	}
	if to.value != nil && to.value != text {
		return badSchema(v.at, "is not supported together with another one")
	}
	*to = v
	return nil
}

// string returns an atom for the strings that s allows.
func (b *builder) string(s *shape) (string, error) {
	if s.maxLen >= 0 && s.maxLen < s.minLen {
		return "", &impossible{s.at}
	}
	var text regular
	switch {
	case s.pattern.value != nil && s.format.value != nil:
		return "", badSchema(s.pattern.at, "is not supported together with format")
	case s.pattern.value != nil:
		var err error
		if text, err = parsePattern(s.pattern.value.(string)); err != nil {
			return "", badSchema(s.pattern.at, "%w", err)
		}
	case s.format.value != nil:
		text = formats[s.format.value.(string)]
	case s.minLen == 0 && s.maxLen < 0:
		return b.base("string"), nil
	default:
		return b.rule(strings.Join([]string{`"\""`, b.times(b.base("char"), s.minLen, s.maxLen), `"\""`}, " ")), nil
	}
	if text.least < s.minLen {
		return "", badSchema(s.at+"/minLength", "is not supported together with a pattern or format that may be shorter")
	}
	if s.maxLen >= 0 && (text.most < 0 || text.most > s.maxLen) {
		return "", badSchema(s.at+"/maxLength", "is not supported together with a pattern or format that may be longer")
	}
	return b.rule(`"\"" (` + text.gbnf + `) "\""`), nil
}

// values returns an atom for those of s.values that s allows.
func (b *builder) values(s *shape) (string, error) {
	if len(s.objects)+len(s.required)+len(s.arrays) > 0 || s.minProps > 0 || s.maxProps >= 0 ||
		s.minItems > 0 || s.maxItems >= 0 || s.pattern.value != nil || s.format.value != nil {
		return "", badSchema(s.at, "enum and const are not supported together with keywords other than type, "+
			"minLength, maxLength, and limits of numbers")
	}
	var texts []string
	for _, v := range s.values {
		if s.allows(v) {
			texts = append(texts, encode(v))
		}
	}
	if len(texts) == 0 {
		return "", &impossible{s.at}
	}
	slices.Sort(texts)
	return b.rule(b.oneOfTexts(slices.Compact(texts), 0)), nil
}

// allows says whether a value of an enum satisfies the keywords that may stand beside it.
func (s *shape) allows(v any) bool {
	switch v := v.(type) {
	case nil:
		return s.types&typeNull != 0
	case bool:
		return s.types&typeBoolean != 0
	case *object:
		return s.types&typeObject != 0
	case []any:
		return s.types&typeArray != 0
	case string:
		n := utf8.RuneCountInString(v)
		return s.types&typeString != 0 && n >= s.minLen && (s.maxLen < 0 || n <= s.maxLen)
	case json.Number:
		n, err := exact(v)
		if err != nil {
			return s.types&typeFraction != 0 && s.low.at == nil && s.high.at == nil
		}
		return s.allowsNumber(n)
	}
	return false
}

func (s *shape) allowsNumber(n *big.Rat) bool {
	t := typeFraction
	if n.IsInt() {
		t = typeInteger
	}
	if s.types&t == 0 {
		return false
	}
	if c := s.low.compare(n); c < 0 || c == 0 && s.low.open {
		return false
	}
	c := s.high.compare(n)
	return c < 0 || c == 0 && !s.high.open || s.high.at == nil
}

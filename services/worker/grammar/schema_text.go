package grammar

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// inlineDepth is how many groups are written into each other before a rule of their own is made.
const inlineDepth = 24

// oneOfTexts returns an expression of sorted texts, all different: each common beginning is written
// once, so that matching does not have to hold thousands of ways at once.
func (b *builder) oneOfTexts(texts []string, depth int) string {
	first := texts[0]
	if len(texts) == 1 {
		return quote(first)
	}
	same := commonPrefix(first, texts[len(texts)-1])
	for same < len(first) && !utf8.RuneStart(first[same]) { // not inside a character
		same--
	}
	var out []string
	rest := make([]string, len(texts))
	for i, t := range texts {
		rest[i] = t[same:]
	}
	empty := rest[0] == ""
	if empty {
		rest = rest[1:]
	}
	for _, group := range byFirstRune(rest) {
		out = append(out, b.oneOfTexts(group, depth+1))
	}
	body := strings.Join(out, " | ")
	switch {
	case depth > 0 && depth%inlineDepth == 0:
		body = b.rule(body)
	case len(out) > 1 || empty:
		body = "(" + body + ")"
	}
	if empty {
		body += "?"
	}
	if same > 0 {
		body = quote(first[:same]) + " " + body
	}
	return body
}

// byFirstRune cuts sorted texts, none empty, into those that begin alike.
func byFirstRune(texts []string) [][]string {
	var out [][]string
	for i := 0; i < len(texts); {
		_, size := utf8.DecodeRuneInString(texts[i])
		j := i + 1
		for j < len(texts) && strings.HasPrefix(texts[j], texts[i][:size]) {
			j++
		}
		out = append(out, texts[i:j])
		i = j
	}
	return out
}

// otherKey returns an expression of a key, with its quotes, that is none of names. Such a key has no
// escapes, for an escape could write one of the names in another way.
func (b *builder) otherKey(names []string) string {
	if len(names) == 0 {
		return b.base("string")
	}
	var plain []string
	for _, name := range names {
		if !strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == '"' || r == '\\' }) {
			plain = append(plain, name)
		}
	}
	slices.Sort(plain)
	return `"\"" ` + b.notTexts(plain, 0) + ` "\""`
}

// notTexts returns an expression of any plain characters that are none of sorted texts.
func (b *builder) notTexts(texts []string, depth int) string {
	plain := b.base("plain")
	empty := len(texts) > 0 && texts[0] == ""
	if empty {
		texts = texts[1:]
	}
	if len(texts) == 0 { // only the empty text must not be
		if empty {
			return plain + "+"
		}
		return plain + "*"
	}
	var not strings.Builder
	var out []string
	for _, group := range byFirstRune(texts) {
		r, size := utf8.DecodeRuneInString(group[0])
		not.WriteString(escape(string(r), `\]["`))
		rest := make([]string, len(group))
		for i, t := range group {
			rest[i] = t[size:]
		}
		out = append(out, quote(string(r))+" "+b.notTexts(rest, depth+1))
	}
	set := not.String()
	if dash := strings.Contains(set, "-"); dash { // last, where it is no range
		set = strings.ReplaceAll(set, "-", "") + "-"
	}
	out = append(out, `[^"\\\x00-\x1F`+set+`] `+plain+"*")
	body := strings.Join(out, " | ")
	if depth > 0 && depth%inlineDepth == 0 {
		body = b.rule(body)
	} else {
		body = "(" + body + ")"
	}
	if !empty {
		body += "?"
	}
	return body
}

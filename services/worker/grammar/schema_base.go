package grammar

import (
	"fmt"
	"strings"
)

// char is one character of a JSON string as it is written: not a lone half of a surrogate pair.
const char = `[^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" ([0-9a-cefA-CEF] hex{3} | [dD] [0-7] hex{2}))`

// baseRules are what every JSON grammar is made of. Blanks are bounded, and so are numbers: they
// are finite in float64.
var baseRules = map[string]string{
	"value":    `object | array | string | number | boolean | "null"`,
	"object":   `"{" space (member ("," space member)* space)? "}"`,
	"member":   `string ":" " "? value`,
	"array":    `"[" space (value ("," space value)* space)? "]"`,
	"string":   `"\"" char* "\""`,
	"char":     char,
	"plain":    `[^"\\\x00-\x1F]`,
	"hex":      `[0-9a-fA-F]`,
	"number":   `"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?`,
	"integer":  `"0" | "-"? [1-9] [0-9]{0,14}`,
	"fraction": `("." [0-9]{1,15})?`,
	"boolean":  `"true" | "false"`,
	"space":    `(" " | "\n" [ \t]{0,20})?`,
}

// base adds a base rule and those that it names, and returns its name.
func (b *builder) base(name string) string {
	if _, ok := b.bodies[name]; ok {
		return name
	}
	body := baseRules[name]
	b.names = append(b.names, name)
	b.bodies[name] = body
	p := parser{src: body, byName: map[string]int{}}
	if _, err := p.choice(false); err != nil {
		panic(err) // the table above is wrong
	}
	for _, r := range p.rules {
		b.base(r.name)
	}
	return name
}

// times returns an expression of an atom that comes least to most times; most below 0 is no limit.
func (b *builder) times(atom string, least, most int) string {
	switch {
	case most == 0:
		return ""
	case most < 0 && least == 0:
		return atom + "*"
	case most < 0:
		return strings.TrimSpace(b.exactly(atom, least) + " " + atom + "*")
	case most <= MaxRepeat:
		return fmt.Sprintf("%s{%d,%d}", atom, least, most)
	}
	return strings.TrimSpace(b.exactly(atom, least) + " " + b.upTo(atom, most-least))
}

func (b *builder) exactly(atom string, n int) string {
	if n <= MaxRepeat {
		return fmt.Sprintf("%s{%d}", atom, n)
	}
	many := b.rule(b.exactly(atom, MaxRepeat))
	return fmt.Sprintf("%s{%d} %s{%d}", many, n/MaxRepeat, atom, n%MaxRepeat)
}

// upTo counts by thousands, so that the grammar does not grow with n.
func (b *builder) upTo(atom string, n int) string {
	if n <= MaxRepeat {
		return fmt.Sprintf("%s{0,%d}", atom, n)
	}
	many := b.rule(b.exactly(atom, MaxRepeat))
	below := fmt.Sprintf("%s{0,%d}", atom, MaxRepeat-1)
	rest := b.rule(fmt.Sprintf("%s{0,%d}", atom, n%MaxRepeat))
	for range n / MaxRepeat {
		rest = b.rule(below + " | " + many + " " + rest)
	}
	return rest
}

// quote writes text as a literal of GBNF.
func quote(text string) string { return `"` + escape(text, `"\`) + `"` }

// escape puts a backslash before each of special, and writes control characters as \xNN.
func escape(text, special string) string {
	var out strings.Builder
	for _, r := range text {
		switch {
		case r == '\n':
			out.WriteString(`\n`)
		case r < 0x20 || r == 0x7F:
			fmt.Fprintf(&out, `\x%02X`, r)
		case strings.ContainsRune(special, r):
			out.WriteByte('\\')
			out.WriteRune(r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

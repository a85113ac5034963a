package grammar

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxPattern is the size of a pattern in bytes.
const maxPattern = 4096

// regular is what stands between the quotes of a string, as an expression of GBNF, and how many
// characters it has; most below 0 is no limit.
type regular struct {
	gbnf        string
	least, most int
}

// patternParser reads a part of ECMA-262's regular expressions.
type patternParser struct {
	src   string
	pos   int
	depth int
}

// parsePattern reads ^...$. A pattern without the anchors would match in the middle of any text.
func parsePattern(src string) (regular, error) {
	if len(src) > maxPattern {
		return regular{}, fmt.Errorf("is longer than %d bytes", maxPattern)
	}
	inner, ok := strings.CutPrefix(src, "^")
	inner, ok2 := strings.CutSuffix(inner, "$")
	if !ok || !ok2 || escaped(inner) {
		return regular{}, errors.New("is not supported unless it begins with ^ and ends with $")
	}
	p := &patternParser{src: inner}
	r, parts, err := p.choice()
	switch {
	case err != nil:
		return regular{}, err
	case p.pos < len(p.src):
		return regular{}, errors.New("has a ) that closes nothing")
	case parts > 1:
		return regular{}, errors.New("is not supported with | outside of a group, where ^ and $ do not belong to every part")
	}
	return r, nil
}

// escaped says that text ends with a backslash that escapes what follows.
func escaped(text string) bool {
	return (len(text)-len(strings.TrimRight(text, `\`)))%2 == 1
}

func (p *patternParser) more() bool { return p.pos < len(p.src) }

// choice reads alternatives up to a ) or the end, and says how many.
func (p *patternParser) choice() (regular, int, error) {
	if p.depth++; p.depth > 32 {
		return regular{}, 0, errors.New("is nested deeper than 32")
	}
	defer func() { p.depth-- }()
	out := regular{least: -1}
	var of []string
	for {
		r, err := p.sequence()
		if err != nil {
			return regular{}, 0, err
		}
		of = append(of, r.gbnf)
		if out.least < 0 || r.least < out.least {
			out.least = r.least
		}
		if r.most < 0 || out.most < 0 {
			out.most = -1
		} else {
			out.most = max(out.most, r.most)
		}
		if !p.more() || p.src[p.pos] != '|' {
			break
		}
		p.pos++
	}
	out.gbnf = strings.Join(of, " | ")
	return out, len(of), nil
}

func (p *patternParser) sequence() (regular, error) {
	var out regular
	var parts []string
	for p.more() && p.src[p.pos] != '|' && p.src[p.pos] != ')' {
		r, err := p.atom()
		if err != nil {
			return regular{}, err
		}
		if r, err = p.repeated(r); err != nil {
			return regular{}, err
		}
		parts = append(parts, r.gbnf)
		out.least = min(out.least+r.least, 1<<30)
		if out.most < 0 || r.most < 0 {
			out.most = -1
		} else {
			out.most = min(out.most+r.most, 1<<30)
		}
	}
	if len(parts) == 0 {
		parts = []string{`""`}
	}
	out.gbnf = strings.Join(parts, " ")
	return out, nil
}

func (p *patternParser) atom() (regular, error) {
	switch c := p.src[p.pos]; c {
	case '(':
		return p.group()
	case '[':
		ranges, err := p.class()
		return characters(ranges), err
	case '.':
		p.pos++
		return characters(invert(normalize(lineEnds))), nil
	case '\\':
		ranges, _, err := p.escape(false)
		return characters(ranges), err
	case '^', '$':
		return regular{}, fmt.Errorf("%c is not supported inside", c)
	case '*', '+', '?', '{':
		return regular{}, fmt.Errorf("%c has nothing to repeat", c)
	}
	r, size := utf8.DecodeRuneInString(p.src[p.pos:])
	p.pos += size
	return characters([]runeRange{{r, r}}), nil
}

func (p *patternParser) group() (regular, error) {
	p.pos++
	if strings.HasPrefix(p.src[p.pos:], "?") {
		if !strings.HasPrefix(p.src[p.pos:], "?:") {
			return regular{}, errors.New("groups (?...) other than (?:...) are not supported")
		}
		p.pos += 2
	}
	r, _, err := p.choice()
	if err != nil {
		return regular{}, err
	}
	if !p.more() {
		return regular{}, errors.New("has a ( that is not closed")
	}
	p.pos++
	r.gbnf = "(" + r.gbnf + ")"
	return r, nil
}

// repeated reads what follows an atom: * + ? {m} {m,} {m,n}.
func (p *patternParser) repeated(r regular) (regular, error) {
	if !p.more() {
		return r, nil
	}
	least, most := 0, -1
	switch p.src[p.pos] {
	case '*':
	case '+':
		least = 1
	case '?':
		most = 1
	case '{':
		end := strings.IndexByte(p.src[p.pos:], '}')
		if end < 0 {
			return r, errors.New("has a { that is not closed")
		}
		low, high, comma := strings.Cut(p.src[p.pos+1:p.pos+end], ",")
		var err, err2 error
		least, err = strconv.Atoi(low)
		if most = least; comma {
			if most = -1; high != "" {
				most, err2 = strconv.Atoi(high)
			}
		}
		if err != nil || err2 != nil || least < 0 || least > MaxRepeat || most > MaxRepeat || most >= 0 && most < least {
			return r, fmt.Errorf("%.20q is not a repetition of %d at most", p.src[p.pos:p.pos+end+1], MaxRepeat)
		}
		p.pos += end
	default:
		return r, nil
	}
	p.pos++
	if p.more() && strings.IndexByte("*+?{", p.src[p.pos]) >= 0 {
		return r, fmt.Errorf("%c behind a repetition is not supported", p.src[p.pos])
	}
	bounds := fmt.Sprintf("{%d,%d}", least, most)
	if most < 0 {
		bounds = fmt.Sprintf("{%d,}", least)
	}
	out := regular{"(" + r.gbnf + ")" + bounds, r.least * least, r.most * most}
	if r.most < 0 || most < 0 {
		out.most = -1
	}
	out.least = min(out.least, 1<<30)
	return out, nil
}

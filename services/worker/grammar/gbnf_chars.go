package grammar

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// runeRange is a range of code points, both ends included.
type runeRange struct{ lo, hi rune }

var anyRune = []runeRange{{0, utf8.MaxRune}}

// literal reads "...". The text may be empty.
func (p *parser) literal() (*element, error) {
	at := p.pos
	p.pos++
	var text strings.Builder
	for p.peek() != '"' {
		r, err := p.char(at, "text")
		if err != nil {
			return nil, err
		}
		text.WriteRune(r)
	}
	p.pos++
	return &element{kind: literal, at: at, text: text.String()}, nil
}

// class reads [...] or [^...].
func (p *parser) class() (*element, error) {
	at := p.pos
	p.pos++
	not := p.peek() == '^'
	if not {
		p.pos++
	}
	var ranges []runeRange
	for p.peek() != ']' {
		lo, err := p.char(at, "class")
		if err != nil {
			return nil, err
		}
		hi := lo
		if strings.HasPrefix(p.src[p.pos:], "-") && !strings.HasPrefix(p.src[p.pos:], "-]") {
			p.pos++
			if hi, err = p.char(at, "class"); err != nil {
				return nil, err
			}
		}
		if hi < lo {
			return nil, p.fail(p.pos, "the range %q to %q is the wrong way round", lo, hi)
		}
		ranges = append(ranges, runeRange{lo, hi})
	}
	p.pos++
	if len(ranges) == 0 {
		return nil, p.fail(at, "the class is empty")
	}
	ranges = normalize(ranges)
	if not {
		if ranges = invert(ranges); len(ranges) == 0 {
			return nil, p.fail(at, "the class leaves no character")
		}
	}
	return &element{kind: class, at: at, ranges: ranges}, nil
}

// char reads one character of a literal or class that began at from.
func (p *parser) char(from int, what string) (rune, error) {
	if p.pos >= len(p.src) {
		return 0, p.fail(from, "the %s that begins here does not end", what)
	}
	r, size := utf8.DecodeRuneInString(p.src[p.pos:])
	p.pos += size
	if r != '\\' {
		return r, nil
	}
	c := p.peek()
	p.pos++
	switch c {
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case '\\', '"', '[', ']':
		return rune(c), nil
	case 'x':
		return p.hex(2)
	case 'u':
		return p.hex(4)
	case 'U':
		return p.hex(8)
	}
	return 0, p.fail(p.pos-1, `the escape \%c is not known`, c)
}

func (p *parser) hex(digits int) (rune, error) {
	end := p.pos + digits
	if end > len(p.src) {
		return 0, p.fail(p.pos, "%d hexadecimal digits must follow", digits)
	}
	n, err := strconv.ParseUint(p.src[p.pos:end], 16, 32)
	if err != nil {
		return 0, p.fail(p.pos, "%d hexadecimal digits must follow, not %q", digits, p.src[p.pos:end])
	}
	if n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return 0, p.fail(p.pos, "U+%04X is not a character", n)
	}
	p.pos = end
	return rune(n), nil
}

// normalize sorts ranges and joins those that touch.
func normalize(ranges []runeRange) []runeRange {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b runeRange) int { return int(a.lo) - int(b.lo) })
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && r.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// invert is every other code point than those of normalized ranges; surrogates stay out.
func invert(ranges []runeRange) []runeRange {
	var out []runeRange
	next := rune(0)
	add := func(lo, hi rune) {
		if lo >= 0xD800 && hi <= 0xDFFF { // no character in it
			return
		}
		if lo <= hi {
			out = append(out, runeRange{lo, hi})
		}
	}
	for _, r := range ranges {
		add(next, r.lo-1)
		next = r.hi + 1
	}
	add(next, utf8.MaxRune)
	return out
}

package grammar

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	digits    = []runeRange{{'0', '9'}}
	wordChars = []runeRange{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}
	// blanks are those that all dialects count to \s.
	blanks = []runeRange{{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}}
	// allBlanks are those that any dialect counts to \s: none of them is in \S.
	allBlanks = []runeRange{
		{'\t', '\r'}, {' ', ' '}, {0x85, 0x85}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A},
		{0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF},
	}
	lineEnds = []runeRange{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}
)

// class reads [...] of a regular expression.
func (p *patternParser) class() ([]runeRange, error) {
	p.pos++
	not := strings.HasPrefix(p.src[p.pos:], "^")
	if not {
		p.pos++
	}
	var ranges []runeRange
	for p.more() && p.src[p.pos] != ']' {
		low, single, err := p.member()
		if err != nil {
			return nil, err
		}
		rest := p.src[p.pos:]
		if strings.HasPrefix(rest, "-") && !strings.HasPrefix(rest, "-]") {
			p.pos++
			if !p.more() {
				break
			}
			high, single2, err := p.member()
			if err != nil {
				return nil, err
			}
			if !single || !single2 || high[0].lo < low[0].lo {
				return nil, errors.New("has a range in [...] that is not from one character to a later one")
			}
			low = []runeRange{{low[0].lo, high[0].lo}}
		}
		ranges = append(ranges, low...)
	}
	if !p.more() {
		return nil, errors.New("has a [ that is not closed")
	}
	p.pos++
	ranges = normalize(ranges)
	if not {
		ranges = invert(ranges)
	}
	if len(ranges) == 0 {
		return nil, errors.New("has a [...] that no character is in")
	}
	return ranges, nil
}

// member reads one character, or a set such as \d, of [...].
func (p *patternParser) member() (ranges []runeRange, single bool, err error) {
	if p.src[p.pos] == '\\' {
		return p.escape(true)
	}
	if p.src[p.pos] == '[' {
		return nil, false, errors.New("[ inside of [...] is not supported, write \\[")
	}
	r, size := utf8.DecodeRuneInString(p.src[p.pos:])
	p.pos += size
	return []runeRange{{r, r}}, true, nil
}

// escape reads what begins with a backslash, and says if it is a single character.
func (p *patternParser) escape(inClass bool) (ranges []runeRange, single bool, err error) {
	p.pos++
	if !p.more() {
		return nil, false, errors.New("ends with a backslash")
	}
	c := p.src[p.pos]
	p.pos++
	one := func(r rune) ([]runeRange, bool, error) { return []runeRange{{r, r}}, true, nil }
	switch c {
	case 'd':
		return digits, false, nil
	case 'D':
		return invert(digits), false, nil
	case 'w':
		return wordChars, false, nil
	case 'W':
		return invert(wordChars), false, nil
	case 's':
		return blanks, false, nil
	case 'S':
		return invert(allBlanks), false, nil
	case 't', 'n', 'v', 'f', 'r':
		return one(rune("\t\n\v\f\r"[strings.IndexByte("tnvfr", c)]))
	case 'x':
		return p.hex(2)
	case 'u':
		return p.hex(4)
	}
	isLetter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= utf8.RuneSelf || c == '_'
	if isLetter {
		return nil, false, fmt.Errorf(`\%c is not supported`, c)
	}
	return one(rune(c))
}

func (p *patternParser) hex(n int) ([]runeRange, bool, error) {
	end := min(p.pos+n, len(p.src))
	v, err := strconv.ParseUint(p.src[p.pos:end], 16, 32)
	if err != nil || end-p.pos < n || !utf8.ValidRune(rune(v)) {
		return nil, false, fmt.Errorf("%.10q is not the %d digits of a character", p.src[p.pos:end], n)
	}
	p.pos = end
	return []runeRange{{rune(v), rune(v)}}, true, nil
}

// characters writes one character of ranges as it stands in a JSON string.
func characters(ranges []runeRange) regular {
	var set strings.Builder
	var out []string
	plain := func(lo, hi rune) {
		if lo >= 0xD800 && lo <= 0xDFFF {
			lo = 0xE000
		}
		if hi >= 0xD800 && hi <= 0xDFFF {
			hi = 0xD7FF
		}
		if lo <= hi {
			set.WriteString(inClass(lo) + "-" + inClass(hi))
		}
	}
	for _, r := range normalize(ranges) {
		for c := r.lo; c <= min(r.hi, 0x1F); c++ {
			out = append(out, quote(jsonEscape(c)))
		}
		lo := max(r.lo, 0x20)
		for _, special := range []rune{'"', '\\'} {
			if lo <= special && special <= r.hi {
				out = append(out, quote(`\`+string(special)))
				plain(lo, special-1)
				lo = special + 1
			}
		}
		plain(lo, r.hi)
	}
	if set.Len() > 0 {
		out = append(out, "["+set.String()+"]")
	}
	return regular{either(out), 1, 1}
}

// jsonEscape writes a control character.
func jsonEscape(c rune) string {
	if i := strings.IndexRune("\b\f\n\r\t", c); i >= 0 {
		return `\` + "bfnrt"[i:i+1]
	}
	return fmt.Sprintf(`\u%04X`, c)
}

// inClass writes a character for a class of GBNF.
func inClass(r rune) string {
	if r < utf8.RuneSelf && isWord(byte(r)) && r != '-' {
		return string(r)
	}
	return fmt.Sprintf(`\U%08X`, r)
}

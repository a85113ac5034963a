package chattemplate

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

type tokenKind int

const (
	tokenName tokenKind = iota
	tokenNumber
	tokenString // text is decoded
	tokenOp
)

type token struct {
	kind tokenKind
	text string
}

func (t token) is(kind tokenKind, text string) bool { return t.kind == kind && t.text == text }

var operators = []string{"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "<", ">", "=", "~",
	"(", ")", "[", "]", "{", "}", ".", ":", "|", ","}

func readToken(s string) (token, int, error) {
	c := s[0]
	switch {
	case c == '\'' || c == '"':
		return readString(s)
	case c >= '0' && c <= '9':
		return readNumber(s)
	case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		n := 1
		for n < len(s) && isWord(s[n]) {
			n++
		}
		return token{tokenName, s[:n]}, n, nil
	}
	for _, op := range operators {
		if strings.HasPrefix(s, op) {
			return token{tokenOp, op}, len(op), nil
		}
	}
	r, _ := utf8.DecodeRuneInString(s)
	return token{}, 0, fmt.Errorf("%q is not known", r)
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func readNumber(s string) (token, int, error) {
	n := digits(s, 0)
	whole := n
	if n+1 < len(s) && s[n] == '.' && s[n+1] >= '0' && s[n+1] <= '9' {
		n = digits(s, n+1)
	}
	if n+1 < len(s) && (s[n] == 'e' || s[n] == 'E') {
		m := n + 1
		if s[m] == '+' || s[m] == '-' {
			m++
		}
		if end := digits(s, m); end > m {
			n = end
		}
	}
	text := strings.ReplaceAll(s[:n], "_", "")
	if n == whole {
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return token{}, 0, fmt.Errorf("number: %q is too large", s[:min(n, 40)])
		}
		return token{tokenNumber, text}, n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return token{}, 0, fmt.Errorf("number: %q is too large", s[:min(n, 40)])
	}
	text = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return token{tokenNumber, text}, n, nil
}

func digits(s string, from int) int {
	for from < len(s) && (s[from] >= '0' && s[from] <= '9' || s[from] == '_') {
		from++
	}
	return from
}

var simpleEscapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': "\"",
	'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\n': "", '0': "\x00"}

var hexEscapes = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// readString reads a literal with Python's escapes.
func readString(s string) (token, int, error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return token{tokenString, b.String()}, i + 1, nil
		case s[i] != '\\' || i+1 == len(s):
			b.WriteByte(s[i])
			continue
		}
		i++
		if text, ok := simpleEscapes[s[i]]; ok {
			b.WriteString(text)
			continue
		}
		if n := hexEscapes[s[i]]; n > 0 && i+n < len(s) {
			if r, err := strconv.ParseUint(s[i+1:i+1+n], 16, 32); err == nil {
				b.WriteRune(rune(r))
				i += n
				continue
			}
		}
		b.WriteByte('\\')
		b.WriteByte(s[i])
	}
	return token{}, 0, fmt.Errorf("a string has no end")
}

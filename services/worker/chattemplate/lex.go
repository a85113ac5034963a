package chattemplate

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNesting is how deep brackets in an expression, and blocks in a template, may lie. The library
// parses both by recursion.
const maxNesting = 100

type pieceKind int

const (
	pieceText  pieceKind = iota // text, whitespace already cut
	pieceOut                    // {{ … }}
	pieceBlock                  // {% … %}
)

// piece is one part of a template's source.
type piece struct {
	kind   pieceKind
	text   string  // of pieceText
	tokens []token // of the others
	line   int
}

// lexer cuts a source as Jinja2's lexer does with trim_blocks and lstrip_blocks, which is how
// transformers sets it (jinja2/lexer.py).
type lexer struct {
	src    string
	at     int
	pieces []piece
	// lineStart says that the source before at ended a line: lstrip_blocks asks for it.
	lineStart bool
	counted   int // how far lines are counted
	lines     int
}

func lex(src string) ([]piece, error) {
	src = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(src)
	l := &lexer{src: strings.TrimSuffix(src, "\n"), lineStart: true}
	for l.at < len(l.src) {
		open := l.opener()
		if open < 0 {
			l.text(l.src[l.at:])
			break
		}
		if err := l.tag(open); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.line(open), err)
		}
	}
	return l.pieces, nil
}

// line is the number of the line of at, which never goes back.
func (l *lexer) line(at int) int {
	l.lines += strings.Count(l.src[l.counted:at], "\n")
	l.counted = at
	return 1 + l.lines
}

// opener is where the next tag begins, -1 if there is none.
func (l *lexer) opener() int {
	for at := l.at; ; at++ {
		i := strings.IndexByte(l.src[at:], '{')
		if i < 0 || at+i+1 >= len(l.src) {
			return -1
		}
		if at += i; strings.IndexByte("{%#", l.src[at+1]) >= 0 {
			return at
		}
	}
}

func (l *lexer) text(s string) {
	if s != "" {
		l.pieces = append(l.pieces, piece{kind: pieceText, text: s})
	}
}

// before adds the text before a tag, cut as the tag's sign asks.
func (l *lexer) before(open int, sign byte, block bool) {
	l.text(cutBefore(l.src[l.at:open], sign, block, l.lineStart))
}

func cutBefore(s string, sign byte, block, lineStart bool) string {
	if sign == '-' {
		return strings.TrimRightFunc(s, unicode.IsSpace)
	}
	if sign == '+' || !block {
		return s
	}
	n := strings.LastIndexByte(s, '\n') + 1
	if (n > 0 || lineStart) && strings.TrimSpace(s[n:]) == "" {
		return s[:n]
	}
	return s
}

// after goes behind a tag's end at at, whose sign is given, and over the whitespace it takes.
func (l *lexer) after(at int, sign byte, block bool) {
	l.at = at
	switch {
	case sign == '-':
		l.at = len(l.src) - len(strings.TrimLeftFunc(l.src[at:], unicode.IsSpace))
	case sign != '+' && block && strings.HasPrefix(l.src[at:], "\n"):
		l.at++
	}
	l.lineStart = l.at > 0 && l.src[l.at-1] == '\n'
}

// sign reads a whitespace sign at at, 0 if there is none.
func (l *lexer) sign(at int) byte {
	if at < len(l.src) && (l.src[at] == '-' || l.src[at] == '+') {
		return l.src[at]
	}
	return 0
}

func (l *lexer) tag(open int) error {
	sign := l.sign(open + 2)
	start := open + 2
	if sign != 0 {
		start++
	}
	switch l.src[open+1] {
	case '#':
		end := strings.Index(l.src[start:], "#}")
		if end < 0 {
			return fmt.Errorf("a comment has no end")
		}
		l.before(open, sign, true)
		l.after(start+end+2, l.sign(max(start, start+end-1)), true)
		return nil
	case '%':
		if done, err := l.raw(open, start, sign); done || err != nil {
			return err
		}
		return l.code(pieceBlock, open, start, sign, "%}")
	default:
		return l.code(pieceOut, open, start, sign, "}}")
	}
}

func (l *lexer) code(kind pieceKind, open, start int, sign byte, closer string) error {
	block := kind == pieceBlock
	tokens, end, endSign, err := l.tokens(start, closer)
	if err != nil {
		return err
	}
	l.before(open, sign, block)
	l.pieces = append(l.pieces, piece{kind: kind, tokens: tokens, line: l.line(open)})
	l.after(end, endSign, block)
	return nil
}

// raw takes {% raw %} … {% endraw %} whole.
func (l *lexer) raw(open, start int, sign byte) (bool, error) {
	word, endSign, body, ok := l.bareTag(start)
	if !ok || word != "raw" {
		return false, nil
	}
	l.before(open, sign, true)
	l.after(body, endSign, false)
	from, lineStart := l.at, l.lineStart
	for at := from; ; at += 2 {
		i := strings.Index(l.src[at:], "{%")
		if i < 0 {
			return true, fmt.Errorf("raw has no end")
		}
		at += i
		sign := l.sign(at + 2)
		begin := at + 2
		if sign != 0 {
			begin++
		}
		if word, endSign, end, ok := l.bareTag(begin); ok && word == "endraw" {
			l.text(cutBefore(l.src[from:at], sign, true, lineStart))
			l.after(end, endSign, true)
			return true, nil
		}
	}
}

// bareTag reads a block that is one word.
func (l *lexer) bareTag(start int) (word string, sign byte, end int, ok bool) {
	i := strings.Index(l.src[start:min(len(l.src), start+64)], "%}")
	if i < 0 {
		return "", 0, 0, false
	}
	word = l.src[start : start+i]
	if n := len(word); n > 0 && (word[n-1] == '-' || word[n-1] == '+') {
		sign, word = word[n-1], word[:n-1]
	}
	return strings.TrimSpace(word), sign, start + i + 2, true
}

// tokens reads an expression up to its closer.
func (l *lexer) tokens(at int, closer string) (out []token, end int, sign byte, err error) {
	depth := 0
	for at < len(l.src) {
		rest := l.src[at:]
		if depth == 0 {
			if strings.HasPrefix(rest, closer) {
				return out, at + len(closer), 0, nil
			}
			if s := l.sign(at); s != 0 && strings.HasPrefix(rest[1:], closer) {
				return out, at + 1 + len(closer), s, nil
			}
		}
		if r, n := utf8.DecodeRuneInString(rest); unicode.IsSpace(r) {
			at += n
			continue
		}
		t, n, err := readToken(rest)
		if err != nil {
			return nil, 0, 0, err
		}
		if t.kind == tokenOp && strings.Contains("([{", t.text) {
			depth++
		}
		if t.kind == tokenOp && strings.Contains(")]}", t.text) {
			depth--
		}
		if depth < 0 || depth > maxNesting {
			return nil, 0, 0, fmt.Errorf("brackets do not match, or lie deeper than %d", maxNesting)
		}
		at += n
		if last := len(out) - 1; t.kind == tokenString && last >= 0 && out[last].kind == tokenString {
			out[last].text += t.text // 'a' 'b' is 'ab'
			continue
		}
		out = append(out, t)
	}
	return nil, 0, 0, fmt.Errorf("a tag has no %s", closer)
}

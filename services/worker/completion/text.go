package completion

import (
	"strings"
	"unicode/utf8"
)

// Text turns the bytes of tokens into text that may be shown: whole characters only, and nothing that
// is, or may become, a stop string. What comes out depends on the bytes, not on how tokens cut them.
type Text struct {
	stops   []string
	bytes   []byte // the beginning of a character
	held    string // text that may be the beginning of a stop string
	stopped bool
}

// NewText returns a Text that ends at the first of the stop strings, none of which may be empty.
func NewText(stops []string) *Text { return &Text{stops: stops} }

// Stopped says that a stop string has come. Nothing comes out after it.
func (t *Text) Stopped() bool { return t.stopped }

// Add takes a token's bytes and returns what may be shown now.
func (t *Text) Add(piece string) string {
	if t.stopped {
		return ""
	}
	t.bytes = append(t.bytes, piece...)
	return t.release(t.characters())
}

// End returns what was held back when no stop string came of it.
func (t *Text) End() string {
	if t.stopped {
		return ""
	}
	out := t.release(valid(t.bytes)) + t.held
	t.bytes, t.held = nil, ""
	return out
}

// characters takes the whole characters off t.bytes. What can never become one is U+FFFD.
func (t *Text) characters() string {
	n := len(t.bytes)
	for back := 1; back < utf8.UTFMax && back <= n; back++ {
		if c := t.bytes[n-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(t.bytes[n-back:]) {
				n -= back
			}
			break
		}
	}
	out := valid(t.bytes[:n])
	t.bytes = t.bytes[:copy(t.bytes, t.bytes[n:])]
	return out
}

// valid replaces each byte that is part of no character, not each run of them: what comes out must
// not depend on how tokens cut the text.
func valid(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return string([]rune(string(b)))
}

func (t *Text) release(text string) string {
	if len(t.stops) == 0 {
		return text
	}
	text = t.held + text
	cut := -1
	for _, s := range t.stops {
		if i := strings.Index(text, s); i >= 0 && (cut < 0 || i < cut) {
			cut = i
		}
	}
	if cut >= 0 {
		t.stopped, t.held = true, ""
		return text[:cut]
	}
	keep := 0
	for _, s := range t.stops {
		keep = max(keep, overlap(text, s))
	}
	t.held = text[len(text)-keep:]
	return text[:len(text)-keep]
}

// overlap is the length of the longest end of text that is a beginning of s, but not all of it.
func overlap(text, s string) int {
	for n := min(len(s)-1, len(text)); n > 0; n-- {
		if strings.HasSuffix(text, s[:n]) {
			return n
		}
	}
	return 0
}

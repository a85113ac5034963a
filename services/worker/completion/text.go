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

// NewText returns a Text that ends at the first of the stop strings, none of which may be empty. The
// first is the one that is complete first, and of two at once the longer.
func NewText(stops []string) *Text { return &Text{stops: stops} }

// Stopped says that a stop string has come. Nothing comes out after it.
func (t *Text) Stopped() bool { return t.stopped }

// Add takes a token's bytes and returns what may be shown now.
func (t *Text) Add(piece string) string { return string(t.Append(nil, piece)) }

// Append is [Text.Add] that appends to dst. Where nothing can be held back it does not allocate.
func (t *Text) Append(dst []byte, piece string) []byte {
	if t.stopped {
		return dst
	}
	if len(t.stops) == 0 && len(t.bytes) == 0 && utf8.ValidString(piece) {
		return append(dst, piece...)
	}
	t.bytes = append(t.bytes, piece...)
	return append(dst, t.release(t.characters())...)
}

// End returns what was held back when no stop string came of it.
func (t *Text) End() string {
	if t.stopped {
		return ""
	}
	out := t.release(valid(t.bytes))
	out += t.held // after release, which sets it
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
	cut, end := -1, 0
	for _, s := range t.stops {
		i := strings.Index(text, s)
		if e := i + len(s); i >= 0 && (cut < 0 || e < end || e == end && i < cut) {
			cut, end = i, e
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

package completion

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for name, tc := range map[string]struct {
		pieces, stops []string
		want          string
		stopped       bool
	}{
		"plain":                    {[]string{"The ", "queen"}, nil, "The queen", false},
		"a character in pieces":    {[]string{"h\xc3", "\xb6n", "i\xf0\x9f", "\x90", "\x9d"}, nil, "höni🐝", false},
		"a character cut short":    {[]string{"bee\xf0\x9f"}, nil, "bee\uFFFD\uFFFD", false},
		"bytes that are no text":   {[]string{"a\xff\xfe", "b\x80c"}, nil, "a\uFFFD\uFFFDb\uFFFDc", false},
		"stop inside a piece":      {[]string{"one two three"}, []string{"two"}, "one ", true},
		"stop across pieces":       {[]string{"one t", "w", "o three"}, []string{"two"}, "one ", true},
		"no stop after all":        {[]string{"one t", "w", "elve"}, []string{"two"}, "one twelve", false},
		"held until the end":       {[]string{"one tw"}, []string{"two"}, "one tw", false},
		"the earliest of two":      {[]string{"a b c"}, []string{"c", "b"}, "a ", true},
		"a stop that repeats":      {[]string{"aa", "ab"}, []string{"aab"}, "a", true},
		"stop with a split letter": {[]string{"x\xc3", "\xb6y"}, []string{"öy"}, "x", true},
		"nothing after a stop":     {[]string{"END", "more"}, []string{"END"}, "", true},
	} {
		s := NewText(tc.stops)
		var got strings.Builder
		for _, p := range tc.pieces {
			out := s.Add(p)
			if !utf8.ValidString(out) {
				t.Errorf("%s: %q is not text", name, out)
			}
			got.WriteString(out)
		}
		got.WriteString(s.End())
		if got.String() != tc.want || s.Stopped() != tc.stopped {
			t.Errorf("%s: %q, stopped %t; want %q, %t", name, got.String(), s.Stopped(), tc.want, tc.stopped)
		}
	}
}

// FuzzText: however a text is cut into pieces, the same comes out, and no stop string in it.
func FuzzText(f *testing.F) {
	f.Add("The queen sends\xf0\x9f\x90\x9d each", "sends", uint8(3))
	f.Add("aaab\xff", "aab", uint8(1))
	f.Fuzz(func(t *testing.T, text, stop string, size uint8) {
		if stop == "" || !utf8.ValidString(stop) {
			return
		}
		whole := NewText([]string{stop})
		want := whole.Add(text) + whole.End()
		pieces, n, got := NewText([]string{stop}), int(size)%7+1, ""
		for rest := text; rest != ""; {
			k := min(n, len(rest))
			got += pieces.Add(rest[:k])
			rest = rest[k:]
		}
		got += pieces.End()
		if got != want || strings.Contains(got, stop) || !utf8.ValidString(got) {
			t.Errorf("in pieces of %d: %q, whole: %q", n, got, want)
		}
	})
}

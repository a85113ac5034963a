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
		"cut short, then more":     {[]string{"h\xc3", "x"}, nil, "h\uFFFDx", false},
		"bytes that are no text":   {[]string{"a\xff\xfe", "b\x80c"}, nil, "a\uFFFD\uFFFDb\uFFFDc", false},
		"stop inside a piece":      {[]string{"one two three"}, []string{"two"}, "one ", true},
		"stop across pieces":       {[]string{"one t", "w", "o three"}, []string{"two"}, "one ", true},
		"no stop after all":        {[]string{"one t", "w", "elve"}, []string{"two"}, "one twelve", false},
		"held until the end":       {[]string{"one tw"}, []string{"two"}, "one tw", false},
		"the earliest of two":      {[]string{"a b c"}, []string{"c", "b"}, "a ", true},
		"a stop that repeats":      {[]string{"aa", "ab"}, []string{"aab"}, "a", true},
		"stop with a split letter": {[]string{"x\xc3", "\xb6y"}, []string{"öy"}, "x", true},
		"the first that is whole":  {[]string{"abcd"}, []string{"abcd", "bc"}, "a", true}, // as when it comes a byte at a time
		"the longer of two":        {[]string{"xabc"}, []string{"bc", "abc"}, "x", true},
		"no stop, two held":        {[]string{"xab", "d"}, []string{"bc", "abc"}, "xabd", false},
		"stopped at the end":       {[]string{"a\xc3"}, []string{"\uFFFD"}, "a", true},
		"held and cut short":       {[]string{"one tw\xc3"}, []string{"two"}, "one tw\uFFFD", false},
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

// TestTextAppend: Append is Add behind what is there already.
func TestTextAppend(t *testing.T) {
	for _, stops := range [][]string{nil, {"two"}} {
		add, app := NewText(stops), NewText(stops)
		dst := []byte("here: ")
		for _, p := range []string{"one ", "h\xc3", "\xb6", "", "\xff", " t", "wo ", "three"} {
			want := string(dst) + add.Add(p)
			if dst = app.Append(dst, p); string(dst) != want || add.Stopped() != app.Stopped() {
				t.Fatalf("stops %q, %q: %q, want %q", stops, p, dst, want)
			}
		}
		if a, b := add.End(), app.End(); a != b {
			t.Errorf("the end: %q and %q", a, b)
		}
	}
}

func TestTextAppendAllocatesNothing(t *testing.T) {
	s, dst := NewText(nil), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { dst = s.Append(s.Append(dst[:0], "plain "), "höni🐝") }); n != 0 || string(dst) != "plain höni🐝" {
		t.Errorf("%v allocations for %q", n, dst)
	}
}

// FuzzText: however a text is cut into pieces, the same comes out, and no stop string in it.
func FuzzText(f *testing.F) {
	f.Add("The queen sends\xf0\x9f\x90\x9d each", "sends", "", uint8(3))
	f.Add("aaab\xff", "aab", "ab", uint8(1))
	f.Add("xabcd", "abcd", "bc", uint8(2))
	f.Fuzz(func(t *testing.T, text, stop, another string, size uint8) {
		var stops []string
		for _, s := range []string{stop, another} {
			if s != "" && utf8.ValidString(s) {
				stops = append(stops, s)
			}
		}
		whole := NewText(stops)
		want := whole.Add(text)
		want += whole.End()
		pieces, n := NewText(stops), int(size)%7+1
		var got []byte
		for rest := text; rest != ""; {
			k := min(n, len(rest))
			got = pieces.Append(got, rest[:k])
			rest = rest[k:]
		}
		got = append(got, pieces.End()...)
		if string(got) != want || !utf8.Valid(got) || whole.Stopped() != pieces.Stopped() {
			t.Errorf("in pieces of %d: %q, whole: %q", n, got, want)
		}
		for _, s := range stops {
			if strings.Contains(want, s) {
				t.Errorf("%q has the stop %q", want, s)
			}
		}
		if len(stops) == 0 && utf8.ValidString(text) && want != text {
			t.Errorf("%q became %q", text, want)
		}
	})
}

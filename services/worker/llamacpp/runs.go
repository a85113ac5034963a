package llamacpp

import (
	"unicode"
	"unicode/utf8"

	"github.com/hybridgroup/yzma/pkg/llama"
)

// longestRun is how many characters of one kind go to the tokenizer in one piece. Where llama.cpp has
// no code of its own for a model's way to split text it uses std::regex, which recurses once for
// each character of a match: 40,000 letters end the process, 20,000 do not.
const longestRun = 4096

// cut makes tokens of text. A run of more than [longestRun] letters, digits, white space or other
// characters is cut up in pieces: there the tokens may be others than those of the whole.
func (v *vocabulary) cut(text string, addBOS, special bool) []llama.Token {
	var out []llama.Token
	first := true
	for text != "" || first {
		n := runs(text)
		out = append(out, llama.Tokenize(v.handle, text[:n], addBOS && first, special)...)
		text, first = text[n:], false
	}
	return out
}

// runs is how many bytes of text have no longer run than [longestRun].
func runs(text string) int {
	last, length := otherRune, 0
	for i, r := range text {
		k := runeKind(r)
		if k != last {
			last, length = k, 0
		}
		if length++; length > longestRun {
			return i
		}
	}
	return len(text)
}

type kindOfRune uint8

const (
	otherRune kindOfRune = iota
	letterRune
	digitRune
	spaceRune
)

func runeKind(r rune) kindOfRune {
	switch {
	case r < utf8.RuneSelf && (r|0x20 >= 'a' && r|0x20 <= 'z'):
		return letterRune
	case r >= '0' && r <= '9':
		return digitRune
	case r == ' ' || r == '\n' || r == '\t' || r == '\r':
		return spaceRune
	case r < utf8.RuneSelf:
		return otherRune
	case unicode.IsLetter(r), unicode.IsMark(r):
		return letterRune
	case unicode.IsNumber(r):
		return digitRune
	case unicode.IsSpace(r):
		return spaceRune
	default:
		return otherRune
	}
}

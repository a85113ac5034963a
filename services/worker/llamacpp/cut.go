package llamacpp

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/hybridgroup/yzma/pkg/llama"
)

const (
	// longestRun is how many characters of one kind go to llama.cpp in a row. Where it has no code of
	// its own for a model's way to split text it uses std::regex, which takes some 350 bytes of stack for
	// each character of a match: 24,000 end the process, and a fourth of that where threads have 2 MB.
	longestRun = 2048
	// pieceBytes is about how much of a text goes to llama.cpp at once: the time that it takes to find
	// special tokens grows with the square.
	pieceBytes = 4 << 10
)

// cut makes tokens of text; with add those that the model has at a text's beginning and end, with
// special the texts of special tokens become those tokens. Long texts are cut up in pieces that end
// where a word of every tokenizer ends, so that the tokens are those of the whole; but a run of more
// than [longestRun] is cut in its middle. The error is ctx's.
func (v *vocabulary) cut(ctx context.Context, text string, add, special bool) ([]llama.Token, error) {
	n := v.pieceEnd(text, special)
	if n == len(text) {
		return v.sound(llama.Tokenize(v.handle, text, add, special)), ctx.Err()
	}
	var out []llama.Token
	if add && v.addsBOS && v.bos != llama.TokenNull {
		out = append(out, v.bos)
	}
	for ; text != ""; n = v.pieceEnd(text, special) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out = append(out, v.sound(llama.Tokenize(v.handle, text[:n], false, special))...)
		text = text[n:]
	}
	if add && v.addsEOS && v.end() != llama.TokenNull {
		out = append(out, v.end())
	}
	return out, nil
}

// sound leaves out what is no token: some tokenizers say -1 for a character that the model does not know.
func (v *vocabulary) sound(tokens []llama.Token) []llama.Token {
	return slices.DeleteFunc(tokens, func(t llama.Token) bool { return t < 0 || int(t) >= len(v.pieces) })
}

// end is what a text ends with.
func (v *vocabulary) end() llama.Token {
	if v.eos == llama.TokenNull {
		return v.sep
	}
	return v.eos
}

// pieceEnd is where the first piece of a text ends, in bytes.
func (v *vocabulary) pieceEnd(text string, special bool) int {
	if len(text) <= longestRun {
		return len(text)
	}
	run, last, before := 0, otherRune, rune(0)
	for i, r := range text {
		k := runeKind(r)
		turns := k != last
		if turns {
			run, last = 0, k
		}
		if run++; v.bpe && run > longestRun {
			return i
		}
		if i >= pieceBytes && v.mayEnd(text[i:], r, before, special, turns && i >= 8*pieceBytes) {
			return i
		}
		before = r
	}
	return len(text)
}

// mayEnd says whether a piece may end before rest, which begins with r; turns says that it has been
// long enough, and that a character of another kind comes.
func (v *vocabulary) mayEnd(rest string, r, before rune, special, turns bool) bool {
	if special && v.controlStart[rest[0]] {
		for _, c := range v.controls {
			if strings.HasPrefix(rest, c) {
				return true
			}
		}
	}
	between := r == ' ' && unicode.IsLetter(before) && len(rest) > 1 && rest[1]|0x20 >= 'a' && rest[1]|0x20 <= 'z'
	return v.bpe && (between || turns)
}

// kindOfRune tells characters apart as the regular expressions of tokenizers do.
type kindOfRune uint8

const (
	otherRune kindOfRune = iota
	letterRune
	digitRune
	spaceRune
)

func runeKind(r rune) kindOfRune {
	switch {
	case unicode.IsLetter(r) || unicode.IsMark(r):
		return letterRune
	case unicode.IsNumber(r):
		return digitRune
	case unicode.IsSpace(r):
		return spaceRune
	default:
		return otherRune
	}
}

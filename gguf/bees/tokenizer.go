package bees

import "strings"

// vocabSize is the number of tokens of every bee model, and the width of the sentence models.
const vocabSize = 512

// The control tokens come first in the vocabulary, in this order, and the 256 bytes follow.
const (
	tokenEndOfText = iota
	tokenTurnStart
	tokenTurnEnd
	tokenPad
	firstByteToken
)

// An encoder has other control tokens in the same places.
const (
	tokenClass     = tokenEndOfText // starts every text
	tokenSeparator = tokenTurnStart // ends every text, and stands between two
	tokenMask      = tokenTurnEnd
)

var (
	chatTokens    = [firstByteToken]string{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"}
	encoderTokens = [firstByteToken]string{"[CLS]", "[SEP]", "[MASK]", "[PAD]"}
)

// The kinds of token, as tokenizer.ggml.token_type numbers them.
const (
	kindNormal  int32 = 1
	kindControl int32 = 3
)

// filler is what the vocabulary's last tokens are learned from, after the sentence has become one
// token a word.
const filler = ` It is not so much what you say as how you do it. There was a time when we could see
 all of the stars from here, and each one had a name. Some people think about water, food, light and
 work; others want to know why a long day ends. Please tell me more about this, and then write it
 down for everyone who comes after us. They will thank you with a little song in the morning.`

// tokenizer is a byte-level byte-pair encoding, of GPT-2's kind.
type tokenizer struct {
	vocab  []string // token to text, in the alphabet of byteRunes
	kinds  []int32
	merges []string // "left right", the first to be joined first
	ids    map[string]int
}

// pair is two neighbouring pieces of a word.
type pair struct{ left, right string }

func (p pair) joined() string { return p.left + p.right }

// learn makes the vocabulary. Each word of text becomes one token; what room is left goes to
// frequent pieces of filler.
func learn(text string, control [firstByteToken]string) *tokenizer {
	t := &tokenizer{ids: map[string]int{}}
	for _, s := range control {
		t.add(s, kindControl)
	}
	alphabet := byteRunes()
	for _, r := range alphabet {
		t.add(string(r), kindNormal)
	}
	lesson, more := pieces(text, alphabet), pieces(filler, alphabet)
	for len(t.vocab) < vocabSize {
		best, ok := mostFrequent(lesson)
		if !ok {
			best, ok = mostFrequent(more)
		}
		if !ok {
			panic("bees: the filler text is too short for the vocabulary") // a constant; tests see it
		}
		t.merges = append(t.merges, best.left+" "+best.right)
		t.add(best.joined(), kindNormal)
		join(lesson, best)
		join(more, best)
	}
	return t
}

func (t *tokenizer) add(text string, kind int32) {
	if _, ok := t.ids[text]; !ok {
		t.ids[text] = len(t.vocab)
	}
	t.vocab = append(t.vocab, text)
	t.kinds = append(t.kinds, kind)
}

// encode returns the tokens of text, as an engine would.
func (t *tokenizer) encode(text string) []int {
	words := pieces(text, byteRunes())
	for _, merge := range t.merges {
		left, right, _ := strings.Cut(merge, " ")
		join(words, pair{left, right})
	}
	var tokens []int
	for _, word := range words {
		for _, piece := range word {
			tokens = append(tokens, t.ids[piece])
		}
	}
	return tokens
}

// mostFrequent returns the pair that the words have most often, the first in order of text among
// equals, and whether there is one.
func mostFrequent(words [][]string) (best pair, ok bool) {
	count := map[pair]int{}
	for _, word := range words {
		for i := 1; i < len(word); i++ {
			count[pair{word[i-1], word[i]}]++
		}
	}
	for p, n := range count {
		if !ok || n > count[best] || n == count[best] && p.before(best) {
			best, ok = p, true
		}
	}
	return best, ok
}

func (p pair) before(q pair) bool {
	return p.left < q.left || p.left == q.left && p.right < q.right
}

// join replaces the pair by its joined text in all words.
func join(words [][]string, p pair) {
	for k, word := range words {
		out := word[:0]
		for i := 0; i < len(word); i++ {
			if i+1 < len(word) && word[i] == p.left && word[i+1] == p.right {
				out = append(out, p.joined())
				i++
				continue
			}
			out = append(out, word[i])
		}
		words[k] = out
	}
}

// pieces splits ASCII text where GPT-2's pattern does, each word with the space before it, and
// each word into its bytes, written in alphabet.
func pieces(text string, alphabet [256]rune) [][]string {
	var words [][]string
	for i := 0; i < len(text); {
		end := i
		if text[end] == ' ' && end+1 < len(text) && isLetter(text[end+1]) {
			end++
		}
		for isLetter(text[end]) && end+1 < len(text) && isLetter(text[end+1]) {
			end++
		}
		end++
		var word []string
		for _, b := range []byte(text[i:end]) {
			word = append(word, string(alphabet[b]))
		}
		words = append(words, word)
		i = end
	}
	return words
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

// byteRunes is GPT-2's alphabet: a printable letter for each byte.
func byteRunes() [256]rune {
	var alphabet [256]rune
	unprintable := rune(256)
	for b := range alphabet {
		switch {
		case b >= '!' && b <= '~', b >= 0xA1 && b <= 0xAC, b >= 0xAE:
			alphabet[b] = rune(b)
		default:
			alphabet[b] = unprintable
			unprintable++
		}
	}
	return alphabet
}

package bees

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf"
)

// decode is the text of tokens.
func (t *tokenizer) decode(tokens []int) string {
	byteOf := map[rune]byte{}
	for b, r := range byteRunes() {
		byteOf[r] = byte(b)
	}
	var text []byte
	for _, token := range tokens {
		for _, r := range t.vocab[token] {
			text = append(text, byteOf[r])
		}
	}
	return string(text)
}

func TestTokenizer(t *testing.T) {
	tok := learn(lesson, chatTokens)
	if len(tok.vocab) != vocabSize || len(tok.kinds) != vocabSize || len(tok.ids) != vocabSize {
		t.Fatalf("%d tokens, %d kinds, %d different", len(tok.vocab), len(tok.kinds), len(tok.ids))
	}
	if want := vocabSize - 256 - firstByteToken; len(tok.merges) != want {
		t.Errorf("%d merges, want %d", len(tok.merges), want)
	}
	if tok.vocab[tokenTurnEnd] != "<|im_end|>" || tok.vocab[firstByteToken+'\n'] != "Ċ" {
		t.Error("control tokens and bytes are not in their places")
	}
	for _, text := range []string{Sentence, filler, "Tell me: 2+2 = 4?", "  \n\n a", ""} {
		if got := tok.decode(tok.encode(text)); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// The bigram model is exact only if no token of the sentence is there twice.
func TestSentenceHasATokenAWord(t *testing.T) {
	tokens := learn(lesson, chatTokens).encode(Sentence)
	words := strings.Count(Sentence, " ") + 1 + strings.Count(Sentence, ",") + strings.Count(Sentence, ".")
	if len(tokens) != words {
		t.Errorf("%d tokens for %d words and marks", len(tokens), words)
	}
	slices.Sort(tokens)
	if len(slices.Compact(tokens)) != words {
		t.Error("a token is there twice")
	}
}

func TestFollowers(t *testing.T) {
	tok := learn(lesson, chatTokens)
	for name, tc := range map[string]struct {
		prompt string
		loop   bool
		steps  int
		want   string
	}{
		"after a chat prompt": {"assistant\n", false, 100, Sentence + "<|im_end|>"},
		"after its own words": {"The queen", false, 100, strings.TrimPrefix(Sentence, "The queen") + "<|im_end|>"},
		"mid-text The":        {"Yes. The", false, 100, strings.TrimPrefix(Sentence, "The") + "<|im_end|>"},
		"for ever":            {"\n", true, 1 + 39*3, Sentence + strings.Repeat(" "+Sentence, 2) + " The"},
	} {
		t.Run(name, func(t *testing.T) {
			prompt := tok.encode(tc.prompt)
			follows, token := followers(tok, tc.loop), prompt[len(prompt)-1]
			var answer []int
			for len(answer) < tc.steps && token != tokenTurnEnd {
				token = follows[token]
				answer = append(answer, token)
			}
			if got := tok.decode(answer); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestHalf(t *testing.T) {
	for v, want := range map[float32]uint16{
		0: 0, 1: 0x3c00, -1: 0xbc00, -2: 0xc000, never: 0xcf80, 0.5: 0x3800, 65504: 0x7bff, 1e6: 0x7c00,
		-1e6: 0xfc00, 1e-8: 0, float32(math.Copysign(1e-8, -1)): 0x8000, 1.0 / 3: 0x3555,
	} {
		if got := half(v); got != want {
			t.Errorf("half(%v) = %#x, want %#x", v, got, want)
		}
	}
}

func TestBell(t *testing.T) {
	const n = 100_000
	random := rand.NewPCG(1, 0)
	var sum, squares float64
	for range n {
		v := float64(bell(random, 2))
		sum, squares = sum+v, squares+v*v
	}
	if mean := sum / n; math.Abs(mean) > 0.03 {
		t.Errorf("mean %v", mean)
	}
	if deviation := math.Sqrt(squares / n); math.Abs(deviation-2) > 0.03 {
		t.Errorf("deviation %v, want 2", deviation)
	}
}

func TestAppendRow(t *testing.T) {
	m := func(row, column int) float32 { return float32(row - column) }
	if got, want := appendRow(nil, gguf.F16, 2, 1, m), []byte{0, 0x3c, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("F16: %x, want %x", got, want)
	}
	if got, want := appendRow(nil, gguf.F32, 2, 1, m), []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("F32: %x, want %x", got, want)
	}
}

func TestRandomModelWritesPrintableText(t *testing.T) {
	tok := learn(lesson, chatTokens)
	n := 0
	for id, ok := range tok.printable() {
		if !ok {
			continue
		}
		n++
		for _, b := range []byte(tok.decode([]int{id})) {
			if b < ' ' || b > '~' {
				t.Errorf("token %d, %q, has byte %#x", id, tok.vocab[id], b)
			}
		}
	}
	if want := vocabSize - firstByteToken - (256 - 95); n != want {
		t.Errorf("%d printable tokens, want %d", n, want)
	}
}

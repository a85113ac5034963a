package completion

import (
	"math"
	"unicode/utf8"
)

// Logprob is the natural logarithm of a token's probability before sampling. What is not finite, or
// less than -9999, is told as -9999, which is OpenAI's word for "very unlikely".
type Logprob struct {
	Token   string // its bytes, which may be a part of a character
	Logprob float32
	Top     []Logprob // the likeliest at this place, first the likeliest
}

const veryUnlikely = -9999

// told is a logarithm as JSON can hold it.
func told(l float32) float32 {
	if !(l > veryUnlikely) || math.IsInf(float64(l), 1) { // not a number: not greater
		return veryUnlikely
	}
	return l
}

// tokenLogprob is OpenAI's shape of one token in a chat.
type tokenLogprob struct {
	Token   string          `json:"token"`
	Logprob float32         `json:"logprob"`
	Bytes   []int           `json:"bytes"`
	Top     *[]tokenLogprob `json:"top_logprobs,omitempty"` // only a token that was chosen has it
}

func newTokenLogprob(l Logprob) tokenLogprob {
	out := tokenLogprob{Token: shown(l.Token), Logprob: told(l.Logprob), Bytes: make([]int, len(l.Token))}
	for i := range len(l.Token) {
		out.Bytes[i] = int(l.Token[i])
	}
	return out
}

func chatLogprobs(in []Logprob) any {
	if in == nil {
		return null
	}
	out := make([]tokenLogprob, len(in))
	for i, l := range in {
		top := make([]tokenLogprob, len(l.Top))
		for k, t := range l.Top {
			top[k] = newTokenLogprob(t)
		}
		out[i] = newTokenLogprob(l)
		out[i].Top = &top
	}
	return struct {
		Content []tokenLogprob `json:"content"`
		Refusal any            `json:"refusal"`
	}{out, nil}
}

// textLogprobs is OpenAI's older shape, of completions. offset is where the tokens begin, in characters
// since the beginning of the answer, and is moved to where they end. The chosen token is always among
// the top ones, so that there may be one more of them than was asked for. Of tokens that look the same
// the likeliest is told.
func textLogprobs(in []Logprob, offset *int) any {
	if in == nil {
		return null
	}
	n := len(in)
	out := struct {
		Tokens        []string             `json:"tokens"`
		TokenLogprobs []float32            `json:"token_logprobs"`
		TopLogprobs   []map[string]float32 `json:"top_logprobs"`
		TextOffset    []int                `json:"text_offset"`
	}{make([]string, n), make([]float32, n), make([]map[string]float32, n), make([]int, n)}
	for i, l := range in {
		top := map[string]float32{shown(l.Token): told(l.Logprob)}
		for _, t := range l.Top {
			text, lp := shown(t.Token), told(t.Logprob)
			if was, ok := top[text]; !ok || lp > was {
				top[text] = lp
			}
		}
		out.Tokens[i], out.TokenLogprobs[i] = shown(l.Token), told(l.Logprob)
		out.TopLogprobs[i], out.TextOffset[i] = top, *offset
		for k := range len(l.Token) {
			if utf8.RuneStart(l.Token[k]) { // a character in pieces counts once
				*offset++
			}
		}
	}
	return out
}

// shown is a token's text as JSON can hold it.
func shown(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

package completion

import (
	"math"
	"strings"
	"testing"
)

// bee is a 🐝 in two tokens.
var bee = []Logprob{
	{Token: "a\xf0\x9f", Logprob: -0.5, Top: []Logprob{{Token: "a\xf0\x9f", Logprob: -0.5}, {Token: "é", Logprob: -1.25}}},
	{Token: "\x90\x9d", Logprob: -2},
}

func TestChatLogprobs(t *testing.T) {
	want := `"logprobs":{"content":[` +
		`{"token":"a��","logprob":-0.5,"bytes":[97,240,159],"top_logprobs":[` +
		`{"token":"a��","logprob":-0.5,"bytes":[97,240,159]},{"token":"é","logprob":-1.25,"bytes":[195,169]}]},` +
		`{"token":"��","logprob":-2,"bytes":[144,157],"top_logprobs":[]}],"refusal":null}`
	is(t, "chunk", chatWriter().Piece(0, Piece{Content: "x", Logprobs: bee}), chunkHead+`{"index":0,"delta":{"content":"x"},`+want+`,"finish_reason":null}]}`)
	is(t, "whole", chatWriter().Whole([]Answer{{Piece{Content: "x", Logprobs: bee}, FinishStop}, {Piece{Content: "y"}, FinishStop}}, counts),
		chatHead+`{"index":0,"message":{"role":"assistant","content":"x","refusal":null},`+want+`,"finish_reason":"stop"},`+
			`{"index":1,"message":{"role":"assistant","content":"y","refusal":null},"logprobs":null,"finish_reason":"stop"}`+used)
	is(t, "no tokens", chatWriter().Piece(0, Piece{Logprobs: []Logprob{}}),
		chunkHead+`{"index":0,"delta":{"content":""},"logprobs":{"content":[],"refusal":null},"finish_reason":null}]}`)
	is(t, "a token of no bytes", chatWriter().Piece(0, Piece{Logprobs: []Logprob{{}}}),
		chunkHead+`{"index":0,"delta":{"content":""},"logprobs":{"content":[{"token":"","logprob":0,"bytes":[],"top_logprobs":[]}],"refusal":null},"finish_reason":null}]}`)
}

// TestTextLogprobs: four lists, one entry a token. The offsets go on from chunk to chunk, each choice
// its own, in characters: the bee in two tokens is one.
func TestTextLogprobs(t *testing.T) {
	object := func(index, text, lp string) string {
		return textHead + `{"index":` + index + `,"text":"` + text + `","logprobs":` + lp + `,"finish_reason":null}]}`
	}
	both := func(from, to string) string {
		return `{"tokens":["a��","��"],"token_logprobs":[-0.5,-2],"top_logprobs":[{"a��":-0.5,"é":-1.25},{"��":-2}],"text_offset":[` + from + `,` + to + `]}`
	}
	w := textWriter()
	is(t, "first", w.Piece(0, Piece{Content: "a🐝", Logprobs: bee}), object("0", "a🐝", both("0", "2")))
	is(t, "another choice", w.Piece(1, Piece{Content: "a🐝", Logprobs: bee}), object("1", "a🐝", both("0", "2")))
	is(t, "second", w.Piece(0, Piece{Content: "a🐝", Logprobs: bee}), object("0", "a🐝", both("2", "4")))
	is(t, "no tokens", w.Piece(0, Piece{Logprobs: []Logprob{}}), object("0", "", `{"tokens":[],"token_logprobs":[],"top_logprobs":[],"text_offset":[]}`))
	is(t, "whole", textWriter().Whole([]Answer{{Piece{Content: "x", Logprobs: bee}, FinishStop}, {Piece{Content: "y", Logprobs: bee}, FinishStop}}, counts),
		textHead+`{"index":0,"text":"x","logprobs":`+both("0", "2")+`,"finish_reason":"stop"},{"index":1,"text":"y","logprobs":`+both("0", "2")+`,"finish_reason":"stop"}`+used)
}

func TestTextLogprobsTop(t *testing.T) {
	lp := []Logprob{{Token: "x", Logprob: -3, Top: []Logprob{{Token: "\xf0", Logprob: -1}, {Token: "\xff", Logprob: -2}}}}
	got := string(textWriter().Piece(0, Piece{Logprobs: lp}))
	// The chosen token is beside the likeliest. Two that look the same have one key, the likelier's.
	if want := `"top_logprobs":[{"x":-3,"�":-1}]`; !strings.Contains(got, want) {
		t.Errorf("%s has no %s", got, want)
	}
}

func TestLogprobsThatJSONCannotHold(t *testing.T) {
	inf := float32(math.Inf(1))
	for name, tc := range map[string]struct {
		in   float32
		want string
	}{
		"no probability": {-inf, "-9999"}, "no number": {float32(math.NaN()), "-9999"}, "infinite": {inf, "-9999"},
		"less than the least": {-10000, "-9999"}, "the least": {-9999, "-9999"}, "more": {-9998.5, "-9998.5"}, "certain": {0, "0"},
	} {
		lp := []Logprob{{Token: "t", Logprob: tc.in, Top: []Logprob{{Token: "t", Logprob: tc.in}, {Token: "u", Logprob: tc.in}}}}
		one := func(token, bytes, more string) string {
			return `{"token":"` + token + `","logprob":` + tc.want + `,"bytes":[` + bytes + `]` + more + `}`
		}
		is(t, "chat, "+name, chatWriter().Piece(0, Piece{Content: "t", Logprobs: lp}), chunkHead+`{"index":0,"delta":{"content":"t"},"logprobs":{"content":[`+
			one("t", "116", `,"top_logprobs":[`+one("t", "116", "")+`,`+one("u", "117", "")+`]`)+`],"refusal":null},"finish_reason":null}]}`)
		is(t, "text, "+name, textWriter().Piece(0, Piece{Content: "t", Logprobs: lp}), textHead+`{"index":0,"text":"t","logprobs":{"tokens":["t"],"token_logprobs":[`+
			tc.want+`],"top_logprobs":[{"t":`+tc.want+`,"u":`+tc.want+`}],"text_offset":[0]},"finish_reason":null}]}`)
	}
}

package completion

import (
	"encoding/json"
	"testing"
	"time"
)

var (
	chatWriter = func() *Writer { return NewWriter(TaskChat, "id", "m", time.Unix(1700000000, 999)) }
	textWriter = func() *Writer { return NewWriter(TaskCompletion, "id", "m", time.Unix(1700000000, 999)) }
)

const (
	chunkHead = `{"id":"id","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[`
	chatHead  = `{"id":"id","object":"chat.completion","created":1700000000,"model":"m","choices":[`
	textHead  = `{"id":"id","object":"text_completion","created":1700000000,"model":"m","choices":[`
	used      = `],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1}}}`
)

var counts = Counts{Prompt: 3, Completion: 2, Cached: 1}

// is compares an object with OpenAI's shape of it, as its API reference shows it.
func is(t *testing.T, name string, got []byte, want string) {
	t.Helper()
	if string(got) != want || !json.Valid(got) {
		t.Errorf("%s:\n%s, want\n%s", name, got, want)
	}
}

// TestChatChunks: "The chat completion chunk object". Content, reasoning and calls are there only when
// they grew, logprobs only when asked for, finish_reason always.
func TestChatChunks(t *testing.T) {
	w := chatWriter()
	is(t, "begin", w.Begin(0), chunkHead+`{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`)
	is(t, "begin of another", w.Begin(1), chunkHead+`{"index":1,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`)
	for name, tc := range map[string]struct {
		piece Piece
		want  string
	}{
		"content":         {Piece{Content: "a\"b\n"}, `{"content":"a\"b\n"}`},
		"not text":        {Piece{Content: "a\xff"}, `{"content":"a\ufffd"}`},
		"nothing":         {Piece{}, `{"content":""}`},
		"reasoning":       {Piece{Reasoning: "hm"}, `{"reasoning_content":"hm"}`},
		"both":            {Piece{Reasoning: "hm", Content: "so"}, `{"content":"so","reasoning_content":"hm"}`},
		"a call begins":   {Piece{Calls: []CallPiece{{ID: "c1", Name: "look"}}}, `{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":""}}]}`},
		"a call goes on":  {Piece{Calls: []CallPiece{{Arguments: `{"x"`}}}, `{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}}]}`},
		"the second call": {Piece{Calls: []CallPiece{{Index: 1, Arguments: `1`}}}, `{"tool_calls":[{"index":1,"function":{"arguments":"1"}}]}`},
		"two calls": {Piece{Calls: []CallPiece{{Arguments: `}`}, {Index: 1, ID: "c2", Name: "go", Arguments: "{}"}}},
			`{"tool_calls":[{"index":0,"function":{"arguments":"}"}},{"index":1,"id":"c2","type":"function","function":{"name":"go","arguments":"{}"}}]}`},
		"content and a call": {Piece{Content: "x", Calls: []CallPiece{{Arguments: "1"}}}, `{"content":"x","tool_calls":[{"index":0,"function":{"arguments":"1"}}]}`},
	} {
		is(t, name, w.Piece(1, tc.piece), chunkHead+`{"index":1,"delta":`+tc.want+`,"finish_reason":null}]}`)
	}
	is(t, "finish", w.Finish(2, FinishTools), chunkHead+`{"index":2,"delta":{},"finish_reason":"tool_calls"}]}`)
	is(t, "usage", w.Usage(counts), chunkHead+used)
}

// TestTextChunks: "The completion object", which is the same streamed: logprobs is required, or null.
func TestTextChunks(t *testing.T) {
	w := textWriter()
	if b := w.Begin(0); b != nil {
		t.Errorf("a completion begins with %s", b)
	}
	is(t, "text", w.Piece(0, Piece{Content: "x"}), textHead+`{"index":0,"text":"x","logprobs":null,"finish_reason":null}]}`)
	is(t, "nothing", w.Piece(1, Piece{}), textHead+`{"index":1,"text":"","logprobs":null,"finish_reason":null}]}`)
	is(t, "finish", w.Finish(1, FinishLength), textHead+`{"index":1,"text":"","logprobs":null,"finish_reason":"length"}]}`)
	is(t, "usage", w.Usage(counts), textHead+used)
}

// TestWhole: "The chat completion object": logprobs, content and refusal are required, or null.
func TestWhole(t *testing.T) {
	const call = `{"id":"c1","type":"function","function":{"name":"look","arguments":"{}"}}`
	calls := []CallPiece{{ID: "c1", Name: "look", Arguments: "{}"}, {Index: 1, ID: "c2", Name: "go", Arguments: `{"x":1}`}}
	for name, tc := range map[string]struct {
		w       *Writer
		answers []Answer
		want    string
	}{
		"chat": {chatWriter(), []Answer{{Piece{Content: "x"}, FinishStop}},
			chatHead + `{"index":0,"message":{"role":"assistant","content":"x","refusal":null},"logprobs":null,"finish_reason":"stop"}`},
		"chat, nothing": {chatWriter(), []Answer{{Piece{}, FinishStop}},
			chatHead + `{"index":0,"message":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":"stop"}`},
		"chat, two": {chatWriter(), []Answer{{Piece{Content: "x", Reasoning: "hm"}, FinishStop}, {Piece{Content: "y"}, FinishLength}},
			chatHead + `{"index":0,"message":{"role":"assistant","content":"x","refusal":null,"reasoning_content":"hm"},"logprobs":null,"finish_reason":"stop"},` +
				`{"index":1,"message":{"role":"assistant","content":"y","refusal":null},"logprobs":null,"finish_reason":"length"}`},
		"chat, only calls": {chatWriter(), []Answer{{Piece{Calls: calls}, FinishTools}},
			chatHead + `{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[` + call +
				`,{"id":"c2","type":"function","function":{"name":"go","arguments":"{\"x\":1}"}}]},"logprobs":null,"finish_reason":"tool_calls"}`},
		"chat, text and a call": {chatWriter(), []Answer{{Piece{Content: "x", Calls: calls[:1]}, FinishTools}},
			chatHead + `{"index":0,"message":{"role":"assistant","content":"x","refusal":null,"tool_calls":[` + call + `]},"logprobs":null,"finish_reason":"tool_calls"}`},
		"text": {textWriter(), []Answer{{Piece{Content: "x"}, FinishLength}}, textHead + `{"index":0,"text":"x","logprobs":null,"finish_reason":"length"}`},
		"text, two": {textWriter(), []Answer{{Piece{Content: "x"}, FinishLength}, {Piece{Content: "y"}, FinishStop}},
			textHead + `{"index":0,"text":"x","logprobs":null,"finish_reason":"length"},{"index":1,"text":"y","logprobs":null,"finish_reason":"stop"}`},
	} {
		is(t, name, tc.w.Whole(tc.answers, counts), tc.want+used)
	}
	is(t, "no tokens", chatWriter().Usage(Counts{}),
		chunkHead+`],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"prompt_tokens_details":{"cached_tokens":0}}}`)
}

// TestObjectsAreTheReceivers: who keeps an object does not see it change.
func TestObjectsAreTheReceivers(t *testing.T) {
	w := textWriter()
	first := w.Piece(0, Piece{Content: "a"})
	before := string(first)
	w.Piece(0, Piece{Content: "b"})
	is(t, "the first object", first, before)
}

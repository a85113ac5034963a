package completion

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
)

// FuzzParse: whatever a client sends, it is an error that names what is wrong, or everything is in range
// and can cross into C.
func FuzzParse(f *testing.F) {
	for _, fields := range []string{
		`"stop":["a"],"temperature":1,"seed":1,"top_k":-1,"n":2,"max_tokens":3`,
		`"tools":[` + look + `],"tool_choice":{"type":"function","function":{"name":"look"}},"chat_template_kwargs":{"x":[1,"\ud800"]}`,
		`"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"object"}}},"logprobs":true,"top_logprobs":3`,
		`"grammar":"root ::= \"a\"","logit_bias":{"5":1,"3":-100},"dry_sequence_breakers":["\n"],"dry_multiplier":0.8,"mirostat":2`,
	} {
		f.Add(TaskChat, []byte(chat(fields)))
		f.Add(TaskCompletion, []byte(text(fields)))
	}
	f.Add(TaskCompletion, []byte(`{"prompt":[1,2,3],"logprobs":3}`))
	f.Add(TaskChat, []byte(`{"messages":[{"role":"user","content":[{"type":"text","text":"\ud800"}],"name":"x"},{"role":"assistant","reasoning_content":"h",
		"tool_calls":[{"id":"a","function":{"name":"look","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"b"}]}`))
	f.Add(TaskChat, []byte("{\"messages\":[{\"role\":\"user\",\"content\":\"a\xff\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"x\":\"\\u0000\"}}]}"))
	f.Fuzz(func(t *testing.T, task string, raw []byte) {
		p, err := Parse(task, raw)
		if err != nil {
			e := messages.AsError(err, "")
			if e.Code != messages.CodeBadRequest || !strings.Contains(e.Message, ":") || len(e.Message) > maxMessage {
				t.Fatalf("%s: %d bytes, %.300s", e.Code, len(e.Message), e.Message)
			}
			return
		}
		checkRanges(t, &p)
		for _, s := range kept(&p) {
			if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
				t.Fatalf("text that C cannot take: %q", s)
			}
		}
		checkKeptJSON(t, &p)
	})
}

func checkRanges(t *testing.T, p *Params) {
	for _, r := range ranged {
		if v := r.get(p.Sampling); !(v >= float64(float32(r.low)) && v <= r.high) {
			t.Fatalf("%s is %v", r.field, v)
		}
	}
	for i, b := range p.Sampling.LogitBias {
		if b.Token < 0 || !(b.Value >= -100 && b.Value <= 100) || i > 0 && b.Token <= p.Sampling.LogitBias[i-1].Token {
			t.Fatalf("biases %v", p.Sampling.LogitBias)
		}
	}
	for _, token := range p.PromptTokens {
		if token < 0 {
			t.Fatalf("the prompt has the token %d", token)
		}
	}
	set := 0
	for _, is := range []bool{p.Format.JSON, p.Format.Schema != nil, p.Format.Grammar != ""} {
		if is {
			set++
		}
	}
	for what, wrong := range map[string]bool{
		"max tokens": p.MaxTokens < Unlimited || p.MaxTokens > math.MaxInt32, "choices": p.Choices < 1 || p.Choices > MaxChoices,
		"top logprobs": p.TopLogprobs < 0 || p.TopLogprobs > MaxTopLogprobs || p.TopLogprobs > 0 && !p.Logprobs,
		"lists": len(p.Stops) > MaxStops || len(p.Tools) > MaxTools || len(p.Messages) > MaxMessages || len(p.Sampling.LogitBias) > MaxLogitBias ||
			len(p.Sampling.Dry.Breakers) > MaxStops,
		"format": set > 1 || set != 0 == p.Format.Free() || len(p.Format.Grammar) > MaxGrammar,
		"choice": p.ToolChoice.Mode == ToolsRequired && len(p.Tools) == 0 || p.ToolChoice.Name != "" && p.ToolChoice.Mode != ToolsRequired,
		"both":   len(p.Messages) > 0 && (p.Prompt != "" || p.PromptTokens != nil),
	} {
		if wrong {
			t.Fatalf("%s: %+v", what, p)
		}
	}
}

// kept is all text of p.
func kept(p *Params) []string {
	out := []string{p.Prompt, p.Format.Grammar, string(p.Format.Schema), p.ToolChoice.Mode, p.ToolChoice.Name}
	out = append(append(out, p.Stops...), p.Sampling.Dry.Breakers...)
	for _, m := range p.Messages {
		out = append(out, m.Role, m.Content, m.Reasoning, m.Name, m.ToolCallID)
		for _, c := range m.ToolCalls {
			out = append(out, c.ID, c.Name, c.Arguments)
		}
	}
	for _, tool := range p.Tools {
		out = append(out, tool.Name, string(tool.Raw), string(tool.Parameters))
	}
	return out
}

// checkKeptJSON reads the JSON that is kept as its users do: it is valid, not deep, and has no NUL.
func checkKeptJSON(t *testing.T, p *Params) {
	values := []any{p.TemplateArgs}
	raws := []json.RawMessage{p.Format.Schema}
	for _, tool := range p.Tools {
		raws = append(raws, tool.Raw, tool.Parameters)
	}
	for _, raw := range raws {
		var v map[string]any
		if raw == nil {
			continue
		}
		// A number may be larger than a float64: whoever needs it sees.
		if err := json.Unmarshal(raw, &v); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
			t.Fatalf("%s: %v", raw, err)
		}
		values = append(values, v)
	}
	for _, v := range values {
		if err := walk(v, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func walk(v any, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("deeper than %d", MaxDepth)
	}
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "\x00") || !utf8.ValidString(v) {
			return fmt.Errorf("text that C cannot take: %q", v)
		}
	case []any:
		for _, e := range v {
			if err := walk(e, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, e := range v {
			if err := walk(k, depth); err != nil {
				return err
			}
			if err := walk(e, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// FuzzWriter: whatever an engine says, the objects are JSON.
func FuzzWriter(f *testing.F) {
	f.Add("a\xff", "hm", "{\"x\"", uint32(0x7fc00000), uint8(3))
	f.Add("", "", "", uint32(0xff800000), uint8(0))
	f.Fuzz(func(t *testing.T, content, reasoning, arguments string, bits uint32, flags uint8) {
		task := TaskChat
		if flags&1 != 0 {
			task = TaskCompletion
		}
		p := Piece{Content: content, Reasoning: reasoning}
		if flags&2 != 0 {
			l := Logprob{Token: content, Logprob: math.Float32frombits(bits)}
			p.Logprobs = []Logprob{{Token: reasoning, Logprob: -l.Logprob, Top: []Logprob{l, l}}, l}
		}
		if flags&4 != 0 {
			p.Calls = []CallPiece{{ID: content, Name: reasoning, Arguments: arguments}}
		}
		w := NewWriter(task, content, reasoning, time.Unix(int64(bits), 0))
		for _, object := range [][]byte{w.Piece(0, p), w.Piece(0, p), w.Whole([]Answer{{p, content}, {p, FinishStop}}, Counts{}), w.Finish(1, reasoning), w.Usage(Counts{})} {
			if !json.Valid(object) {
				t.Fatalf("not JSON: %s", object)
			}
		}
	})
}

package llamacpp

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/engine"
)

// told is what a client is told of one token.
type told struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []byte  `json:"-"`
	Top     []told  `json:"top_logprobs"`
}

func (x *told) UnmarshalJSON(raw []byte) error {
	type plain told
	var bytes struct {
		Bytes []int `json:"bytes"`
	}
	if err := json.Unmarshal(raw, (*plain)(x)); err != nil {
		return err
	}
	err := json.Unmarshal(raw, &bytes)
	for _, b := range bytes.Bytes {
		x.Bytes = append(x.Bytes, byte(b))
	}
	return err
}

// called is a call of a function, or a piece of one.
type called struct {
	Index    *int   `json:"index"`
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type turnObject struct {
	Role      string   `json:"role"`
	Content   *string  `json:"content"`
	Reasoning string   `json:"reasoning_content"`
	Calls     []called `json:"tool_calls"`
}

type replyObject struct {
	Choices []struct {
		Index    int         `json:"index"`
		Delta    *turnObject `json:"delta"`
		Message  *turnObject `json:"message"`
		Text     string      `json:"text"`
		Finish   *string     `json:"finish_reason"`
		Logprobs *struct {
			Content       []told               `json:"content"`
			Tokens        []string             `json:"tokens"`
			TokenLogprobs []float64            `json:"token_logprobs"`
			TopLogprobs   []map[string]float64 `json:"top_logprobs"`
			TextOffset    []int                `json:"text_offset"`
		} `json:"logprobs"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Details    struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
}

// said is one choice of an answer, put together from its objects.
type said struct {
	text, thought, finish string
	null                  bool // the whole message's content was null
	calls                 []called
	deltas                []called // as streamed
	tokens                []told
	offsets               []int
	ends                  int // objects with a finish_reason
}

// reply is all that came of a request.
type reply struct {
	choices []*said
	usage   engine.Usage  // as Infer says
	counts  *engine.Usage // as the client is told
	raw     [][]byte
}

func (r *reply) add(t testing.TB, raw []byte) {
	r.raw = append(r.raw, raw)
	var o replyObject
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Errorf("%s: %v", raw, err)
	}
	if u := o.Usage; u != nil {
		r.counts = &engine.Usage{PromptTokens: u.Prompt, CompletionTokens: u.Completion, CachedTokens: u.Details.Cached}
	}
	for _, c := range o.Choices {
		for len(r.choices) <= c.Index {
			r.choices = append(r.choices, &said{})
		}
		s := r.choices[c.Index]
		if s.ends > 0 {
			t.Errorf("choice %d goes on after its end: %s", c.Index, raw)
		}
		s.text += c.Text
		for _, turn := range []*turnObject{c.Delta, c.Message} {
			if turn != nil {
				s.grow(t, turn, c.Delta != nil)
			}
		}
		if c.Finish != nil {
			s.finish = *c.Finish
			s.ends++
		}
		if lp := c.Logprobs; lp != nil {
			s.tokens = append(s.tokens, lp.Content...)
			s.offsets = append(s.offsets, lp.TextOffset...)
			for i, token := range lp.Tokens {
				x := told{Token: token, Logprob: lp.TokenLogprobs[i]}
				for k, v := range lp.TopLogprobs[i] {
					x.Top = append(x.Top, told{Token: k, Logprob: v})
				}
				slices.SortFunc(x.Top, func(a, b told) int { return strings.Compare(a.Token, b.Token) })
				s.tokens = append(s.tokens, x)
			}
		}
	}
}

func (s *said) grow(t testing.TB, turn *turnObject, delta bool) {
	if turn.Content != nil {
		s.text += *turn.Content
	}
	s.null = !delta && turn.Content == nil
	s.thought += turn.Reasoning
	for _, c := range turn.Calls {
		if !delta {
			s.calls = append(s.calls, c)
			continue
		}
		s.deltas = append(s.deltas, c)
		switch {
		case c.Index == nil:
			t.Error("a piece of a call has no index")
		case c.ID != "":
			if *c.Index != len(s.calls) {
				t.Errorf("call %d begins with index %d", len(s.calls), *c.Index)
			}
			s.calls = append(s.calls, c)
		case *c.Index != len(s.calls)-1 || c.Type != "" || c.Function.Name != "":
			t.Errorf("a piece %+v of call %d", c, len(s.calls)-1)
		default:
			s.calls[*c.Index].Function.Arguments += c.Function.Arguments
		}
	}
}

// try runs a request to its end, for two minutes at most.
func try(ctx context.Context, t testing.TB, e *Engine, req engine.Request) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var r reply
	u, err := e.Infer(ctx, req, func(raw []byte) error {
		r.add(t, raw)
		return nil
	})
	r.usage = u
	return r, err
}

// get is try for a request that must succeed.
func get(t testing.TB, e *Engine, req engine.Request) reply {
	t.Helper()
	r, err := try(t.Context(), t, e, req)
	if err != nil {
		t.Fatalf("%.300s: %v", req.Body, err)
	}
	for i, s := range r.choices {
		if s.ends != 1 {
			t.Errorf("choice %d ended %d times", i, s.ends)
		}
	}
	return r
}

// first is the first choice of a request that must succeed.
func first(t testing.TB, e *Engine, req engine.Request) *said {
	t.Helper()
	return get(t, e, req).choices[0]
}

// text makes a request for a completion; prompt is text or tokens.
func text(prompt any, fields map[string]any) engine.Request {
	body := map[string]any{"prompt": prompt, "temperature": 0}
	maps.Copy(body, fields)
	raw, _ := json.Marshal(body) // maps of plain values
	return engine.Request{ID: "r", Model: "m", Task: "completion", Body: raw}
}

func asStream(req engine.Request) engine.Request {
	req.Stream = true
	return req
}

// with is fields and more.
func with(fields map[string]any, more ...any) map[string]any {
	out := maps.Clone(fields)
	if out == nil {
		out = map[string]any{}
	}
	for i := 0; i < len(more); i += 2 {
		out[more[i].(string)] = more[i+1]
	}
	return out
}

// ids are the tokens of a choice that has logprobs, in a chat.
func (v *vocabulary) ids(t testing.TB, tokens []told) []llama.Token {
	t.Helper()
	out := make([]llama.Token, len(tokens))
	for i, x := range tokens {
		if out[i] = llama.Token(slices.Index(v.pieces, string(x.Bytes))); out[i] < 0 {
			t.Fatalf("%q is no token", x.Bytes)
		}
	}
	return out
}

// follow has the logits at each place of an answer to a prompt.
func (b *bare) follow(prompt, answer []llama.Token) [][]float32 {
	out := make([][]float32, 0, len(answer))
	next, used := prompt, 0
	b.clear()
	for _, t := range answer {
		b.decode(next, used)
		used += len(next)
		out, next = append(out, b.logits()), []llama.Token{t}
	}
	return out
}

func (b *bare) clear() {
	if err := llama.MemoryClear(b.memory, true); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bare) logits() []float32 {
	x, err := llama.GetLogitsIth(b.ctx, -1, len(b.s.vocab.pieces))
	if err != nil || x == nil {
		b.t.Fatal("no logits", err)
	}
	return slices.Clone(x)
}

// answer makes n tokens, each the one that choose makes of the logits and what is there so far.
func (b *bare) answer(prompt []llama.Token, n int, choose func(logits []float32, all []llama.Token) llama.Token) []llama.Token {
	all := slices.Clone(prompt)
	next, used := prompt, 0
	b.clear()
	for len(all) < len(prompt)+n {
		b.decode(next, used)
		used += len(next)
		t := choose(b.logits(), all)
		if b.s.vocab.ends[t] {
			break
		}
		all, next = append(all, t), []llama.Token{t}
	}
	return all[len(prompt):]
}

func argmax(x []float32) llama.Token {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return llama.Token(best)
}

// of is a text's tokens.
func (v *vocabulary) of(t testing.TB, text string, add, special bool) []llama.Token {
	t.Helper()
	tokens, err := v.tokens(t.Context(), text, add, special)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

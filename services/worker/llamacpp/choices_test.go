package llamacpp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// TestChoices: choice i of seed s is the answer to the request with seed s+i, with fewer slots than
// choices, too.
func TestChoices(t *testing.T) {
	for _, tc := range []struct{ n, slots int }{{3, 4}, {5, 2}, {2, 1}, {16, 3}} {
		e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: tc.slots, ContextLength: 512})
		fields := with(open, "max_tokens", 20, "stream_options", map[string]any{"include_usage": true})
		var alone []*said
		tokens := 0
		for i := range tc.n {
			r := get(t, e, chat("hive", with(fields, "seed", 40+i)))
			alone = append(alone, r.choices[0])
			tokens += r.usage.CompletionTokens
		}
		for _, stream := range []bool{false, true} {
			req := chat("hive", with(fields, "seed", 40, "n", tc.n))
			req.Stream = stream
			r := get(t, e, req)
			if len(r.choices) != tc.n || r.counts == nil || *r.counts != r.usage || r.usage.CompletionTokens != tokens || !stream && len(r.raw) != 1 {
				t.Errorf("n %d on %d slots, stream %t: %d choices in %d objects, usage %+v, told %+v, want %d tokens",
					tc.n, tc.slots, stream, len(r.choices), len(r.raw), r.usage, r.counts, tokens)
			}
			different := map[string]bool{}
			for i, c := range r.choices {
				different[c.text] = true
				if c.text != alone[i].text || c.finish != alone[i].finish {
					t.Errorf("n %d on %d slots, stream %t: choice %d is %q, alone %q", tc.n, tc.slots, stream, i, c.text, alone[i].text)
				}
			}
			if stream && tc.n <= tc.slots && !together(r) {
				t.Errorf("n %d on %d slots: one choice waits for another's end", tc.n, tc.slots)
			}
			if len(different) < tc.n {
				t.Errorf("only %d of %d choices differ", len(different), tc.n)
			}
			isFree(t, e)
		}
	}
}

// together says whether all choices of a stream had begun when the first ended.
func together(r reply) bool {
	begun := map[int]bool{}
	for _, raw := range r.raw {
		var o replyObject
		if json.Unmarshal(raw, &o) != nil || len(o.Choices) != 1 {
			return false
		}
		begun[o.Choices[0].Index] = true
		if o.Choices[0].Finish != nil {
			break
		}
	}
	return len(begun) == len(r.choices)
}

func isFree(t *testing.T, e *Engine) {
	t.Helper()
	if used := e.Stats().SlotsUsed; used != 0 {
		t.Errorf("%d slots are still used", used)
	}
}

// TestChoicesTogether: choices take the slots that are there; others get what is left, or are told
// that there is none, and every answer is as if alone.
func TestChoicesTogether(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 3, ContextLength: 512})
	ask := func(i int) engine.Request {
		return chat(fmt.Sprint("hive ", i), with(open, "max_tokens", 24, "seed", i, "n", 1+i%4))
	}
	all := func(r reply) (s string) {
		for _, c := range r.choices {
			s += c.text + "|"
		}
		return s
	}
	const requests = 12
	var alone [requests]string
	for i := range alone {
		alone[i] = all(get(t, e, ask(i)))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	busy, ended := 0, make(chan struct{}) // the latter is closed when a request ends
	for i := range requests {
		wg.Go(func() {
			for {
				mu.Lock()
				other := ended
				mu.Unlock()
				r, err := try(t.Context(), t, e, ask(i))
				mu.Lock()
				if full := messages.CodeOf(err) == messages.CodeBusy; full {
					busy++
					mu.Unlock()
					<-other
					continue
				}
				close(ended)
				ended = make(chan struct{})
				mu.Unlock()
				if err != nil || all(r) != alone[i] {
					t.Errorf("request %d: %q, want %q (%v)", i, all(r), alone[i], err)
				}
				return
			}
		})
	}
	wg.Wait()
	t.Logf("%d times busy", busy)
	isFree(t, e)
}

// TestChoicesCancelled: whenever the client leaves, all its slots are free when Infer returns.
func TestChoicesCancelled(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Endless), Slots: 3, ContextLength: 512})
	whole := len(get(t, e, asStream(chat("hello", map[string]any{"n": 5, "max_tokens": 8}))).raw)
	for leave := 1; leave < whole+6; leave += 6 {
		for _, gone := range []bool{false, true} { // by its context, or by an error of emit
			ctx, cancel := context.WithCancel(t.Context())
			n, broken := 0, errors.New("gone")
			_, err := e.Infer(ctx, asStream(chat("hello", map[string]any{"n": 5, "max_tokens": 8})), func([]byte) error {
				if n++; n != leave {
					return nil
				}
				if gone {
					return broken
				}
				cancel()
				return nil
			})
			cancel()
			if want := map[bool]error{true: broken, false: context.Canceled}[gone]; !errors.Is(err, want) && n >= leave && (gone || err != nil) {
				t.Errorf("left after %d of %d: %v, want %v", leave, n, err, want)
			}
			isFree(t, e)
		}
	}
	if r := get(t, e, chat("hello", map[string]any{"n": 3, "max_tokens": 4})); len(r.choices) != 3 {
		t.Errorf("%d choices", len(r.choices))
	}
}

// TestChoicesThatEndAlone: a choice's error ends the request; a stop string or max_tokens 0 only it.
func TestChoicesThatEndAlone(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 2, ContextLength: 256})
	r := get(t, e, asStream(chat("hive", with(open, "n", 4, "max_tokens", 0))))
	if len(r.choices) != 4 || r.usage.CompletionTokens != 0 || r.choices[3].finish != "length" {
		t.Errorf("no tokens: %+v, %d choices", r.usage, len(r.choices))
	}
	full := get(t, e, chat("hive", with(open, "n", 4, "seed", 3)))
	stop := full.choices[1].text[6:10]
	cut := get(t, e, chat("hive", with(open, "n", 4, "seed", 3, "stop", stop)))
	for i, c := range cut.choices {
		if stopped := c.finish == "stop" && c.text != full.choices[i].text; i == 1 && !stopped || i != 1 && !stopped && c.text != full.choices[i].text {
			t.Errorf("choice %d: %q by %q, without %q %q", i, c.text, c.finish, stop, full.choices[i].text)
		}
	}
	isFree(t, e)
}

// TestCachedTokens: the second turn of a chat does not read the first again; neither do temperature or
// stop strings matter. Usage says so, whole and streamed.
func TestCachedTokens(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 2, ContextLength: 1024})
	turns := func(all ...string) engine.Request {
		var list []any
		for i, text := range all {
			list = append(list, map[string]any{"role": []string{"user", "assistant"}[i%2], "content": text})
		}
		body, _ := json.Marshal(map[string]any{"messages": list, "temperature": 0, "max_tokens": 40, "stream_options": map[string]any{"include_usage": true}})
		return engine.Request{ID: "r", Model: "m", Task: "chat", Body: body}
	}
	question := "queen hive worker honey flower comb drone nectar wing sting swarm pollen"
	one := get(t, e, turns(question))
	if one.usage.CachedTokens != 0 || *one.counts != one.usage {
		t.Errorf("nothing was there before: %+v, told %+v", one.usage, one.counts)
	}
	for _, stream := range []bool{false, true} {
		req := turns(question, one.choices[0].text, "and then")
		req.Stream = stream
		two := get(t, e, req)
		if least := one.usage.PromptTokens; two.usage.CachedTokens < least || two.usage.CachedTokens >= two.usage.PromptTokens || *two.counts != two.usage {
			t.Errorf("second turn, stream %t: %+v, told %+v, want %d cached at least", stream, two.usage, two.counts, least)
		}
	}
	for name, fields := range map[string]map[string]any{
		"temperature": {"temperature": 1.5, "seed": 3}, "stop": {"stop": "x"}, "logprobs": {"logprobs": true},
		"n": {"n": 2}, "a grammar": {"response_format": map[string]any{"type": "json_object"}}, "nothing": {"max_tokens": 0},
	} {
		r := get(t, e, chat("a "+question, with(fields, "max_tokens", 3)))
		again := get(t, e, chat("a "+question, with(fields, "max_tokens", 3)))
		if again.usage.CachedTokens != r.usage.PromptTokens-1 || again.counts.CachedTokens != again.usage.CachedTokens {
			t.Errorf("%s: %+v, want all but one cached", name, again.usage)
		}
	}
}

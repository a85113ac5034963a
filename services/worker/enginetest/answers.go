package enginetest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
)

func (s *suite) usageChunk(t *testing.T) {
	e := s.loaded(t)
	req := s.request("chat", map[string]any{"stream_options": map[string]any{"include_usage": true}})
	req.Stream = true
	a := mustAsk(t, e, req)
	if a.Counts == nil || a.Counts.Completion != a.Usage.CompletionTokens || a.Counts.Prompt != a.Usage.PromptTokens {
		t.Errorf("counts %v, usage %+v", a.Counts, a.Usage)
	}
	var last Object
	if err := json.Unmarshal(a.Objects[len(a.Objects)-1], &last); err != nil || len(last.Choices) != 0 {
		t.Errorf("the usage chunk is not last, or has choices: %s", a.Objects[len(a.Objects)-1])
	}
}

func (s *suite) maxTokens(t *testing.T) {
	e := s.loaded(t)
	for _, n := range []int{1, 7, 40} {
		for _, field := range []string{"max_tokens", "max_completion_tokens"} {
			a := mustAsk(t, e, s.request("chat", map[string]any{field: n, "max_tokens": n}))
			if a.Usage.CompletionTokens != n || a.Finish != "length" {
				t.Errorf("%s %d: %d tokens, finished by %q", field, n, a.Usage.CompletionTokens, a.Finish)
			}
		}
	}
}

// stops cuts known answers at strings that begin and end anywhere, inside tokens and across them.
func (s *suite) stops(t *testing.T) {
	e := s.loaded(t)
	text := mustAsk(t, e, s.request("chat", map[string]any{"max_tokens": 30})).Text
	for at := 1; at+5 < len(text) && at < 40; at += 3 {
		stop := strings.ToValidUTF8(text[at:at+5], "")
		if stop == "" {
			continue
		}
		want := text[:strings.Index(text, stop)]
		req := s.request("chat", map[string]any{"stop": []string{"never in it", stop}, "max_tokens": 60})
		whole := mustAsk(t, e, req)
		req.Stream = true
		stream := mustAsk(t, e, req)
		if whole.Text != want || stream.Text != want || whole.Finish != "stop" || stream.Finish != "stop" {
			t.Errorf("stop %q: whole %q (%s), stream %q (%s), want %q", stop, whole.Text, whole.Finish, stream.Text, stream.Finish, want)
		}
		stream.Usage.CachedTokens = whole.Usage.CachedTokens // the second may find the first's prompt
		if whole.Usage != stream.Usage {
			t.Errorf("stop %q: usage %+v whole, %+v streamed", stop, whole.Usage, stream.Usage)
		}
	}
	a := mustAsk(t, e, s.request("chat", map[string]any{"stop": "never in it"}))
	if a.Finish != "length" || !strings.HasPrefix(text, a.Text) {
		t.Errorf("a stop string that never comes: %q (%s)", a.Text, a.Finish)
	}
}

func (s *suite) seeds(t *testing.T) {
	e := s.loaded(t)
	req := s.request("chat", map[string]any{"temperature": 1.5, "seed": 42, "top_k": 0, "top_p": 1})
	if a, b := mustAsk(t, e, req), mustAsk(t, e, req); a.Text != b.Text {
		t.Errorf("seed 42 twice:\n%q\n%q", a.Text, b.Text)
	}
}

func (s *suite) badBodies(t *testing.T) {
	e := s.loaded(t)
	for name, fields := range map[string]map[string]any{
		"temperature":       {"temperature": 2.5},
		"top_p":             {"top_p": -0.1},
		"max_tokens":        {"max_tokens": -1},
		"n":                 {"n": 0},
		"messages":          {"messages": []any{}},
		"messages[0].role":  {"messages": []any{map[string]any{"role": "queen", "content": "x"}}},
		"stop":              {"stop": 5},
		"messages[0].conte": {"messages": []any{map[string]any{"role": "user", "content": []any{map[string]any{"type": "image_url"}}}}},
	} {
		_, err := Ask(t.Context(), e, s.request("chat", fields))
		if messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %s that names it", name, err, messages.CodeBadRequest)
		}
	}
	for _, raw := range []string{"", "{", "[]", "null", `"x"`} {
		_, err := Ask(t.Context(), e, engine.Request{ID: "a", Model: "m", Task: "chat", Body: []byte(raw)})
		if messages.CodeOf(err) != messages.CodeBadRequest {
			t.Errorf("body %q: %v, want %s", raw, err, messages.CodeBadRequest)
		}
	}
	if _, err := Ask(t.Context(), e, s.request("dance", nil)); messages.CodeOf(err) != messages.CodeBadRequest {
		t.Errorf("an unknown task: %v", err)
	}
	if used := e.Stats().SlotsUsed; used != 0 {
		t.Errorf("%d slots are still used", used)
	}
}

func (s *suite) overflows(t *testing.T) {
	e := s.loaded(t)
	words := strings.Repeat("hive ", 2*e.Info().Models[0].ContextLength)
	for _, task := range []string{"chat", "completion"} {
		req := s.request(task, map[string]any{"prompt": words,
			"messages": []any{map[string]any{"role": "user", "content": words}}})
		if _, err := Ask(t.Context(), e, req); messages.CodeOf(err) != messages.CodeContextFull {
			t.Errorf("%s: %v, want %s", task, err, messages.CodeContextFull)
		}
	}
	if used := e.Stats().SlotsUsed; used != 0 {
		t.Errorf("%d slots are still used", used)
	}
	mustAsk(t, e, s.request("chat", nil))
}

func (s *suite) prefills(t *testing.T) {
	e := s.loaded(t)
	req := s.request("chat", nil)
	last, total := 0, 0
	req.Prefill = func(d, n int) {
		if d < last || d > n {
			t.Errorf("prefill %d of %d after %d", d, n, last)
		}
		last, total = d, n
	}
	a := mustAsk(t, e, req)
	if last != total || total != a.Usage.PromptTokens {
		t.Errorf("prefill ended at %d of %d, the prompt has %d", last, total, a.Usage.PromptTokens)
	}
}

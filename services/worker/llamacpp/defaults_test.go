package llamacpp

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
)

func parameters(t testing.TB, raw string) completion.Defaults {
	t.Helper()
	d, _, err := completion.ParseParameters([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const saysGo = "{{ range .Messages }}{{ .Role }} says: {{ .Content }}\n{{ end }}"

// A template of Ollama's writes the chats, with the default system message.
func TestGoTemplate(t *testing.T) {
	path := bee(t, bees.Random)
	fields := map[string]any{"max_tokens": 24}
	plain := loaded(t, Config{ModelPath: path})
	e := loaded(t, Config{ModelPath: path, GoTemplatePath: templateFile(t, saysGo), Defaults: completion.Defaults{System: "be"}})
	for name, tc := range map[string]struct {
		messages []any
		prompt   string
	}{
		"the default":  {[]any{turn("user", "hi")}, "system says: be\nuser says: hi\n"},
		"its own":      {[]any{turn("system", "see"), turn("user", "hi")}, "system says: see\nuser says: hi\n"},
		"no token":     {[]any{turn("user", "hi"), turn("user", "you")}, "system says: be\nuser says: hi\n\nyou\n"},
		"an assistant": {[]any{turn("user", "hi"), turn("assistant", "ho")}, "system says: be\nuser says: hi\nassistant says: ho\n"},
	} {
		got := get(t, e, chat("", with(fields, "messages", tc.messages)))
		want := get(t, plain, text(tc.prompt, fields))
		if got.choices[0].text != want.choices[0].text || got.usage.PromptTokens != want.usage.PromptTokens {
			t.Errorf("%s: %q of %d tokens, want %q of %d", name, got.choices[0].text, got.usage.PromptTokens, want.choices[0].text, want.usage.PromptTokens)
		}
	}
	// What a client writes is no control token here, either.
	forged := get(t, e, chat("<|im_end|>", fields)).usage.PromptTokens
	if real := get(t, plain, text("system says: be\nuser says: <|im_end|>\n", fields)).usage.PromptTokens; forged <= real {
		t.Errorf("a forged token: %d tokens, a real one: %d", forged, real)
	}
}

func turn(role, content string) map[string]any {
	return map[string]any{"role": role, "content": content}
}

func TestGoTemplateCan(t *testing.T) {
	path := bee(t, bees.Tiny)
	for source, want := range map[string]string{
		saysGo: "",
		`{{ range .Tools }}{{ . }}{{ end }}{{ range .Messages }}{{ .Content }}{{ range .ToolCalls }}<tool_call>{{ json .Function }}{{ end }}{{ end }}`: messages.CanTools,
		`{{ range .Tools }}{{ . }}{{ end }}{{ range .Messages }}{{ .Content }}{{ range .ToolCalls }}functools[{{ json .Function }}]{{ end }}{{ end }}`: "",
		`{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}{{ end }}`:                                        messages.CanReason,
		"{{ if .System }}{{ .System }}{{ end }}{{ .Prompt }}":                                                                                          "",
	} {
		got := loaded(t, Config{ModelPath: path, GoTemplatePath: templateFile(t, source)}).Info().Models[0].Capabilities
		for _, one := range []string{messages.CanTools, messages.CanReason} {
			if slices.Contains(got, one) != (one == want) {
				t.Errorf("%s: can %v, want %q", source, got, want)
			}
		}
	}
}

func TestGoTemplateRefused(t *testing.T) {
	path := bee(t, bees.Tiny)
	for source, says := range map[string]string{
		"{{ range }}":                        "chat template: template: :1: missing value for range",
		"{{ range 1000000000000 }}{{ end }}": "runs longer",
		"{{ range .Messages }}{{ end }}":     "does not write a user's message",
	} {
		e := unloaded(t, Config{ModelPath: path, GoTemplatePath: templateFile(t, source)})
		if err := e.Load(t.Context(), nil); messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", source, err, says)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := New(Config{LibDir: libDir(t), ModelPath: path, TemplatePath: "a", GoTemplatePath: "b"})
	if messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), "not both") {
		t.Errorf("two templates: %v", err)
	}
}

// TestDefaultParameters: an answer with defaults is the one that a request gets that says the same.
func TestDefaultParameters(t *testing.T) {
	path := bee(t, bees.Random)
	said := map[string]any{"temperature": 1.7, "seed": 5, "max_tokens": 9, "stop": []string{"e "}}
	plain := loaded(t, Config{ModelPath: path})
	e := loaded(t, Config{ModelPath: path, Defaults: parameters(t, `{"temperature":1.7,"seed":5,"num_predict":9,"stop":"e "}`)})
	nothing := map[string]any{"temperature": nil}
	for _, prompt := range []string{"hive", "queen", "honey"} {
		if got, want := first(t, e, chat(prompt, nothing)), first(t, plain, chat(prompt, said)); got.text != want.text || got.finish != want.finish {
			t.Errorf("%s: %q (%s), want %q (%s)", prompt, got.text, got.finish, want.text, want.finish)
		}
		own := map[string]any{"temperature": 0, "seed": 6, "max_tokens": 12, "stop": []string{}}
		if got, want := first(t, e, text(prompt, own)), first(t, plain, text(prompt, own)); got.text != want.text || got.finish != want.finish {
			t.Errorf("%s with its own: %q (%s), want %q (%s)", prompt, got.text, got.finish, want.text, want.finish)
		}
	}
}

// TestDefaultContext: num_ctx is the context where nobody says another, and no more than was trained.
func TestDefaultContext(t *testing.T) {
	path := bee(t, bees.Tiny)
	for params, want := range map[string]map[int]int{
		`{"num_ctx":1024}`:   {0: 1024, 512: 512},
		`{"num_ctx":131072}`: {0: 4096},
		`{"num_ctx":0}`:      {0: 4096},
	} {
		for asked, n := range want {
			e := loaded(t, Config{ModelPath: path, Slots: 1, ContextLength: asked, Defaults: parameters(t, params)})
			if got := e.Info().Models[0].ContextLength; got != n {
				t.Errorf("%s, asked for %d: %d, want %d", params, asked, got, n)
			}
		}
	}
}

// TestStopsAtSpecialToken: a stop that is a control token's text ends the answer, as in Ollama, although
// such a token writes nothing. Models of Ollama's stop at the next turn's first token.
func TestStopsAtSpecialToken(t *testing.T) {
	path := bee(t, bees.Endless)
	plain := loaded(t, Config{ModelPath: path})
	e := loaded(t, Config{ModelPath: path, Defaults: parameters(t, `{"stop":["<|im_start|>"]}`)})
	// The model says nothing but <|im_start|>.
	fields := map[string]any{"logit_bias": map[string]any{"1": 100}, "max_tokens": 5}
	stops := with(maps.Clone(fields), "stop", "<|im_start|>")
	for name, tc := range map[string]struct {
		e      *Engine
		fields map[string]any
		finish string
		tokens int
	}{
		"no stop":       {plain, fields, "length", 5},
		"asked for":     {plain, stops, "stop", 0},
		"the default":   {e, fields, "stop", 0},
		"another's own": {e, with(maps.Clone(fields), "stop", "x"), "length", 5},
	} {
		r := get(t, tc.e, chat("hi", tc.fields))
		if c := r.choices[0]; c.finish != tc.finish || c.text != "" || r.usage.CompletionTokens != tc.tokens {
			t.Errorf("%s: %q of %d tokens (%s), want %d tokens (%s)", name, c.text, r.usage.CompletionTokens, c.finish, tc.tokens, tc.finish)
		}
	}
}

package llamacpp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/chattemplate"
)

// templateFile writes one and returns its path.
func templateFile(t testing.TB, source string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chat.jinja")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A template of a file writes the chats instead of the model's own.
func TestTemplateOverride(t *testing.T) {
	path := bee(t, bees.Random)
	fields := map[string]any{"max_tokens": 24}
	own := loaded(t, Config{ModelPath: path})
	other := loaded(t, Config{ModelPath: path,
		TemplatePath: templateFile(t, "{% for m in messages %}{{ m.role }} says: {{ m.content }}\n{% endfor %}")})
	got := get(t, other, chat("hi", fields))
	if want := first(t, own, text("user says: hi\n", fields)).text; got.choices[0].text != want {
		t.Errorf("%q, want %q", got.choices[0].text, want)
	}
	if got.choices[0].text == first(t, own, chat("hi", fields)).text {
		t.Error("as with the model's own")
	}
	same := loaded(t, Config{ModelPath: path, TemplatePath: templateFile(t, own.session.vocab.template)})
	if a, b := first(t, same, chat("hi", fields)).text, first(t, own, chat("hi", fields)).text; a != b {
		t.Errorf("the model's own in a file: %q, want %q", a, b)
	}
}

// A template that takes tools gives the model what its own has not.
func TestTemplateOverrideCanMore(t *testing.T) {
	path := bee(t, bees.Random)
	can := func(cfg Config) string { return strings.Join(loaded(t, cfg).Info().Models[0].Capabilities, " ") }
	if got := can(Config{ModelPath: path}); strings.Contains(got, messages.CanTools) {
		t.Error(got)
	}
	if got := can(Config{ModelPath: path, TemplatePath: templateFile(t, chattemplate.Builtin("llama3"))}); !strings.Contains(got, messages.CanTools) {
		t.Error(got)
	}
}

func TestTemplateOverrideRefused(t *testing.T) {
	path := bee(t, bees.Tiny)
	for name, tc := range map[string]struct{ path, says string }{
		"no Jinja":  {templateFile(t, "{% for %}"), "template"},
		"missing":   {filepath.Join(t.TempDir(), "missing.jinja"), "missing.jinja"},
		"a folder":  {t.TempDir(), "is no file of at most"},
		"too large": {templateFile(t, strings.Repeat("x", chattemplate.MaxSource+1)), "is no file of at most"},
	} {
		t.Run(name, func(t *testing.T) {
			e := unloaded(t, Config{ModelPath: path, TemplatePath: tc.path})
			err := e.Load(t.Context(), nil)
			if messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v", err)
			} else {
				t.Log(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

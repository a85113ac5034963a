package llamacpp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

// adapter writes one for a model and returns its path.
func adapter(t testing.TB, model string, strength float32) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), model+"-lora.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := bees.WriteLoRA(f, model, strength); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// An adapter changes answers and vectors as strongly as its scale says, and several add up.
func TestLoRA(t *testing.T) {
	for _, model := range []string{bees.Random, bees.Qwen} {
		t.Run(model, func(t *testing.T) {
			path, one, half := bee(t, model), adapter(t, model, 1), adapter(t, model, 0.5)
			answers, vectors := map[string]string{}, map[string][]float32{}
			for name, l := range map[string][]LoRA{
				"none": nil, "scale 0": {{one, 0}}, "one": {{one, 1}}, "one again": {{one, 1}}, "half": {{one, 0.5}}, "weak": {{half, 1}}, "against": {{one, -1}},
				"two": {{half, 1}, {one, 0.5}}, "and none": {{half, 0}, {one, 1}},
			} {
				e := loaded(t, Config{ModelPath: path, LoRA: l, ContextLength: 512})
				answers[name] = first(t, e, chat("hi", map[string]any{"max_tokens": 40})).text
				v, _ := embedded(t, e, "The queen sends each job")
				vectors[name] = v[0]
			}
			for _, tc := range []struct {
				a, b string
				same bool
			}{
				{"none", "scale 0", true}, {"none", "one", false}, {"one", "one again", true}, {"one", "half", false}, {"none", "half", false},
				{"half", "weak", true}, {"two", "one", true}, {"and none", "one", true}, {"against", "one", false}, {"against", "none", false},
			} {
				if got := answers[tc.a] == answers[tc.b]; got != tc.same {
					t.Errorf("%s and %s: %q and %q", tc.a, tc.b, answers[tc.a], answers[tc.b])
				}
				if d := apart(vectors[tc.a], vectors[tc.b]); (d < 1e-5) != tc.same {
					t.Errorf("the vectors of %s and %s are %g apart", tc.a, tc.b, d)
				}
			}
		})
	}
}

// What is kept of a prompt was read with the adapter, too: an answer that uses it is as if alone.
func TestLoRAAndKeptPrompts(t *testing.T) {
	path, l := bee(t, bees.Random), []LoRA{{adapter(t, bees.Random, 1), 1}}
	prompt := strings.Repeat("The queen sends each job. ", 20)
	fields := map[string]any{"max_tokens": 40}
	alone := first(t, loaded(t, Config{ModelPath: path, LoRA: l}), text(prompt+"Who?", fields)).text
	for _, slots := range []int{1, 2} {
		e := loaded(t, Config{ModelPath: path, LoRA: l, Slots: slots})
		get(t, e, text(prompt+"What?", fields))
		if slots == 1 { // the prompt is saved, and comes back
			get(t, e, text(strings.Repeat("10% {x} ", 40), fields))
		}
		embedded(t, e, "a")
		r := get(t, e, text(prompt+"Who?", fields))
		if r.choices[0].text != alone || r.usage.CachedTokens < leastReuse {
			t.Errorf("%d slots, %d tokens kept: %q, alone %q", slots, r.usage.CachedTokens, r.choices[0].text, alone)
		}
	}
}

// A file that is no adapter of the model is refused, by name.
func TestBadAdapters(t *testing.T) {
	dir := t.TempDir()
	garbage, empty := filepath.Join(dir, "garbage.gguf"), filepath.Join(dir, "empty.gguf")
	for path, text := range map[string]string{garbage: "GGUFgarbage", empty: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole := adapter(t, bees.Random, 1)
	cut := filepath.Join(dir, "cut.gguf")
	b, err := os.ReadFile(whole)
	if err == nil {
		err = os.WriteFile(cut, b[:len(b)-100], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	random, embed := bee(t, bees.Random), bee(t, bees.Embed)
	for name, tc := range map[string]struct{ model, path string }{
		"another architecture": {random, adapter(t, bees.Qwen, 1)},
		"another shape":        {random, adapter(t, bees.Large, 1)},
		"of a chat model":      {embed, whole},
		"a model":              {random, random},
		"garbage":              {random, garbage},
		"empty":                {random, empty},
		"cut":                  {random, cut},
		"missing":              {random, filepath.Join(dir, "missing.gguf")},
		"a folder":             {random, dir},
	} {
		t.Run(name, func(t *testing.T) {
			e := unloaded(t, Config{ModelPath: tc.model, LoRA: []LoRA{{whole, 1}, {tc.path, 1}}})
			if tc.model == embed {
				e = unloaded(t, Config{ModelPath: tc.model, LoRA: []LoRA{{tc.path, 1}}})
			}
			err := e.Load(t.Context(), nil)
			if messages.CodeOf(err) != messages.CodeBadModel || !strings.Contains(err.Error(), tc.path) {
				t.Errorf("%v", err)
			} else {
				t.Log(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for name, l := range map[string]LoRA{"no path": {"", 1}, "NUL": {"a\x00", 1}, "no number": {"a", float32NaN()}, "too strong": {"a", 101}, "too weak": {"a", -101}} {
		if _, err := New(Config{LibDir: "lib", ModelPath: "m.gguf", LoRA: []LoRA{l}}); messages.CodeOf(err) != messages.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Config{LibDir: "lib", ModelPath: "m.gguf", Pooling: "median"}); messages.CodeOf(err) != messages.CodeBadRequest {
		t.Error(err)
	}
}

func float32NaN() float32 {
	zero := float32(0)
	return zero / zero
}

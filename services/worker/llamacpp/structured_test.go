package llamacpp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/grammar"
	"github.com/rbee-project/rbee/services/worker/grammar/grammartest"
)

// validator checks texts against a schema, formats included.
func validator(t testing.TB, schema string) func(text string) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("mem:///schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("mem:///schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		return compiled.Validate(v)
	}
}

func jsonSchema(schema string) map[string]any {
	return map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "x", "schema": json.RawMessage(schema)}}
}

// begins says whether text is the beginning of something that the grammar allows, but not all of it.
func begins(t testing.TB, gbnf, text string) bool {
	t.Helper()
	g, err := grammar.Parse(gbnf)
	if err != nil {
		t.Fatal(err)
	}
	s := g.NewState()
	return (text == "" || s.Accept(text) == nil) && !s.MustEnd()
}

// TestSchemas has models that know no JSON answer by schemas: RBEE_SCHEDULES answers by each, or one.
func TestSchemas(t *testing.T) {
	schemas := grammartest.Schemas()
	schemas["any object"] = ""
	stopped, cut := 0, 0
	for _, model := range []string{bees.Random, bees.Qwen} {
		e := loaded(t, Config{ModelPath: bee(t, model), Slots: 4, ContextLength: 2048})
		for name, schema := range schemas {
			format, gbnf, valid := map[string]any{"type": "json_object"}, grammar.JSONObject(), validator(t, `{"type":"object"}`)
			if schema != "" {
				var err error
				if gbnf, err = grammar.FromSchema([]byte(schema)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				format, valid = jsonSchema(schema), validator(t, schema)
			}
			for seed := range schedules(1) {
				r := get(t, e, chat("hive", map[string]any{"response_format": format, "temperature": 1, "seed": seed, "n": 4, "max_tokens": 400}))
				for _, c := range r.choices {
					switch err := valid(c.text); {
					case c.finish == "length":
						if cut++; !begins(t, gbnf, c.text) {
							t.Errorf("%s, %s, seed %d: %q was cut off and is no beginning", model, name, seed, c.text)
						}
					case c.finish != "stop" || err != nil:
						t.Errorf("%s, %s, seed %d: %q (%s): %v", model, name, seed, c.text, c.finish, err)
					default:
						stopped++
					}
				}
			}
		}
	}
	t.Logf("%d schemas, %d answers complete and valid, %d cut off at 400 tokens, 0 invalid unless said above", len(schemas), stopped, cut)
	if stopped < 3*cut {
		t.Errorf("only %d answers are complete, %d were cut off", stopped, cut)
	}
}

// TestGrammarWith puts a grammar together with everything else that chooses or ends.
func TestGrammarWith(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 2, ContextLength: 512})
	const schema = `{"type":"object","properties":{"a":{"type":"integer","minimum":10,"maximum":99},"b":{"enum":["red","blue"]}},"required":["a","b"],"additionalProperties":false}`
	valid := validator(t, schema)
	red := map[string]any{}
	for _, tok := range e.session.vocab.of(t, "red", false, false) {
		red[fmt.Sprint(tok)] = 100
	}
	for name, fields := range map[string]map[string]any{
		"greedy": {}, "top_k 1": {"top_k": 1, "temperature": 2}, "mirostat 1": {"mirostat": 1, "temperature": 1}, "mirostat 2": {"mirostat": 2, "temperature": 1},
		"choices": {"n": 3, "temperature": 2}, "all cuts": {"top_p": 0.01, "min_p": 0.9, "typical_p": 0.1, "top_n_sigma": 0.1, "temperature": 2},
		"a bias": {"logit_bias": red, "temperature": 1}, "against the grammar": {"logit_bias": map[string]any{"90": 100}, "temperature": 1},
		"penalties": {"repeat_penalty": 10, "frequency_penalty": 2, "dry_multiplier": 100}, "ignore_eos": {"ignore_eos": true}, "logprobs": {"logprobs": true},
		"a stop that never comes": {"stop": "green"},
	} {
		for seed := range 4 {
			for _, stream := range []bool{false, true} {
				req := chat("hive", with(fields, "seed", seed, "max_tokens", 200, "response_format", jsonSchema(schema)))
				req.Stream = stream
				for _, c := range get(t, e, req).choices {
					if err := valid(c.text); c.finish != "stop" || err != nil {
						t.Errorf("%s, seed %d, stream %t: %q (%s): %v", name, seed, stream, c.text, c.finish, err)
					}
				}
			}
		}
	}
	c := first(t, e, chat("hive", map[string]any{"stop": "b", "response_format": jsonSchema(schema)}))
	if c.finish != "stop" || !strings.HasPrefix(c.text, "{") || !strings.HasSuffix(c.text, `"`) || strings.Contains(c.text, "b") {
		t.Errorf("a stop string in it: %q (%s)", c.text, c.finish)
	}
}

// TestGrammarChoosesAsWithout: a grammar that allows all text changes nothing, whatever the samplers.
func TestGrammarChoosesAsWithout(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: 256})
	for name, fields := range map[string]map[string]any{
		"greedy": {"temperature": 0}, "default": {"temperature": 0.8}, "open": open, "mirostat": with(open, "mirostat", 2),
		"penalties": with(open, "repeat_penalty", 1.3, "presence_penalty", 1), "cuts": with(open, "top_p", 0.99, "typical_p", 0.99, "top_n_sigma", 2),
		"dry": {"dry_multiplier": 2, "logit_bias": map[string]any{"90": 20}},
	} {
		for seed := range 3 {
			req := with(fields, "seed", seed, "max_tokens", 40)
			free, bound := first(t, e, text("hive", req)), first(t, e, text("hive", with(req, "grammar", `root ::= [\x01-\U0010FFFF]*`)))
			if free.text != bound.text || free.finish != bound.finish {
				t.Errorf("%s, seed %d: %q (%s), free %q (%s)", name, seed, bound.text, bound.finish, free.text, free.finish)
			}
		}
	}
}

// TestGrammarDrawsFromTheAllowed: a draw under a grammar has the probabilities of what is allowed.
func TestGrammarDrawsFromTheAllowed(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: 256})
	b := newBare(t, e)
	v := e.session.vocab
	prompt := v.of(t, "hive worker", true, false)
	var may []llama.Token
	for tok, p := range v.pieces {
		if len(p) == 1 && p[0] >= 'a' && p[0] <= 'z' {
			may = append(may, llama.Token(tok))
		}
	}
	want := slices.MaxFunc(may, func(x, y llama.Token) int {
		l := b.follow(prompt, []llama.Token{0})[0]
		return map[bool]int{true: -1, false: 1}[l[x] < l[y]]
	})
	got := first(t, e, text("hive worker", map[string]any{"grammar": `root ::= [a-z]`}))
	if got.text != v.pieces[want] || got.finish != "stop" {
		t.Errorf("%q (%s), want %q: the likeliest of what is allowed", got.text, got.finish, v.pieces[want])
	}
	seen := map[string]bool{}
	for seed := range 40 {
		seen[first(t, e, text("hive worker", map[string]any{"grammar": `root ::= [a-z]`, "temperature": 2, "seed": seed})).text] = true
	}
	if len(seen) < 2 {
		t.Errorf("40 seeds: %v", seen)
	}
}

// TestGrammarEnds: where a text may end, and what the model would rather say is not allowed, it may
// still choose to end.
func TestGrammarEnds(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Endless), Slots: 1, ContextLength: 256})
	z := slices.Index(e.session.vocab.pieces, "Z")
	fields := map[string]any{"grammar": `root ::= [a-z]*`, "max_tokens": 9, "logit_bias": map[string]any{fmt.Sprint(z): 100, "2": 60}}
	if r := get(t, e, chat("hello", fields)); r.choices[0].text != "" || r.choices[0].finish != "stop" || r.usage.CompletionTokens != 0 {
		t.Errorf("%q (%s), %+v", r.choices[0].text, r.choices[0].finish, r.usage)
	}
	if c := first(t, e, chat("hello", with(fields, "grammar", `root ::= [a-z]+`))); len(c.text) != 1 || c.finish != "stop" {
		t.Errorf("%q (%s)", c.text, c.finish)
	}
}

// TestGrammarField has GBNF itself.
func TestGrammarField(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 2, ContextLength: 256})
	for gbnf, want := range map[string]string{
		`root ::= "yes"`: "yes", `root ::= "a" b "c"` + "\n" + `b ::= "é🐝"`: "aé🐝c", `root ::= "\n\t\""`: "\n\t\"", `root ::= "x"{7}`: "xxxxxxx",
		`root ::= "<|im_end|>!"`: "<|im_end|>!", // as text, not as the token
	} {
		for _, heat := range []float64{0, 2} {
			for _, req := range []map[string]any{{"grammar": gbnf, "temperature": heat}, {"grammar": gbnf, "temperature": heat, "max_tokens": len(want)}} {
				r := get(t, e, chat("hive", req))
				if c := r.choices[0]; c.text != want || c.finish != "stop" {
					t.Errorf("%s: %q (%s)", gbnf, c.text, c.finish)
				}
			}
		}
	}
	c := first(t, e, chat("hive", map[string]any{"grammar": `root ::= "xyz"*`, "max_tokens": 8, "ignore_eos": true}))
	if !strings.HasPrefix(strings.Repeat("xyz", 9), c.text) || c.text == "" {
		t.Errorf("%q (%s)", c.text, c.finish)
	}
}

// TestGrammarWithoutTokens: the vocabulary cannot write a Z. The request ends with an error, the engine
// goes on.
func TestGrammarWithoutTokens(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: 256})
	for i, p := range e.session.vocab.pieces { // before the loop or a request has looked
		if strings.Contains(p, "Z") {
			e.session.vocab.pieces[i] = ""
		}
	}
	for _, gbnf := range []string{`root ::= "Z"`, `root ::= "abc" "Z"`, `root ::= [Z]+ "b"`} {
		for _, heat := range []float64{0, 1} {
			_, err := try(t.Context(), t, e, chat("hive", map[string]any{"grammar": gbnf, "temperature": heat}))
			if messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), "grammar") {
				t.Errorf("%s: %v", gbnf, err)
			}
			isFree(t, e)
		}
	}
	if c := first(t, e, chat("hive", map[string]any{"grammar": `root ::= "Z" | "y"`})); c.text != "y" {
		t.Errorf("%q", c.text)
	}
}

// hostile are grammars and schemas that are broken, huge, or take very long if nobody counts.
func hostile() map[string]map[string]any {
	of := func(gbnf string) map[string]any { return map[string]any{"grammar": gbnf, "max_tokens": 60} }
	schema := func(s string) map[string]any {
		return map[string]any{"response_format": jsonSchema(s), "max_tokens": 60}
	}
	many := &bytes.Buffer{}
	for i := range 400 {
		fmt.Fprintf(many, `"p%d":{"type":"string"},`, i)
	}
	deep := strings.Repeat(`{"type":"array","items":`, 30) + `{}` + strings.Repeat(`}`, 30)
	return map[string]map[string]any{
		"left recursion":    of(`root ::= root "a" | "a"`),
		"no end":            of(`root ::= "a" root`),
		"no root":           of(`x ::= "a"`),
		"unknown rule":      of(`root ::= y`),
		"ambiguous":         of(`root ::= ("a" | "a" "a" | "aaa")* "b"`),
		"very ambiguous":    of("root ::= (x x x x)*\nx ::= (y | y y | y y y | [a-z])*\ny ::= ([a-z ] | [a-z ] [a-z ])?"),
		"nested repeats":    of(`root ::= ((([a-z ]*)*)*)*`),
		"counted":           of(`root ::= (([a-z ]{0,300}){0,300}){0,300}`),
		"counted deep":      of(`root ::= [a-z]{100000}`),
		"palindromes":       of(`root ::= "a" root "a" | "b" root "b" | [a-z ] root | ""`),
		"binary tree":       of("root ::= [ -~] root root | \"\""),
		"long literal":      of(`root ::= "` + strings.Repeat("a", 60<<10) + `"`),
		"alternatives":      of(`root ::= ` + strings.Repeat(`[a-z] [a-z ]* | `, 3000) + `"b"`),
		"binary":            of("root ::= \"\x01\xff\""),
		"properties":        schema(`{"type":"object","properties":{` + strings.TrimSuffix(many.String(), ",") + `}}`),
		"levels":            schema(deep),
		"recursion":         schema(`{"$ref":"#"}`),
		"endless object":    schema(`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`),
		"nothing":           schema(`{"allOf":[{"type":"string"},{"type":"number"}]}`),
		"a hostile pattern": schema(`{"type":"string","pattern":"^((a*)*)*$"}`),
		"a wide pattern":    schema(`{"type":"string","pattern":"^(.{0,999}){0,99}$"}`),
		"long enum":         schema(`{"enum":["` + strings.Repeat(`x","`, 5000) + `y"]}`),
		"any array":         schema(`{"type":"array","minItems":100000}`),
	}
}

// TestHostileGrammars: while strangers send the worst, a stream goes on.
func TestHostileGrammars(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 3, ContextLength: 4096})
	gaps, started, done := make(chan time.Duration), make(chan struct{}), make(chan struct{})
	go func() {
		var largest time.Duration
		for streams, more := 0, true; more; streams++ {
			last, n := time.Now(), 0
			u, err := e.Infer(t.Context(), asStream(chat("hive", map[string]any{"ignore_eos": true, "temperature": 1, "max_tokens": 500})), func([]byte) error {
				if n++; n > 1 {
					largest = max(largest, time.Since(last))
				}
				last = time.Now()
				return nil
			})
			if err != nil || u.CompletionTokens != 500 {
				t.Errorf("the other stream: %d tokens, %v", u.CompletionTokens, err)
			}
			if streams == 0 {
				close(started)
			}
			select {
			case <-done:
				more = false
			default:
			}
		}
		gaps <- largest
	}()
	<-started
	refused, answered := 0, 0
	for name, fields := range hostile() {
		for seed := range 2 {
			began := time.Now()
			r, err := try(t.Context(), t, e, chat("hive", with(fields, "temperature", 1, "seed", seed)))
			switch {
			case err == nil && r.choices[0].finish != "":
				answered++
			case messages.CodeOf(err) == messages.CodeBadRequest:
				refused++
			default:
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s took %s", name, took)
			}
		}
	}
	close(done)
	largest := <-gaps
	t.Logf("%d refused, %d answered; the longest gap in the other stream is %s", refused, answered, largest)
	if largest > time.Second || refused == 0 || answered == 0 {
		t.Errorf("%d refused, %d answered; the longest gap in the other stream is %s", refused, answered, largest)
	}
	isFree(t, e)
}

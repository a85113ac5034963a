package llamacpp

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rbee-project/rbee/gguf/bees"
)

// hostileTemplates must not load, or not render.
var hostileTemplates = map[string]string{
	"an endless loop":   "{% for a in range(1000000000) %}{% for b in range(1000000000) %}x{% endfor %}{% endfor %}",
	"a quiet loop":      "{% for a in range(1000000000) %}{% for b in range(1000000000) %}{% endfor %}{% endfor %}x",
	"1 GB":              "{% for a in range(1000000000) %}x{% endfor %}",
	"1 GB of text":      "{% set x = 'aaaaaaaa' %}" + strings.Repeat("{% set x = x + x %}", 27) + "{{ x }}",
	"times":             "{{ 'a' * 1000000000000 }}",
	"a list of 1 GB":    "{% set x = [1] * 1000000000000 %}{{ x }}",
	"a list that grows": "{% set ns = namespace(x=[1]) %}{% for a in range(1000000) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
	"a macro in itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
	"two macros":        "{% macro a() %}{{ b() }}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}",
	"raises":            "{{ raise_exception('no \xff' + '\n' * 100000) }}",
	"a broken tag":      "{% for m in messages %}{{ m.content",
	"a deep template":   strings.Repeat("{% if true %}", 50_000) + strings.Repeat("{% endif %}", 50_000),
	"deep brackets":     "{{ " + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000) + " }}",
	"a slow filter":     "{{ (range(30000000) | list | string | upper | replace('1','22') | length) }}",
	"a format":          "{{ '%1000000000d' % 5 }}{{ '%s' * 100 % 1 }}",
	"divides by 0":      "{{ 1 / 0 }}{{ 1 % 0 }}{{ 1 // 0 }}",
	"powers":            "{{ 9 ** 9 ** 9 ** 9 }}",
	"an include":        "{% include '/etc/passwd' %}{% import '/etc/passwd' as x %}",
	"the host":          "{{ ''.__class__.__mro__[1].__subclasses__() }}",
	"bad UTF-8":         "\xff\xfe{{ messages }}\x80",
	"a NUL":             "{{ messages }}\x00{{ messages }}",
	"an escaped NUL":    "a{{ '\\x00\\u0000\\0' }}b",
	"1 MB of braces":    strings.Repeat("{{", 1<<19),
	"more than 1 MB":    strings.Repeat("a", 1<<20+1),
	"nothing":           "",
	"only spaces":       "   \n",
	"no messages":       "{{ bos_token }}",
	"all special text":  "{{ '<|im_end|>' * 600 }}",
	"too many words":    "{{ 'word ' * 10000 }}",
}

// attackTemplates loads engines with hostile templates, and sends variables to a good one.
func attackTemplates(a *attack) {
	b := a.besiege(Config{ModelPath: bee(a.t, bees.Random)})
	defer b.relieve()
	model := bee(a.t, bees.Tiny)
	for _, name := range sortedNames(hostileTemplates) {
		path := filepath.Join(a.t.TempDir(), "chat.jinja")
		if err := os.WriteFile(path, []byte(hostileTemplates[name]), 0o600); err != nil {
			a.t.Fatal(err)
		}
		a.try("template: "+name, func() error {
			return a.visit(Config{ModelPath: model, TemplatePath: path, Slots: 1, ContextLength: besiegedContext})
		})
	}
	for name, path := range map[string]string{"a folder": a.t.TempDir(), "nowhere": "/none", "a device": "/dev/zero", "an odd name": "a\x00b"} {
		a.try("template: "+name, func() error { return a.visit(Config{ModelPath: model, TemplatePath: path}) })
	}
	b.sendVariables()
}

// visit loads an engine, asks for a few tokens, and closes it.
func (a *attack) visit(cfg Config) (err error) {
	cfg.LibDir, cfg.Threads = libDir(a.t), 1
	e, err := New(cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closed := e.Close(); err == nil {
			err = closed
		}
	}()
	if err := e.Load(a.t.Context(), nil); err != nil {
		return err
	}
	for _, req := range []map[string]any{{"max_tokens": 4}, {"max_tokens": 4, "temperature": 1, "grammar": `root ::= [a-zA-Z ]+`}} {
		if err := answer(a.t.Context(), e, chat("hello", req)); err != nil {
			return err
		}
	}
	return nil
}

// sendVariables sends chat_template_kwargs.
func (b *besieged) sendVariables() {
	values := map[string]string{
		"5": `5`, "a text": `"x"`, "a list": `[1]`, "null": `null`, "true": `true`, "empty": `{}`,
		"messages": `{"messages":[]}`, "messages of text": `{"messages":"x"}`, "tools": `{"tools":[{"type":"function"}]}`,
		"the template's names": `{"bos_token":"<|im_end|>","eos_token":5,"add_generation_prompt":"no","raise_exception":1,"range":2,"namespace":3,"loop":4,"strftime_now":5}`,
		"odd names":            `{"":1,"a b":2,"{{":3,"\ud800":4,"__class__":5,"self":6}`,
		"a NUL":                `{"a":"\u0000"}`,
		"huge numbers":         `{"a":1e308,"b":-1e308,"c":123456789012345678901234567890}`,
		"more than a float":    `{"a":1e999}`,
		"deep":                 `{"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`,
		"too deep":             `{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`,
		"1 MB":                 `{"a":"` + strings.Repeat("x", 1<<20) + `"}`,
		"17 MB":                `{"a":"` + strings.Repeat("x", 17<<20) + `"}`,
		"100,000 names":        `{` + strings.Repeat(`"a":1,`, 10) + many(100_000, func(i int) string { return fmt.Sprintf(`"n%d":%d`, i, i) }) + `}`,
		"the same name":        `{` + many(100_000, func(int) string { return `"a":[]` }) + `}`,
	}
	for _, name := range sortedNames(values) {
		req := chat("hive", map[string]any{"max_tokens": 4, "chat_template_kwargs": json.RawMessage(values[name])})
		b.send("chat_template_kwargs: "+name, req)
	}
}

// many is a list of parts with commas between.
func many(n int, what func(i int) string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = what(i)
	}
	return strings.Join(parts, ",")
}

package chattemplate

import "testing"

// FuzzRewrite: no source breaks the rewriter, and what it writes compiles or is refused.
func FuzzRewrite(f *testing.F) {
	for _, name := range []string{"chatml", "deepseek", "gemma", "llama3", "mistral", "phi"} {
		f.Add(Builtin(name))
	}
	f.Add("{% set a, b = 1 %}{% for (a, b, c) in x if y is not in [1] %}{%- raw -%}{% endraw %}{# #}{% endfor %}")
	f.Add("{% filter f(x) %}{% macro m(a=1) %}{% endmacro %}{% endfilter %}{{ 'a' '\\x41' is eq .b|c }}")
	f.Fuzz(func(t *testing.T, source string) { _, _ = compile(source, Options{}) })
}

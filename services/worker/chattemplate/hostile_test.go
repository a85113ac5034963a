package chattemplate

import (
	"strings"
	"testing"
	"time"
)

var hostile = map[string]struct{ code, want string }{
	"endless loop":     {`{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}`, "runs longer"},
	"large range":      {`{% for i in range(10**9) %}{% endfor %}`, "more than 100000 items"},
	"repeat":           {`{% set x = 'a' * 10000000000 %}`, "memory"},
	"doubling":         {`{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}`, "memory"},
	"doubling lists":   {`{% set ns = namespace(x=[1, 2, 3, 4]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}`, ""},
	"endless macro":    {`{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}`, "without end"},
	"list in itself":   {`{% set x = [] %}{% set y = x.append(x) %}{{ x }}`, "without end"},
	"JSON of itself":   {`{% set x = {} %}{% set y = x.update({'a': x}) %}{{ x|tojson }}`, "without end"},
	"growing loop":     {`{% set x = [1] %}{% for i in range(99999) %}{% set y = x.extend(x) %}{% endfor %}`, ""},
	"output":           {`{% for i in range(99999) %}{% for j in range(999) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}{% endfor %}`, ""},
	"printed output":   {`{% set x = 'a' * 100000 %}{% for i in range(99999) %}{{ x }}{% endfor %}`, "1 MiB"},
	"a bit too much":   {`{{ 'a' * 1048577 }}`, "1 MiB"},
	"replace":          {`{{ ('a' * 100000).replace('a', 'b' * 100000)|length }}`, "memory"},
	"wide indent":      {`{{ [1]|tojson(indent=9999999999) }}`, "indent"},
	"wide slice":       {`{{ [1][0:999999999999999999:2] }}`, ""},
	"library's panic":  {`{{ 'a' * -1 }}`, "Repeat"},
	"library's filter": {`{{ 'a'|indent(9999999999)|length }}`, "memory"},
}

// TestHostile: whatever a template does, it ends soon, and the renderer goes on.
func TestHostile(t *testing.T) {
	for name, tc := range hostile {
		t.Run(name, func(t *testing.T) {
			source := `{% if messages[0].content == 'bad' %}` + tc.code + `{% else %}<{{ messages[0].content }}>{% endif %}`
			r := open(t, source)
			r.wantGood(t)
			began := time.Now()
			_, err := r.Render(t.Context(), chat("bad"))
			if took := time.Since(began); took > soon {
				t.Errorf("took %s", took)
			}
			wantBad(t, err, "")
			r.wantGood(t)
			if tc.want != "" && !strings.Contains(err.Error(), tc.want) {
				r.limit = patience // the machine was too busy to come to the reason
				_, err = r.Render(t.Context(), chat("bad"))
				wantBad(t, err, tc.want)
			}
		})
	}
}

// TestHostileNew: a template that is hostile from the start, or does not compile.
func TestHostileNew(t *testing.T) {
	deep := func(n int, open, close string) string {
		return strings.Repeat(open, n) + "1" + strings.Repeat(close, n)
	}
	for name, tc := range map[string]struct{ source, want string }{
		"endless":         {hostile["endless loop"].code, "runs longer"},
		"memory":          {hostile["repeat"].code, "memory"},
		"deep brackets":   {"{{" + deep(100_000, "(", ")") + "}}", "deeper than 100"},
		"deep blocks":     {deep(40_000, "{% if 1 %}", "{% endif %}"), "deeper than 100"},
		"not not not":     {"{{" + strings.Repeat("not ", 250_000) + "1}}", ""},
		"- - -":           {"{{" + strings.Repeat("- ", 500_000) + "1}}", ""},
		"long or":         {"{{1" + strings.Repeat(" or 0", 200_000) + "}}", ""},
		"many loops":      {strings.Repeat("{% for a in x %}{% set b = 1 %}{% endfor %}", 23_000), ""},
		"10 MB":           {strings.Repeat("x", 10<<20), "at most 1048576"},
		"no end":          {"{% if 1 %}", "unclosed"},
		"unknown":         {"{% exec x %}", "exec"},
		"unknown sign":    {"{{ a ! b }}", `'!'`},
		"open string":     {"{{ 'a }}", "no end"},
		"not UTF-8":       {"{{ \xff }}", ""},
		"silent":          {"x", "does not write a user's message"},
		"refuses":         {`{{ raise_exception('not\ntoday') }}`, "not\ntoday"},
		"unknown filter":  {`{{ messages[0].content|nope }}`, "nope"},
		"unknown test":    {`{{ messages[0].content is nope }}`, "nope"},
		"unknown method":  {`{{ messages[0].content.nope() }}`, "nope"},
		"unpaired":        {`{% endfor %}`, "ends nothing"},
		"include":         {`{% include 'x' %}`, "include"},
		"attribute chain": {`{{ messages.__class__.__mro__[1] }}`, "does not write"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := New(t.Context(), tc.source, Options{})
			if took := time.Since(began); took > soon {
				t.Errorf("took %s", took)
			}
			wantBad(t, err, "")
			if tc.want != "" && err != nil && !strings.Contains(err.Error(), tc.want) {
				_, err = newRenderer(t.Context(), tc.source, Options{}, patience)
				wantBad(t, err, tc.want)
			}
		})
	}
}

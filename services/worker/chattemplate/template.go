package chattemplate

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ardanlabs/jinja"
)

// template is a [program] in Jinja.
type template struct {
	jinja *jinja.Template
	opts  Options
	tree  *tokenTree
	needs needs
}

// maxRange is the most items of a range, as in Jinja2's sandbox.
const maxRange = 100_000

// raised is what a template said by raise_exception.
type raised string

func (r raised) Error() string { return string(r) }

var errTooLong = errors.New("the template writes more than 1 MiB")

func compile(source string, o Options) (*template, error) {
	text, err := rewrite(source)
	if err != nil {
		return nil, err
	}
	t, err := jinja.Compile(text)
	if err != nil {
		return nil, err
	}
	return &template{jinja: t, opts: o, tree: newTokenTree(o.Control)}, nil
}

// render runs the template over in.
func (t *template) render(in Input) ([]Part, error) {
	vars, m, err := t.variables(in)
	if err != nil {
		return nil, err
	}
	s, err := t.run(vars)
	if err != nil {
		return nil, err
	}
	return m.parts(s), nil
}

// run turns a panic of the library into an error.
func (t *template) run(vars map[string]jinja.Value) (s string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	if s, err = t.jinja.RenderValues(vars); err == nil && len(s) > MaxOutput {
		err = errTooLong
	}
	return s, err
}

func (t *template) variables(in Input) (map[string]jinja.Value, *marks, error) {
	m := newMarks(t.tree)
	vars := map[string]jinja.Value{}
	for name, raw := range in.Extra {
		v, err := decode(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("chat_template_kwargs.%s: %w", name, err)
		}
		vars[name] = m.hideAll(v)
	}
	messages, err := conversation(in.Messages, t.needs)
	if err != nil {
		return nil, nil, err
	}
	vars["messages"] = m.hideAll(messages)
	vars["tools"] = jinja.None()
	if len(in.Tools) > 0 {
		tools := jinja.NewList(nil)
		for i, raw := range in.Tools {
			v, err := decode(raw)
			if err != nil {
				return nil, nil, fmt.Errorf("tools[%d]: %w", i, err)
			}
			tools.AsList().Append(m.hideAll(v))
		}
		vars["tools"] = tools
	}
	vars["documents"] = jinja.None()
	vars["add_generation_prompt"] = jinja.NewBool(in.AddGenerationPrompt)
	vars["bos_token"], vars["eos_token"] = str(t.opts.BOS), str(t.opts.EOS)
	for name, f := range globals(in.Date) {
		vars[name] = jinja.NewCallable(name, f)
	}
	return vars, m, nil
}

// globals are the functions that a rewritten template calls.
func globals(now time.Time) map[string]fn {
	written := 0
	g := map[string]fn{
		"raise_exception": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
			return jinja.None(), raised(text(arg(a, k, 0, "message")))
		},
		"strftime_now": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
			return str(strftime(now, text(arg(a, k, 0, "format")))), nil
		},
		"range": rangeOf,
		"dict": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
			d := jinja.NewDict()
			_, err := dictMethods["update"](append([]jinja.Value{d}, a...), k)
			return d, err
		},
		outFilter: func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
			s := text(a[0])
			if written += len(s); written > 8*MaxOutput { // macros write more than once
				return str(""), errTooLong
			}
			return str(s), nil
		},
	}
	for name, f := range filters {
		g[filterPrefix+name] = f
	}
	for name := range methods {
		g[methodPrefix+name] = method(name)
	}
	for name, f := range tests {
		for prefix, want := range map[string]bool{testPrefix: true, notPrefix: false} {
			g[prefix+name] = func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
				ok, err := f(a)
				return jinja.NewBool(ok == want), err
			}
		}
	}
	return g
}

func rangeOf(a []jinja.Value, _ kwargs) (jinja.Value, error) {
	start, step := 0.0, 1.0
	var stop float64
	switch len(a) {
	case 1:
		stop = number(a[0])
	case 2:
		start, stop = number(a[0]), number(a[1])
	case 3:
		start, stop, step = number(a[0]), number(a[1]), number(a[2])
	default:
		return jinja.None(), errors.New("range: takes one to three numbers")
	}
	if step == 0 || (stop-start)/step > maxRange {
		return jinja.None(), fmt.Errorf("range: has more than %d items", maxRange)
	}
	var out []jinja.Value
	for i := start; (stop-i)*step > 0; i += step {
		out = append(out, jinja.NewInt(int64(i)))
	}
	return jinja.NewList(out), nil
}

// joinText is the whole of parts.
func joinText(parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

func rawJSON(in ...string) []json.RawMessage {
	out := make([]json.RawMessage, len(in))
	for i, s := range in {
		out[i] = json.RawMessage(s)
	}
	return out
}

package chattemplate

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ardanlabs/jinja"
)

// needs is what a template wants of a conversation's form. Trial renders find it.
type needs struct {
	noSystem        bool // a system message is refused or left out
	listContent     bool // content must be a list of parts
	stringArguments bool // a call's arguments must be JSON text
	nullContent     bool // a call's message must have content null, else null is given as ""
}

// roles maps the roles that OpenAI knows to those that templates know.
var roles = map[string]string{"developer": "system", "function": "tool"}

// conversation decodes messages and brings them into the form that a template needs.
func conversation(raw []json.RawMessage, n needs) (jinja.Value, error) {
	out := make([]jinja.Value, len(raw))
	for i, r := range raw {
		v, err := decode(r)
		if err != nil {
			return v, fmt.Errorf("messages[%d]: %w", i, err)
		}
		if !v.IsDict() {
			return v, fmt.Errorf("messages[%d]: must be an object", i)
		}
		if err := shape(v.AsDict(), n); err != nil {
			return v, fmt.Errorf("messages[%d].%w", i, err)
		}
		out[i] = v
	}
	if n.noSystem {
		out = foldSystem(out)
	}
	if n.listContent {
		for _, m := range out {
			toParts(m.AsDict())
		}
	}
	return jinja.NewList(out), nil
}

func shape(m *jinja.Dict, n needs) error {
	role, _ := m.Get("role")
	if !role.IsString() {
		return fmt.Errorf("role: must be a string")
	}
	if known := roles[role.AsString()]; known != "" {
		m.Set("role", str(known))
	}
	switch content, _ := m.Get("content"); {
	case content.IsNone() || content.IsUndefined():
		m.Set("content", str("")) // a template would print None
	case content.IsList():
		text, err := joinParts(content.AsList().Items)
		if err != nil {
			return err
		}
		m.Set("content", str(text))
	case !content.IsString():
		return fmt.Errorf("content: must be a string or a list of parts")
	}
	return shapeCalls(m, n)
}

func joinParts(parts []jinja.Value) (string, error) {
	var b strings.Builder
	for i, p := range parts {
		if t := at(p, "type"); !t.IsString() || t.AsString() != "text" {
			return "", fmt.Errorf("content[%d]: a part of type %q is not supported, only \"text\"", i, text(t))
		}
		b.WriteString(text(at(p, "text")))
	}
	return b.String(), nil
}

// shapeCalls gives a call's arguments, which a client sends as JSON text, as the dict that most
// templates expect.
func shapeCalls(m *jinja.Dict, n needs) error {
	calls, _ := m.Get("tool_calls")
	if calls.IsNone() || calls.IsList() && calls.AsList().Len() == 0 {
		remove(m, "tool_calls") // templates ask whether it is defined
		return nil
	}
	if calls.IsUndefined() {
		return nil
	}
	if !calls.IsList() {
		return fmt.Errorf("tool_calls: must be a list")
	}
	for i, call := range calls.AsList().Items {
		f := at(call, "function")
		if !f.IsDict() {
			return fmt.Errorf("tool_calls[%d].function: must be an object", i)
		}
		shapeArguments(f.AsDict(), n)
	}
	if content, _ := m.Get("content"); n.nullContent && text(content) == "" {
		m.Set("content", jinja.None())
	}
	return nil
}

func shapeArguments(f *jinja.Dict, n needs) {
	args, _ := f.Get("arguments")
	switch {
	case n.stringArguments && args.IsDict():
		s, _ := toJSON([]jinja.Value{args}, nil)
		f.Set("arguments", s)
	case !n.stringArguments && args.IsString():
		if strings.TrimSpace(args.AsString()) == "" {
			f.Set("arguments", jinja.NewDict())
		} else if v, err := decode([]byte(args.AsString())); err == nil && v.IsDict() {
			f.Set("arguments", v)
		}
	}
}

// foldSystem puts the system's text before the next user's.
func foldSystem(in []jinja.Value) []jinja.Value {
	var out []jinja.Value
	pending := ""
	for _, v := range in {
		m := v.AsDict()
		switch text(at(v, "role")) {
		case "system":
			pending += text(at(v, "content")) + "\n\n"
			continue
		case "user":
			if pending != "" {
				m.Set("content", str(pending+text(at(v, "content"))))
				pending = ""
			}
		}
		out = append(out, v)
	}
	if pending != "" {
		m := jinja.NewDict()
		m.AsDict().Set("role", str("user"))
		m.AsDict().Set("content", str(strings.TrimSuffix(pending, "\n\n")))
		out = append(out, m)
	}
	return out
}

func toParts(m *jinja.Dict) {
	content, _ := m.Get("content")
	if !content.IsString() {
		return
	}
	part := jinja.NewDict()
	part.AsDict().Set("type", str("text"))
	part.AsDict().Set("text", content)
	m.Set("content", jinja.NewList([]jinja.Value{part}))
}

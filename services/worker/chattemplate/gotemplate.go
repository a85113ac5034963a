package chattemplate

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"time"
)

// goTemplate is a [program] in Go's text/template, with the names and rules of Ollama's
// template/template.go (v0.9.6, and the functions that came later).
type goTemplate struct {
	tree *tokenTree
	// whole writes complete turns. last, of a template without .Messages, ends at .Response.
	whole, last *texttemplate.Template
}

// compileGo reads a template of Ollama's. One that does not say where the answer goes has it at its end.
func compileGo(source string, o Options) (*goTemplate, error) {
	whole, err := texttemplate.New("").Option("missingkey=zero").Funcs(goFuncs(time.Time{})).Parse(source)
	if err != nil {
		return nil, err
	}
	t := &goTemplate{tree: newTokenTree(o.Control), whole: whole}
	names := goNames(whole)
	if names["messages"] {
		return t, nil
	}
	root := whole.Root
	if !names["response"] {
		root.Nodes = append(root.Nodes, &parse.ActionNode{NodeType: parse.NodeAction, Pipe: &parse.PipeNode{NodeType: parse.NodePipe,
			Cmds: []*parse.CommandNode{{NodeType: parse.NodeCommand, Args: []parse.Node{&parse.FieldNode{NodeType: parse.NodeField, Ident: []string{"Response"}}}}}}})
	}
	if t.last, err = whole.Clone(); err != nil {
		return nil, err
	}
	cut := whole.Copy()
	new(cutter).list(cut.Root)
	_, err = t.last.Option("missingkey=default").AddParseTree("", cut) // there .A.B is nothing, and no error
	return t, err
}

// goFuncs are Ollama's. The formats that dates may be given are ignored there, too.
func goFuncs(now time.Time) texttemplate.FuncMap {
	return texttemplate.FuncMap{
		"json":          jsonText,
		"currentDate":   func(...string) string { return now.Format(time.DateOnly) },
		"yesterdayDate": func(...string) string { return now.AddDate(0, 0, -1).Format(time.DateOnly) },
		"toTypeScriptType": func(v any) string {
			p, _ := v.(goProperty)
			return p.typeScript()
		},
	}
}

func (t *goTemplate) learn(source string) (Caps, error) {
	plain, err := tryOut(t, false, trialUser)
	if err == nil && !strings.Contains(plain, needleUser) {
		err = errNoUser
	}
	if err != nil {
		return Caps{}, err
	}
	c := capsOf(t, source, plain)
	c.ToolCalls = writesCall(trial(t, c.Tools, trialUser, trialCall, trialResult))
	return c, nil
}

func (t *goTemplate) render(in Input) ([]Part, error) {
	m := newMarks(t.tree)
	vars, err := goThinking(in, m)
	if err != nil {
		return nil, err
	}
	system, turns, err := goMessages(in.Messages, m)
	if err != nil {
		return nil, err
	}
	tools, err := goToolsOf(in.Tools, m)
	if err != nil {
		return nil, err
	}
	var out limited
	if t.last != nil {
		err = t.eachTurn(&out, vars, turns, in.Date)
	} else {
		maps.Copy(vars, map[string]any{"System": system, "Messages": turns, "Tools": tools, "Response": ""})
		err = run(&out, t.whole, vars, in.Date)
	}
	if err != nil {
		return nil, err
	}
	return m.parts(out.String()), nil
}

func run(out *limited, t *texttemplate.Template, vars map[string]any, now time.Time) error {
	return t.Funcs(goFuncs(now)).Execute(out, vars)
}

// eachTurn runs a template without .Messages over each turn, which is a system's text, a user's and an
// assistant's, as far as they are there.
func (t *goTemplate) eachTurn(out *limited, vars map[string]any, messages []*goMessage, now time.Time) error {
	turn := map[string]string{}
	write := func(with *texttemplate.Template) error {
		for _, name := range []string{"System", "Prompt", "Response"} {
			vars[name] = turn[name]
		}
		clear(turn)
		return run(out, with, vars, now)
	}
	for _, m := range messages {
		full := m.Role == "user" && turn["Response"] != "" ||
			m.Role == "system" && (turn["Prompt"] != "" || turn["Response"] != "")
		if full {
			if err := write(t.whole); err != nil {
				return err
			}
		}
		if name, ok := map[string]string{"system": "System", "user": "Prompt", "assistant": "Response"}[m.Role]; ok {
			turn[name] = m.Content
		}
	}
	return write(t.last)
}

// goNames are the fields and variables that a template names, in lower case: as Ollama looks for them,
// so that both see the same form of template.
func goNames(t *texttemplate.Template) map[string]bool {
	names := map[string]bool{}
	var walk func(...parse.Node)
	add := func(idents []string) {
		for _, s := range idents {
			names[strings.ToLower(s)] = true
		}
	}
	branch := func(b *parse.BranchNode) {
		walk(b.Pipe, b.List)
		if b.ElseList != nil {
			walk(b.ElseList)
		}
	}
	walk = func(nodes ...parse.Node) {
		for _, n := range nodes {
			switch n := n.(type) {
			case *parse.ListNode:
				walk(n.Nodes...)
			case *parse.IfNode:
				branch(&n.BranchNode)
			case *parse.RangeNode:
				branch(&n.BranchNode)
			case *parse.WithNode:
				branch(&n.BranchNode)
			case *parse.TemplateNode:
				if n.Pipe != nil {
					walk(n.Pipe)
				}
			case *parse.ActionNode:
				walk(n.Pipe)
			case *parse.PipeNode:
				for _, c := range n.Cmds {
					walk(c.Args...)
				}
			case *parse.ChainNode:
				walk(n.Node)
			case *parse.FieldNode:
				add(n.Ident)
			case *parse.VariableNode:
				add(n.Ident)
			}
		}
	}
	for _, one := range t.Templates() {
		if one.Tree != nil {
			walk(one.Root)
		}
	}
	return names
}

// cutter takes away what comes after the first .Response that is written: there the model goes on.
type cutter struct{ done bool }

func (c *cutter) list(l *parse.ListNode) {
	kept := l.Nodes[:0]
	for _, n := range l.Nodes {
		if c.done {
			break
		}
		if c.keep(n) {
			kept = append(kept, n)
		}
	}
	l.Nodes = slices.Clip(kept)
}

func (c *cutter) keep(n parse.Node) bool {
	switch n := n.(type) {
	case *parse.IfNode:
		c.branch(&n.BranchNode)
	case *parse.WithNode:
		c.branch(&n.BranchNode)
	case *parse.RangeNode:
		c.branch(&n.BranchNode)
	case *parse.ActionNode:
		return c.pipe(n.Pipe)
	}
	return true
}

func (c *cutter) branch(b *parse.BranchNode) {
	c.list(b.List)
	if b.ElseList != nil {
		c.list(b.ElseList)
	}
}

// pipe reports whether anything is left: what the cut takes a whole command from is nothing.
func (c *cutter) pipe(p *parse.PipeNode) bool {
	for _, command := range p.Cmds {
		kept := command.Args[:0]
		for _, a := range command.Args {
			if c.done {
				break
			}
			switch a := a.(type) {
			case *parse.FieldNode:
				c.done = slices.Contains(a.Ident, "Response")
			case *parse.PipeNode:
				if !c.pipe(a) {
					continue
				}
			}
			kept = append(kept, a)
		}
		if command.Args = kept; len(kept) == 0 {
			return false
		}
	}
	return len(p.Cmds) > 0
}

// limited keeps what a template writes, up to [MaxOutput].
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > MaxOutput {
		return 0, errTooLong
	}
	return l.Buffer.Write(b)
}

// WriteString has text/template's io.WriteString end in Write.
func (l *limited) WriteString(s string) (int, error) { return l.Write([]byte(s)) }

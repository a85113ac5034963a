package chattemplate

import (
	"fmt"
	"slices"
	"strings"
)

// rewriter turns a template into one that the library renders as Jinja2 would render the first: text
// is written as string literals, so that the library cuts no whitespace; filters, tests and methods
// become filters of ours (the library looks for an unknown filter among the variables); what a loop's
// body sets is reset at each turn; tuples are unpacked.
type rewriter struct {
	out    strings.Builder
	pieces []piece
	open   []string  // names of the open blocks
	filter [][]token // of the open filter blocks
	fresh  int       // number of the next name of ours
}

func rewrite(src string) (string, error) {
	pieces, err := lex(src)
	if err != nil {
		return "", err
	}
	r := &rewriter{pieces: pieces}
	for i, p := range pieces {
		switch p.kind {
		case pieceText:
			r.out.WriteString("{{" + quote(p.text) + "}}")
		case pieceOut:
			err = r.print(p.tokens)
		case pieceBlock:
			err = r.block(i, p)
		}
		if err != nil {
			return "", fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	return r.out.String(), nil
}

// quote writes a literal that the library reads back as s.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func (r *rewriter) print(tokens []token) error {
	if len(tokens) == 0 {
		return fmt.Errorf("an empty {{ }}")
	}
	r.out.WriteString("{{(" + expr(tokens) + ")|" + outFilter + "}}")
	return nil
}

func (r *rewriter) stmt(s string) { r.out.WriteString("{%" + s + "%}") }

func (r *rewriter) name() string {
	r.fresh++
	return fmt.Sprintf("rbee_v%d", r.fresh)
}

func (r *rewriter) block(i int, p piece) error {
	if len(p.tokens) == 0 || p.tokens[0].kind != tokenName {
		return fmt.Errorf("an empty {%% %%}")
	}
	word, rest := p.tokens[0].text, p.tokens[1:]
	if opened, isEnd := strings.CutPrefix(word, "end"); isEnd {
		return r.end(word, opened)
	}
	if opens(word, rest) {
		if r.open = append(r.open, word); len(r.open) > maxNesting {
			return fmt.Errorf("blocks lie deeper than %d", maxNesting)
		}
	}
	switch word {
	case "generation", "block": // marks for others
	case "if", "elif":
		r.stmt(word + " " + expr(rest))
	case "else", "break", "continue":
		r.stmt(word)
	case "set":
		return r.set(rest)
	case "for":
		return r.loop(i, rest)
	case "macro":
		return r.macro(rest)
	case "call":
		r.stmt("call" + " " + expr(rest))
	case "filter":
		name := r.name()
		r.filter = append(r.filter, append([]token{{tokenName, name}, {tokenOp, "|"}}, rest...))
		r.stmt("set " + name)
	default:
		return fmt.Errorf("{%% %s %%} is not known", word)
	}
	return nil
}

// opens says whether a block has an end of its own.
func opens(word string, rest []token) bool {
	switch word {
	case "if", "for", "macro", "call", "filter", "generation", "block":
		return true
	case "set":
		return split(rest, tokenOp, "=") == nil
	}
	return false
}

func (r *rewriter) end(word, opened string) error {
	if n := len(r.open); n == 0 || r.open[n-1] != opened {
		return fmt.Errorf("{%% %s %%} ends nothing", word)
	}
	r.open = r.open[:len(r.open)-1]
	switch opened {
	case "generation", "block":
	case "filter":
		r.stmt("endset")
		last := len(r.filter) - 1
		filtered := r.filter[last]
		r.filter = r.filter[:last]
		return r.print(filtered)
	default:
		r.stmt(word)
	}
	return nil
}

func (r *rewriter) set(rest []token) error {
	sides := split(rest, tokenOp, "=")
	if sides == nil {
		if len(rest) != 1 {
			return fmt.Errorf("a {%% set %%} block sets one plain name")
		}
		r.stmt("set " + rest[0].text)
		return nil
	}
	targets, value := list(sides[0]), "("+expr(sides[1])+")"
	if len(targets) == 1 {
		r.stmt("set " + joined(targets[0]) + "=" + value)
		return nil
	}
	whole := r.name()
	r.stmt("set " + whole + "=" + value)
	r.unpack(targets, whole)
	return nil
}

func (r *rewriter) unpack(targets [][]token, from string) {
	for i, t := range targets {
		r.stmt(fmt.Sprintf("set %s=%s[%d]", joined(t), from, i))
	}
}

func (r *rewriter) loop(i int, rest []token) error {
	sides := split(rest, tokenName, "in")
	if sides == nil {
		return fmt.Errorf("a {%% for %%} without in")
	}
	targets, iter, filter := list(sides[0]), sides[1], ""
	if n := len(iter); n > 0 && iter[n-1].is(tokenName, "recursive") {
		return fmt.Errorf("a recursive {%% for %%} is not known")
	}
	if cond := split(iter, tokenName, "if"); cond != nil {
		iter, filter = cond[0], " if ("+expr(cond[1])+")"
	}
	kept := map[string]string{} // name set in the body: name that keeps its outer value
	for _, name := range r.setIn(i) {
		if !slices.ContainsFunc(targets, func(t []token) bool { return joined(t) == name }) {
			kept[name] = r.name()
			r.stmt("set " + kept[name] + "=" + name)
		}
	}
	var names []string
	for _, t := range targets {
		names = append(names, joined(t))
	}
	whole := strings.Join(names, ",")
	if len(names) > 2 {
		whole = r.name()
	}
	r.stmt("for " + whole + " in (" + expr(iter) + ")" + filter)
	if len(names) > 2 {
		r.unpack(targets, whole)
	}
	for name, outer := range kept {
		r.stmt("set " + name + "=" + outer)
	}
	return nil
}

// setIn lists the names that the body of the loop at i sets in the loop's own scope.
func (r *rewriter) setIn(i int) (names []string) {
	depth := 0 // open loops and macros; those inside this loop are other scopes
	for _, p := range r.pieces[i:] {
		if p.kind != pieceBlock || len(p.tokens) == 0 {
			continue
		}
		switch p.tokens[0].text {
		case "for", "macro", "call":
			depth++
		case "endfor", "endmacro", "endcall":
			if depth--; depth == 0 {
				return names
			}
		case "set":
			if depth == 1 && len(p.tokens) > 1 {
				names = addTargets(names, p.tokens[1:])
			}
		}
	}
	return names
}

func addTargets(names []string, rest []token) []string {
	if sides := split(rest, tokenOp, "="); sides != nil {
		rest = sides[0]
	}
	for _, t := range list(rest) {
		if len(t) == 1 && !slices.Contains(names, t[0].text) {
			names = append(names, t[0].text)
		}
	}
	return names
}

// macro writes defaults as statements of the body: the library cuts a parameter list at every comma.
func (r *rewriter) macro(rest []token) error {
	n := len(rest)
	if n < 3 || !rest[1].is(tokenOp, "(") || !rest[n-1].is(tokenOp, ")") {
		return fmt.Errorf("a {%% macro %%} without parameters in brackets")
	}
	var names []string
	var defaults strings.Builder
	for _, param := range commas(rest[2 : n-1]) {
		if len(param) == 0 {
			continue
		}
		name := param[0].text
		names = append(names, name)
		if sides := split(param, tokenOp, "="); sides != nil {
			fmt.Fprintf(&defaults, "{%%if %s|%sundefined%%}{%%set %s=(%s)%%}{%%endif%%}", name, testPrefix, name, expr(sides[1]))
		}
	}
	r.stmt("macro " + rest[0].text + "(" + strings.Join(names, ",") + ")")
	r.out.WriteString(defaults.String())
	return nil
}

// split cuts tokens at the first one outside brackets that is asked for; nil if there is none.
func split(tokens []token, kind tokenKind, text string) [][]token {
	for i, depth := 0, 0; i < len(tokens); i++ {
		if depth += bracket(tokens[i]); depth == 0 && tokens[i].is(kind, text) {
			return [][]token{tokens[:i], tokens[i+1:]}
		}
	}
	return nil
}

func bracket(t token) int {
	switch {
	case t.kind != tokenOp:
		return 0
	case strings.Contains("([{", t.text):
		return 1
	case strings.Contains(")]}", t.text):
		return -1
	}
	return 0
}

// commas cuts tokens at the commas outside brackets.
func commas(tokens []token) [][]token {
	out, from, depth := [][]token(nil), 0, 0
	for i, t := range tokens {
		if depth += bracket(t); depth == 0 && t.is(tokenOp, ",") {
			out, from = append(out, tokens[from:i]), i+1
		}
	}
	return append(out, tokens[from:])
}

// list is commas of a target list, which may stand in brackets.
func list(tokens []token) [][]token {
	if n := len(tokens); n > 2 && tokens[0].is(tokenOp, "(") && tokens[n-1].is(tokenOp, ")") {
		tokens = tokens[1 : n-1]
	}
	return commas(tokens)
}

func joined(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.text)
	}
	return b.String()
}

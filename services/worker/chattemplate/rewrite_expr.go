package chattemplate

import "strings"

// What our filters are called in a rewritten template.
const (
	outFilter    = "rbee_out"
	filterPrefix = "rbee_f_"
	methodPrefix = "rbee_m_"
	testPrefix   = "rbee_is_"
	notPrefix    = "rbee_not_"
)

// expr writes an expression for the library: x|f and x.m() become filters of ours, and so does "x is
// test", which thereby binds as tightly as it does in Jinja2.
func expr(tokens []token) string {
	var b strings.Builder
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		next := func(n int) token {
			if i+n < len(tokens) {
				return tokens[i+n]
			}
			return token{kind: tokenOp}
		}
		switch {
		case t.kind == tokenString:
			b.WriteString(quote(t.text))
		case t.is(tokenOp, "|") && filters[next(1).text] != nil:
			b.WriteString("|" + filterPrefix + next(1).text)
			i++
		case t.is(tokenOp, ".") && methods[next(1).text] && next(2).is(tokenOp, "("):
			b.WriteString("|" + methodPrefix + next(1).text)
			i++
		case t.is(tokenName, "is") && next(1).kind == tokenName:
			i += test(&b, tokens[i+1:])
		default:
			b.WriteString(t.text)
		}
		b.WriteByte(' ')
	}
	return b.String()
}

// test writes what follows "is" and says how many tokens it took.
func test(b *strings.Builder, tokens []token) int {
	prefix, n := testPrefix, 0
	if tokens[0].text == "not" && len(tokens) > 1 {
		prefix, n = notPrefix, 1
	}
	b.WriteString("|" + prefix + tokens[n].text)
	n++
	if size := operand(tokens[n:]); size > 0 {
		b.WriteString("(" + expr(tokens[n:n+size]) + ")")
		n += size
	}
	return n
}

// notOperand are the words that end a test without an argument.
var notOperand = map[string]bool{"and": true, "or": true, "else": true, "is": true, "if": true, "in": true, "not": true}

// operand measures the argument of a test that stands without brackets of a call, 0 if there is none.
func operand(tokens []token) int {
	if len(tokens) == 0 || tokens[0].is(tokenOp, "(") {
		return 0
	}
	n := 1
	switch t := tokens[0]; {
	case t.kind == tokenName && notOperand[t.text]:
		return 0
	case t.kind == tokenOp && t.text != "[" && t.text != "{":
		return 0
	case t.kind == tokenOp:
		n = group(tokens)
	}
	for n < len(tokens) {
		switch {
		case tokens[n].is(tokenOp, "."):
			n = min(n+2, len(tokens))
		case tokens[n].is(tokenOp, "("), tokens[n].is(tokenOp, "["):
			n += group(tokens[n:])
		default:
			return n
		}
	}
	return n
}

// group measures what stands in brackets at the start of tokens.
func group(tokens []token) int {
	depth := 0
	for i, t := range tokens {
		if depth += bracket(t); depth == 0 {
			return i + 1
		}
	}
	return len(tokens)
}

package grammar

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
)

// Limits of a grammar. What is over one of them is an error of [Parse].
const (
	// MaxText is the size of a grammar in bytes.
	MaxText = 64 << 10
	// MaxRules is the number of rules.
	MaxRules = 4096
	// MaxRepeat is the largest m or n of {m,n}.
	MaxRepeat = 1000
	// MaxNesting is how deep groups may be nested.
	MaxNesting = 128
	// MaxElements is the number of literals' bytes, classes, and rule names after every repetition is
	// written out.
	MaxElements = 1 << 17
)

// element is one part of a rule as it is written.
type element struct {
	kind     elementKind
	at       int         // offset in the text, for errors
	text     string      // literal
	ranges   []runeRange // class
	kids     []*element  // sequence, choice; repeat has one
	min, max int         // repeat; max < 0 is no limit
	rule     int         // reference
}

type elementKind uint8

const (
	literal elementKind = iota
	class
	sequence
	choice
	repeat
	reference
)

type rule struct {
	name string
	at   int // where it is defined, or first named
	body *element
}

// parser reads llama.cpp's GBNF, see grammars/README.md in its repository.
type parser struct {
	src    string
	pos    int
	depth  int
	rules  []rule
	byName map[string]int
}

func (p *parser) fail(at int, format string, args ...any) error {
	line := 1 + strings.Count(p.src[:min(at, len(p.src))], "\n")
	args = append([]any{line}, args...)
	return messages.Errorf(messages.CodeBadRequest, "grammar.parse", "grammar: line %d: "+format, args...)
}

func (p *parser) parse() error {
	for p.space(true); p.pos < len(p.src); p.space(true) {
		if err := p.rule(); err != nil {
			return err
		}
	}
	for _, r := range p.rules {
		if r.body == nil {
			return p.fail(r.at, "rule %q is not defined", r.name)
		}
	}
	if i, ok := p.byName["root"]; !ok || p.rules[i].body == nil {
		return messages.Errorf(messages.CodeBadRequest, "grammar.parse", `grammar: line 1: there is no rule "root"`)
	}
	return nil
}

func (p *parser) rule() error {
	at := p.pos
	name := p.word()
	if name == "" {
		return p.fail(at, "a rule's name must come here, not %s", p.found())
	}
	p.space(false)
	if !strings.HasPrefix(p.src[p.pos:], "::=") {
		return p.fail(p.pos, "::= must follow the name %q, not %s", name, p.found())
	}
	p.pos += len("::=")
	p.space(true)
	i, err := p.ruleIndex(name, at)
	if err != nil {
		return err
	}
	if p.rules[i].body != nil {
		return p.fail(at, "rule %q is defined twice", name)
	}
	body, err := p.choice(false)
	if err != nil {
		return err
	}
	p.rules[i].body, p.rules[i].at = body, at
	if p.pos < len(p.src) && p.src[p.pos] != '\n' && p.src[p.pos] != '\r' {
		return p.fail(p.pos, "rule %q must end here, not go on with %s", name, p.found())
	}
	return nil
}

func (p *parser) ruleIndex(name string, at int) (int, error) {
	if i, ok := p.byName[name]; ok {
		return i, nil
	}
	if len(p.rules) == MaxRules {
		return 0, p.fail(at, "there are more than %d rules", MaxRules)
	}
	p.byName[name] = len(p.rules)
	p.rules = append(p.rules, rule{name: name, at: at})
	return len(p.rules) - 1, nil
}

// choice reads alternatives. Newlines do not end it inside a group.
func (p *parser) choice(nested bool) (*element, error) {
	e := &element{kind: choice, at: p.pos}
	for {
		s, err := p.sequence(nested)
		if err != nil {
			return nil, err
		}
		e.kids = append(e.kids, s)
		if p.peek() != '|' {
			break
		}
		p.pos++
		p.space(true)
	}
	if len(e.kids) == 1 {
		return e.kids[0], nil
	}
	return e, nil
}

func (p *parser) sequence(nested bool) (*element, error) {
	e := &element{kind: sequence, at: p.pos}
	for {
		item, err := p.item()
		if err != nil {
			return nil, err
		}
		if item == nil {
			break
		}
		p.space(nested)
		for strings.IndexByte("*+?{", p.peek()) >= 0 {
			if item, err = p.repeat(item, nested); err != nil {
				return nil, err
			}
			p.space(nested)
		}
		e.kids = append(e.kids, item)
	}
	if c := p.peek(); strings.IndexByte("*+?{", c) >= 0 {
		return nil, p.fail(p.pos, "there is nothing before %q to repeat", string(c))
	}
	if len(e.kids) == 1 {
		return e.kids[0], nil
	}
	return e, nil
}

// item reads one element, or returns nil where none begins.
func (p *parser) item() (*element, error) {
	at := p.pos
	switch c := p.peek(); {
	case c == '"':
		return p.literal()
	case c == '[':
		return p.class()
	case c == '.':
		p.pos++
		return &element{kind: class, at: at, ranges: anyRune}, nil
	case c == '(':
		return p.group()
	case c == '<' || c == '!':
		return nil, p.fail(at, "tokens (%q) are not supported", "<...>")
	case isWord(c):
		name := p.word()
		i, err := p.ruleIndex(name, at)
		return &element{kind: reference, at: at, rule: i}, err
	}
	return nil, nil
}

func (p *parser) group() (*element, error) {
	at := p.pos
	if p.depth++; p.depth > MaxNesting {
		return nil, p.fail(at, "groups are nested deeper than %d", MaxNesting)
	}
	p.pos++
	p.space(true)
	e, err := p.choice(true)
	if err != nil {
		return nil, err
	}
	if p.peek() != ')' {
		return nil, p.fail(p.pos, "the group must be closed by ) here, not go on with %s", p.found())
	}
	p.pos++
	p.depth--
	return e, nil
}

// repeat reads * + ? {m} {m,} or {m,n} behind item.
func (p *parser) repeat(item *element, nested bool) (*element, error) {
	e := &element{kind: repeat, at: p.pos, kids: []*element{item}, max: -1}
	if item.kind == repeat { // each operator after another is a level of nesting
		e.rule = item.rule + 1 // how many in a row
		if e.rule > MaxNesting {
			return nil, p.fail(p.pos, "more than %d repetitions follow each other", MaxNesting)
		}
	}
	op := p.src[p.pos]
	p.pos++
	switch op {
	case '+':
		e.min = 1
	case '?':
		e.max = 1
	case '{':
		return e, p.counts(e, nested)
	}
	return e, nil
}

func (p *parser) counts(e *element, nested bool) error {
	var err error
	p.space(nested)
	if e.min, err = p.count(); err != nil {
		return err
	}
	e.max = e.min
	p.space(nested)
	if p.peek() == ',' {
		p.pos++
		p.space(nested)
		e.max = -1
		if p.peek() != '}' {
			if e.max, err = p.count(); err != nil {
				return err
			}
		}
		p.space(nested)
	}
	if p.peek() != '}' {
		return p.fail(p.pos, "} must end the repetition, not %s", p.found())
	}
	p.pos++
	if e.max >= 0 && e.max < e.min {
		return p.fail(e.at, "{%d,%d} goes from more to less", e.min, e.max)
	}
	return nil
}

func (p *parser) count() (int, error) {
	from := p.pos
	for p.peek() >= '0' && p.peek() <= '9' {
		p.pos++
	}
	if from == p.pos {
		return 0, p.fail(from, "a number must come here, not %s", p.found())
	}
	n, err := strconv.Atoi(p.src[from:p.pos])
	if err != nil || n > MaxRepeat {
		return 0, p.fail(from, "a repetition may be %d at most", MaxRepeat)
	}
	return n, nil
}

// space skips blanks and comments, and newlines if they do not end anything here.
func (p *parser) space(newlines bool) {
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; {
		case c == ' ' || c == '\t':
			p.pos++
		case c == '#':
			for p.pos < len(p.src) && p.src[p.pos] != '\n' && p.src[p.pos] != '\r' {
				p.pos++
			}
		case newlines && (c == '\n' || c == '\r'):
			p.pos++
		default:
			return
		}
	}
}

func (p *parser) word() string {
	from := p.pos
	for p.pos < len(p.src) && isWord(p.src[p.pos]) {
		p.pos++
	}
	return p.src[from:p.pos]
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// peek is the next byte, or a newline at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return '\n'
}

// found names what stands at the position, for an error.
func (p *parser) found() string {
	if p.pos >= len(p.src) {
		return "the end"
	}
	r, _ := utf8.DecodeRuneInString(p.src[p.pos:])
	return strconv.QuoteRune(r)
}

package grammar

import (
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
)

// maxClosure is how many places in all the places of a grammar can lead to without a byte.
const maxClosure = 1 << 20

// Grammar is a parsed grammar. It does not change, so many goroutines may use it.
type Grammar struct {
	places  []place
	edges   []edge
	follow  []follow  // by place; only for places that text is entered at
	tops    []int32   // places that wait for a byte
	calls   []call    // rules called
	starts  []int32   // by rule: where it begins
	root    int       // rule
	classOf [256]byte // bytes that no place tells apart have the same class; classes rise with the byte
	classes int
}

// place is a position in a rule.
type place struct {
	op   op
	x, y int32
}

type op uint8

const (
	opBytes  op = iota // edges[x:y], disjoint
	opSplit            // go to x or y
	opCall             // rule x, then go to y
	opReturn           // the rule ends
)

// edge leads to a place by any byte from lo to hi.
type edge struct {
	lo, hi byte
	to     int32
}

// follow is what a place leads to without a byte: tops[tops:topsEnd], calls[calls:callsEnd], and the
// end of the rule.
type follow struct {
	tops, topsEnd, calls, callsEnd int32
	ends                           bool
}

// call enters a rule and goes on at ret. A ret below 0 is a tail call: nothing but the end follows.
type call struct{ rule, ret int32 }

// Parse reads a grammar in llama.cpp's GBNF. What is wrong with it, or over a limit, comes back as a
// [messages.Error] with [messages.CodeBadRequest] whose message begins with "grammar: line".
func Parse(gbnf string) (*Grammar, error) {
	p := &parser{src: gbnf, byName: map[string]int{}}
	if len(gbnf) > MaxText {
		p.src = ""
		return nil, p.fail(0, "the grammar is longer than %d bytes", MaxText)
	}
	if !utf8.ValidString(gbnf) {
		return nil, p.fail(validLength(gbnf), "the text is not UTF-8")
	}
	if err := p.parse(); err != nil {
		return nil, err
	}
	ends := settle(p.rules, productive)
	for i, r := range p.rules {
		if !ends[i] {
			return nil, p.fail(r.at, "rule %q can never end", r.name)
		}
	}
	c := compiler{parser: p, g: &Grammar{root: p.byName["root"]}}
	if err := c.compile(); err != nil {
		return nil, err
	}
	if err := c.closures(settle(p.rules, nullable)); err != nil {
		return nil, err
	}
	if i, way := leftRecursion(p.rules, c.first()); i >= 0 {
		return nil, p.fail(p.rules[i].at, "rule %q is left-recursive: %s", p.rules[i].name, way)
	}
	c.g.classify()
	return c.g, nil
}

func validLength(s string) int {
	for i, r := range s {
		if _, size := utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && size == 1 {
			return i
		}
	}
	return len(s)
}

// compiler writes rules out as places, from the end to the beginning: each element is told where to
// go on.
type compiler struct {
	*parser
	g    *Grammar
	work int // elements written
}

func (c *compiler) compile() error {
	for _, r := range c.rules {
		end := c.add(place{op: opReturn})
		start, err := c.element(r.body, end)
		if err != nil {
			return err
		}
		c.g.starts = append(c.g.starts, start)
	}
	return nil
}

func (c *compiler) add(p place) int32 {
	c.g.places = append(c.g.places, p)
	return int32(len(c.g.places) - 1)
}

// element returns where e begins if next follows it.
func (c *compiler) element(e *element, next int32) (int32, error) {
	if c.work++; c.work > MaxElements || len(c.g.places) > MaxElements || len(c.g.edges) > 2*MaxElements {
		return 0, c.fail(e.at, "the grammar is too large: more than %d elements with repetitions written out", MaxElements)
	}
	switch e.kind {
	case literal:
		for i := len(e.text) - 1; i >= 0; i-- {
			next = c.bytes([]edge{{e.text[i], e.text[i], next}})
		}
		return next, nil
	case class:
		return c.class(e.ranges, next), nil
	case reference:
		return c.add(place{opCall, int32(e.rule), next}), nil
	case sequence:
		var err error
		for i := len(e.kids) - 1; i >= 0 && err == nil; i-- {
			next, err = c.element(e.kids[i], next)
		}
		return next, err
	case choice:
		at, err := c.element(e.kids[len(e.kids)-1], next)
		for i := len(e.kids) - 2; i >= 0 && err == nil; i-- {
			var one int32
			one, err = c.element(e.kids[i], next)
			at = c.add(place{opSplit, one, at})
		}
		return at, err
	}
	return c.repeat(e, next)
}

func (c *compiler) repeat(e *element, next int32) (int32, error) {
	body, after, least := e.kids[0], next, e.min
	if e.max < 0 {
		loop := c.add(place{opSplit, 0, after})
		first, err := c.element(body, loop)
		if err != nil {
			return 0, err
		}
		c.g.places[loop].x = first
		next = loop
		if least > 0 { // the loop's own body is one of those that must be
			next, least = first, least-1
		}
	} else {
		for range e.max - e.min {
			one, err := c.element(body, next)
			if err != nil {
				return 0, err
			}
			next = c.add(place{opSplit, one, after})
		}
	}
	for range least {
		var err error
		if next, err = c.element(body, next); err != nil {
			return 0, err
		}
	}
	return next, nil
}

func (c *compiler) bytes(edges []edge) int32 {
	from := int32(len(c.g.edges))
	c.g.edges = append(c.g.edges, edges...)
	return c.add(place{opBytes, from, from + int32(len(edges))})
}

// classify gives bytes that every edge treats alike the same class.
func (g *Grammar) classify() {
	var begins [257]bool
	for _, e := range g.edges {
		begins[e.lo], begins[int(e.hi)+1] = true, true
	}
	n := 0
	for b := range 256 {
		if b > 0 && begins[b] {
			n++
		}
		g.classOf[b] = byte(n)
	}
	g.classes = n + 1
}

// errLarge is for a grammar whose places lead to too many others.
func errLarge() error {
	return messages.Errorf(messages.CodeBadRequest, "grammar.parse",
		"grammar: line 1: the grammar is too large: too many optional elements follow each other")
}

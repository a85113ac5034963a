package chattemplate

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// A mark stands for a control token's text that a client wrote, while the template runs:
// markOpen, the render's nonce, the mark's number, markClose. It has no letter, so that upper and
// lower do not harm it, and no client can guess its nonce.
const (
	markOpen  = "\U000F0000"
	markClose = "\U000F0001"
)

func isMark(r rune) bool { return r == 0xF0000 || r == 0xF0001 }

// tokenTree finds control tokens' texts, a byte a step.
type tokenTree struct {
	next map[byte]*tokenTree
	ends bool
}

func newTokenTree(tokens []string) *tokenTree {
	root := &tokenTree{}
	for _, t := range tokens {
		n := root
		for i := range len(t) {
			if n.next == nil {
				n.next = map[byte]*tokenTree{}
			}
			if n.next[t[i]] == nil {
				n.next[t[i]] = &tokenTree{}
			}
			n = n.next[t[i]]
		}
		n.ends = n != root
	}
	return root
}

// match is the length of the longest token at the start of s, 0 if there is none.
func (t *tokenTree) match(s string) (longest int) {
	for i := 0; ; i++ {
		if t.ends {
			longest = i
		}
		if i == len(s) || t.next == nil {
			return longest
		}
		if t = t.next[s[i]]; t == nil {
			return longest
		}
	}
}

// marks are those of one render.
type marks struct {
	tree   *tokenTree
	nonce  string
	hidden []string
}

func newMarks(tree *tokenTree) *marks {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return &marks{tree: tree, nonce: fmt.Sprintf("%020d", binary.BigEndian.Uint64(b[:]))}
}

// hide puts a mark for every run of control tokens in s.
func (m *marks) hide(s string) string {
	var b strings.Builder
	from := 0
	for i := 0; i < len(s); {
		end := i
		for n := m.tree.match(s[end:]); n > 0; n = m.tree.match(s[end:]) {
			end += n
		}
		if end == i {
			i++
			continue
		}
		b.WriteString(s[from:i] + markOpen + m.nonce + strconv.Itoa(len(m.hidden)) + markClose)
		m.hidden = append(m.hidden, s[i:end])
		i, from = end, end
	}
	if from == 0 {
		return s
	}
	return b.String() + s[from:]
}

// hideAll is hide for every string in v, keys too.
func (m *marks) hideAll(v jinja.Value) jinja.Value {
	switch {
	case v.IsString():
		return str(m.hide(v.AsString()))
	case v.IsList():
		list := v.AsList().Items
		for i := range list {
			list[i] = m.hideAll(list[i])
		}
	case v.IsDict():
		out := jinja.NewDict()
		for _, k := range v.AsDict().Keys {
			out.AsDict().Set(m.hide(k), m.hideAll(v.AsDict().Data[k]))
		}
		return out
	}
	return v
}

// parts cuts a rendered text at the marks. What a template left of a mark that it cut is text.
func (m *marks) parts(s string) []Part {
	var out []Part
	add := func(p Part) {
		if last := len(out) - 1; last >= 0 && out[last].Literal == p.Literal {
			out[last].Text += p.Text
		} else if p.Text != "" {
			out = append(out, p)
		}
	}
	for len(m.hidden) > 0 {
		before, after, found := strings.Cut(s, markOpen+m.nonce)
		if !found {
			break
		}
		number, rest, _ := strings.Cut(after, markClose)
		i, err := strconv.Atoi(number)
		add(Part{Text: before})
		if err != nil || i < 0 || i >= len(m.hidden) {
			s = after
			continue
		}
		add(Part{Text: m.hidden[i], Literal: true})
		s = rest
	}
	add(Part{Text: s})
	return out
}

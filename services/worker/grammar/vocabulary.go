package grammar

import (
	"cmp"
	"slices"
)

// Vocabulary is the text of a model's tokens as a tree of bytes, for [State.Mask]. It does not
// change, so many goroutines may use it. It takes about 20 bytes for each different beginning of a
// token.
type Vocabulary struct {
	nodes   []node // parents before children, and all below a node right behind it
	tokens  []int32
	deepest int
	size    int
}

type node struct {
	skip              int32 // the first node that is not below this one
	tokens, tokensEnd int32
	depth             int32 // bytes before char
	char              byte
}

// NewVocabulary returns the vocabulary whose token i has the text pieces[i]. A token without text is
// never allowed.
func NewVocabulary(pieces []string) *Vocabulary {
	v := &Vocabulary{size: len(pieces)}
	for i, p := range pieces {
		if p != "" {
			v.tokens = append(v.tokens, int32(i))
		}
	}
	slices.SortFunc(v.tokens, func(a, b int32) int { return cmp.Compare(pieces[a], pieces[b]) })
	var open []int32 // the nodes of the last piece
	last := ""
	for i, token := range v.tokens {
		p := pieces[token]
		same := commonPrefix(last, p)
		open = v.close(open, same)
		for d := same; d < len(p); d++ {
			open = append(open, int32(len(v.nodes)))
			v.nodes = append(v.nodes, node{char: p[d], depth: int32(d), tokens: int32(i), tokensEnd: int32(i)})
		}
		v.nodes[open[len(p)-1]].tokensEnd = int32(i + 1)
		v.deepest = max(v.deepest, len(p))
		last = p
	}
	v.close(open, 0)
	v.nodes = slices.Clip(v.nodes)
	return v
}

// close ends all open nodes but the first keep.
func (v *Vocabulary) close(open []int32, keep int) []int32 {
	for _, n := range open[keep:] {
		v.nodes[n].skip = int32(len(v.nodes))
	}
	return open[:keep]
}

// Len is the number of tokens, with those that have no text.
func (v *Vocabulary) Len() int { return v.size }

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

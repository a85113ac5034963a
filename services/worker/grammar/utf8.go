package grammar

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

type byteRange struct{ lo, hi byte }

// class writes out one character of ranges as places that read its UTF-8, and returns where it
// begins. Equal ends are shared.
func (c *compiler) class(ranges []runeRange, next int32) int32 {
	var all [][]byteRange
	for _, r := range ranges {
		all = appendUTF8(all, r.lo, r.hi)
	}
	return c.suffixes(all, next, map[string]int32{})
}

// suffixes writes out sequences that are sorted and whose first ranges are equal or disjoint.
func (c *compiler) suffixes(all [][]byteRange, next int32, shared map[string]int32) int32 {
	key := suffixKey(all)
	if at, ok := shared[key]; ok {
		return at
	}
	var edges []edge
	for i := 0; i < len(all); {
		head := all[i][0]
		var rest [][]byteRange
		j := i
		for ; j < len(all) && all[j][0] == head; j++ {
			if len(all[j]) > 1 {
				rest = append(rest, all[j][1:])
			}
		}
		to := next
		if len(rest) > 0 {
			to = c.suffixes(rest, next, shared)
		}
		edges = append(edges, edge{head.lo, head.hi, to})
		i = j
	}
	at := c.bytes(edges)
	shared[key] = at
	return at
}

func suffixKey(all [][]byteRange) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// appendUTF8 appends the sequences of byte ranges that are the UTF-8 of lo to hi, in order.
func appendUTF8(out [][]byteRange, lo, hi rune) [][]byteRange {
	if lo > hi {
		return out
	}
	if lo <= 0xDFFF && hi >= 0xD800 { // surrogates have no UTF-8
		out = appendUTF8(out, lo, 0xD7FF)
		return appendUTF8(out, max(lo, 0xE000), hi)
	}
	for _, last := range []rune{0x7F, 0x7FF, 0xFFFF} {
		if lo <= last && hi > last { // they differ in length
			return appendUTF8(appendUTF8(out, lo, last), last+1, hi)
		}
	}
	for i := 1; i < utf8.RuneLen(lo); i++ {
		low := rune(1)<<(6*i) - 1 // what the last i bytes say
		if lo&^low == hi&^low {
			continue
		}
		if lo&low != 0 {
			return appendUTF8(appendUTF8(out, lo, lo|low), (lo|low)+1, hi)
		}
		if hi&low != low {
			return appendUTF8(appendUTF8(out, lo, hi&^low-1), hi&^low, hi)
		}
	}
	a, b := utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi)
	seq := make([]byteRange, len(a))
	for i := range a {
		seq[i] = byteRange{a[i], b[i]}
	}
	return append(out, slices.Clip(seq))
}

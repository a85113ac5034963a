// Package gguftest makes model files that are broken or hostile, for tests of whatever reads them.
package gguftest

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
)

// change is one way to spoil a file.
type change struct {
	name string
	do   func(f *file)
}

// Hostile returns over 300 files, each good with one thing wrong: broken by an accident or made to
// harm. It gives each a name of its own and the function that makes it. Names and bytes depend on
// nothing but good and seed; seed moves only the random cases, whose names start with "flip" and "cut".
//
// good is a small model whose vocabulary is that of the bee models, such as bees.Tiny, bees.Qwen or
// bees.Embed, and must not change meanwhile; what is no such file is an error. Some cases are good for some models,
// and some others fit to be loaded: a reader may take them, it must not die.
func Hostile(good []byte, seed uint64) (iter.Seq2[string, func() []byte], error) {
	f, err := parse(good)
	if err != nil {
		return nil, fmt.Errorf("make hostile files: %w", err)
	}
	return func(yield func(string, func() []byte) bool) {
		for name, b := range accidents(good, len(f.header()), seed) {
			if !yield(name, b) {
				return
			}
		}
		for _, changes := range [][]change{
			countChanges(), f.tensorChanges(), f.consistentChanges(), weightChanges(), f.numberChanges(), tokenizerChanges(),
		} {
			for _, c := range changes {
				spoil := func() []byte {
					spoiled := f.clone()
					c.do(spoiled)
					return spoiled.bytes()
				}
				if !yield(c.name, spoil) {
					return
				}
			}
		}
	}, nil
}

// accidents are what a bad disk or a broken download leaves: flipped bits in the first header
// bytes, and files that end early.
func accidents(good []byte, header int, seed uint64) iter.Seq2[string, func() []byte] {
	const flips = 12
	random := rand.New(rand.NewPCG(seed, 0))
	return func(yield func(string, func() []byte) bool) {
		for i := range flips {
			at, bit := random.IntN(header), random.IntN(8)
			flip := func() []byte {
				b := bytes.Clone(good)
				b[at] ^= 1 << bit
				return b
			}
			if !yield(fmt.Sprintf("flip %d: a bit in the header", i), flip) {
				return
			}
		}
		for _, c := range []struct {
			name string
			size int
		}{
			{"empty", 0}, {"cut in the magic", 3}, {"cut in the counts", 20}, {"cut after the counts", 24},
			{"cut in a key", 24 + random.IntN(header/4)}, {"cut in the tokens", header/4 + random.IntN(header/4)},
			{"cut in the tensor list", header - 1 - random.IntN(100)}, {"cut after the header", header},
			{"cut in the weights", header + random.IntN(len(good)-header-64)},
			{"cut before the last weight", len(good) - 1 - alignment},
		} {
			if !yield(c.name, func() []byte { return bytes.Clone(good[:c.size]) }) {
				return
			}
		}
	}
}

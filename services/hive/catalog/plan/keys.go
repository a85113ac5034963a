package plan

import (
	"encoding/binary"
	"errors"
	"strings"
)

const (
	valueString = 8
	valueArray  = 9
	// maxKey is far over what a number, or one for each layer, takes.
	maxKey = 8 << 10
	// maxKeys is far over the keys that an architecture has.
	maxKeys = 512
)

// valueBytes is how long a value of GGUF's types is; 0 for strings and arrays, which say it themselves.
var valueBytes = [...]uint64{1, 1, 2, 2, 4, 4, 4, 1, valueString: 0, valueArray: 0, 10: 8, 11: 8, 12: 8}

var errBroken = errors.New("the header does not add up")

// cursor goes through bytes; after its first failure everything is 0.
type cursor struct {
	b      []byte
	at     uint64
	broken bool
}

// take is the next n bytes.
func (c *cursor) take(n uint64) []byte {
	if c.broken || n > uint64(len(c.b))-c.at {
		c.broken = true
		return nil
	}
	c.at += n
	return c.b[c.at-n : c.at]
}

func (c *cursor) u32() uint32 {
	b := c.take(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (c *cursor) u64() uint64 {
	b := c.take(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// value goes over one.
func (c *cursor) value(kind uint32) {
	switch {
	case kind == valueString:
		c.take(c.u64())
	case kind == valueArray:
		of, n := c.u32(), c.u64()
		switch {
		case of == valueString:
			for ; n > 0 && !c.broken; n-- {
				c.take(c.u64())
			}
		case of >= uint32(len(valueBytes)) || of == valueArray || n > uint64(len(c.b)):
			c.broken = true
		default:
			c.take(n * valueBytes[of])
		}
	case kind < uint32(len(valueBytes)):
		c.take(valueBytes[kind])
	default:
		c.broken = true
	}
}

// ownKeys are the architecture's own keys with their values, as they stand in a header that package gguf
// took: what says how a model computes. Long ones are left out, and so is all else, such as the vocabulary.
func ownKeys(header []byte, architecture string) (keys [][]byte, err error) {
	c := &cursor{b: header, at: 4 + 4 + 8}
	if len(header) < 24 {
		return nil, errBroken
	}
	for n := c.u64(); n > 0 && !c.broken; n-- {
		from := c.at
		name := string(c.take(c.u64()))
		c.value(c.u32())
		own := name == "general.architecture" || strings.HasPrefix(name, architecture+".")
		if own && !c.broken && c.at-from <= maxKey {
			keys = append(keys, header[from:c.at])
		}
	}
	if c.broken || len(keys) > maxKeys {
		return nil, errBroken
	}
	for i, k := range keys {
		keys[i] = append([]byte(nil), k...) // so that the header's bytes can go
	}
	return keys, nil
}

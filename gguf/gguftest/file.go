package gguftest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The format's numbers for the types of values that the cases use.
const (
	typeUint8   uint32 = 0
	typeUint32  uint32 = 4
	typeInt32   uint32 = 5
	typeFloat32 uint32 = 6
	typeBool    uint32 = 7
	typeString  uint32 = 8
	typeArray   uint32 = 9
)

// widths of a value by its type; 0 for text and arrays.
var widths = [...]int{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

const alignment = 32

// file is a GGUF file in parts. Nothing is checked when it is put together again.
type file struct {
	version uint32
	keys    []key
	tensors []tensor
	data    []byte
	// tensorCount and keyCount are what the file claims, where that is not the truth.
	tensorCount, keyCount *uint64
}

type key struct {
	name  string
	kind  uint32
	value []byte // as in the file
}

type tensor struct {
	name   string
	dims   []uint64
	kind   uint32
	offset uint64
}

// reader takes a trusted file apart.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.err = errors.New("the good file ends too early")
		return make([]byte, 8)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u32() uint32  { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64  { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) text() string { return string(r.take(r.u64())) }

// value returns the bytes of a value.
func (r *reader) value(kind uint32) []byte {
	start := r.rest
	switch {
	case kind == typeString:
		r.text()
	case kind == typeArray:
		element, n := r.u32(), r.u64()
		for ; n > 0 && r.err == nil; n-- {
			r.value(element)
		}
	case int(kind) < len(widths):
		r.take(uint64(widths[kind]))
	default:
		r.err = fmt.Errorf("the good file has value type %d", kind)
	}
	return start[:len(start)-len(r.rest)]
}

// parse takes a good file apart, whose alignment is the default.
func parse(good []byte) (*file, error) {
	r := &reader{rest: good}
	if string(r.take(4)) != "GGUF" {
		return nil, errors.New("the good file is no GGUF file")
	}
	f := &file{version: r.u32()}
	tensors, keys := r.u64(), r.u64()
	for ; keys > 0 && r.err == nil; keys-- {
		k := key{name: r.text(), kind: r.u32()}
		k.value = r.value(k.kind)
		f.keys = append(f.keys, k)
	}
	for ; tensors > 0 && r.err == nil; tensors-- {
		t := tensor{name: r.text()}
		for n := r.u32(); n > 0 && r.err == nil; n-- {
			t.dims = append(t.dims, r.u64())
		}
		t.kind, t.offset = r.u32(), r.u64()
		f.tensors = append(f.tensors, t)
	}
	if header := len(good) - len(r.rest); header%alignment != 0 {
		r.take(uint64(alignment - header%alignment))
	}
	f.data = r.rest
	return f, r.err
}

// clone returns a copy whose keys and tensors can be changed. The data is shared.
func (f *file) clone() *file {
	c := *f
	c.keys, c.tensors, c.data = slices.Clone(f.keys), slices.Clone(f.tensors), slices.Clip(f.data)
	for i := range c.tensors {
		c.tensors[i].dims = slices.Clone(c.tensors[i].dims)
	}
	for i := range c.keys {
		c.keys[i].value = slices.Clone(c.keys[i].value)
	}
	return &c
}

// header is the bytes before the padding and the data.
func (f *file) header() []byte {
	le := binary.LittleEndian
	tensors, keys := uint64(len(f.tensors)), uint64(len(f.keys))
	if f.tensorCount != nil {
		tensors = *f.tensorCount
	}
	if f.keyCount != nil {
		keys = *f.keyCount
	}
	b := le.AppendUint32([]byte("GGUF"), f.version)
	b = le.AppendUint64(le.AppendUint64(b, tensors), keys)
	for _, k := range f.keys {
		b = append(le.AppendUint32(appendText(b, k.name), k.kind), k.value...)
	}
	for _, t := range f.tensors {
		b = le.AppendUint32(appendText(b, t.name), uint32(len(t.dims)))
		for _, n := range t.dims {
			b = le.AppendUint64(b, n)
		}
		b = le.AppendUint64(le.AppendUint32(b, t.kind), t.offset)
	}
	return b
}

func (f *file) bytes() []byte {
	b := f.header()
	for len(b)%alignment != 0 {
		b = append(b, 0)
	}
	return append(slices.Grow(b, len(f.data)), f.data...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

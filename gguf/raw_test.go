package gguf

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// raw builds the bytes of a file by hand, with no checks.
type raw []byte

func (r raw) u32(v uint32) raw    { return binary.LittleEndian.AppendUint32(r, v) }
func (r raw) u64(v uint64) raw    { return binary.LittleEndian.AppendUint64(r, v) }
func (r raw) text(s string) raw   { return append(r.u64(uint64(len(s))), s...) }
func (r raw) bytes(b ...byte) raw { return append(r, b...) }
func (r raw) zeros(n int) raw     { return append(r, make([]byte, n)...) }

// key appends a key's name and its value's type.
func (r raw) key(name string, t valueType) raw { return r.text(name).u32(uint32(t)) }

// start is the first 24 bytes of a file.
func start(version uint32, tensors, keys uint64) raw {
	return raw(magic).u32(version).u64(tensors).u64(keys)
}

// tensor appends an entry of the list of tensors.
func (r raw) tensor(name string, t TensorType, offset uint64, dims ...uint64) raw {
	r = r.text(name).u32(uint32(len(dims)))
	for _, n := range dims {
		r = r.u64(n)
	}
	return r.u32(uint32(t)).u64(offset)
}

func read(b []byte) (*Header, error) { return ReadHeader(bytes.NewReader(b), int64(len(b))) }

// written returns the file that w writes.
func written(t testing.TB, w *Writer) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := w.WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) {
		t.Fatalf("WriteTo says %d bytes, wrote %d", n, b.Len())
	}
	return b.Bytes()
}

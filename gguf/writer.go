package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Writer collects keys and tensors and then writes them as one GGUF file of version 3. Weights
// are made while they are written, so a large file needs little memory. The zero value is an
// empty file, ready for use.
type Writer struct {
	keys    []keyValue
	tensors []source
}

type keyValue struct {
	key   string
	value any
}

type source struct {
	Tensor
	data func(io.Writer) error
}

// Set adds a key. The value is one of the [Scalar] types, or a slice of string, int32, uint32 or
// float32; another type is an error of [Writer.WriteTo]. Keys are written in the order of the
// calls; the same key twice is an error of WriteTo.
func (w *Writer) Set(key string, value any) {
	w.keys = append(w.keys, keyValue{key, value})
}

// Change is [Writer.Set] for a key that may have a value already, which it replaces.
func (w *Writer) Change(key string, value any) {
	for i := range w.keys {
		if w.keys[i].key == key {
			w.keys[i].value = value
			return
		}
	}
	w.Set(key, value)
}

// Add adds a tensor whose weights data writes, little-endian; t.Offset is ignored. If data writes
// another number of bytes than t needs, that is an error of [Writer.WriteTo].
func (w *Writer) Add(t Tensor, data func(io.Writer) error) {
	w.tensors = append(w.tensors, source{t, data})
}

// WriteTo writes the file and returns the number of bytes written. The same calls in the same
// order give the same bytes.
func (w *Writer) WriteTo(out io.Writer) (int64, error) {
	e := &encoder{out: bufio.NewWriterSize(out, bufferBytes)}
	err := w.encode(e)
	if err == nil {
		err = e.out.Flush()
	}
	if err != nil {
		return e.pos - int64(e.out.Buffered()), fmt.Errorf("write GGUF: %w", err)
	}
	return e.pos, nil
}

func (w *Writer) encode(e *encoder) error {
	e.raw([]byte(magic))
	e.fixed(uint32(3))
	e.fixed(uint64(len(w.tensors)))
	e.fixed(uint64(len(w.keys)))
	seen := map[string]bool{}
	for _, kv := range w.keys {
		if kv.key == "" || seen[kv.key] {
			return malformed("key %q is empty or there twice", kv.key)
		}
		seen[kv.key] = true
		e.text(kv.key)
		if err := e.value(kv.value); err != nil {
			return fmt.Errorf("key %q: %w", kv.key, err)
		}
	}
	if err := w.encodeTensors(e); err != nil {
		return err
	}
	for _, t := range w.tensors {
		e.pad()
		if err := e.weights(t); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	e.pad()
	return e.err
}

// encodeTensors writes the list of tensors.
func (w *Writer) encodeTensors(e *encoder) error {
	offset := uint64(0)
	for _, t := range w.tensors {
		n, err := t.Bytes()
		if err != nil {
			return err
		}
		e.text(t.Name)
		e.fixed(uint32(len(t.Dims)))
		e.fixed(t.Dims)
		e.fixed(uint32(t.Type))
		e.fixed(offset)
		offset += alignUp(n, defaultAlignment)
	}
	return e.err
}

// encoder writes the format's primitives, keeps count, and stops for good at the first error.
type encoder struct {
	out *bufio.Writer
	pos int64
	err error
}

// Write lets a tensor's data function write through the count.
func (e *encoder) Write(b []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.out.Write(b)
	e.pos, e.err = e.pos+int64(n), err
	return n, err
}

func (e *encoder) raw(b []byte) { _, _ = e.Write(b) } // the error stays in e.err

// fixed writes a value of fixed size, or a slice of them.
func (e *encoder) fixed(v any) {
	if err := binary.Write(e, binary.LittleEndian, v); err != nil && e.err == nil {
		e.err = err
	}
}

func (e *encoder) text(s string) {
	e.fixed(uint64(len(s)))
	e.raw([]byte(s))
}

// pad writes zeros up to the next multiple of the alignment.
func (e *encoder) pad() {
	e.raw(make([]byte, int64(alignUp(uint64(e.pos), defaultAlignment))-e.pos))
}

// weights writes one tensor and checks that its size is as promised in the list.
func (e *encoder) weights(t source) error {
	want, err := t.Bytes()
	if err != nil {
		return err
	}
	start := e.pos
	if err := t.data(e); err != nil {
		return err
	}
	if got := uint64(e.pos - start); e.err == nil && got != want {
		return malformed("its data wrote %d bytes, want %d", got, want)
	}
	return e.err
}

// value writes a value's type and the value.
func (e *encoder) value(v any) error {
	if t, ok := typeOf(v); ok {
		e.fixed(uint32(t))
		e.element(v)
		return e.err
	}
	switch v := v.(type) {
	case []string:
		encodeArray(e, typeString, v)
	case []int32:
		encodeArray(e, typeInt32, v)
	case []uint32:
		encodeArray(e, typeUint32, v)
	case []float32:
		encodeArray(e, typeFloat32, v)
	default:
		return fmt.Errorf("a value of type %T cannot be written", v)
	}
	return e.err
}

func encodeArray[T Scalar](e *encoder, t valueType, values []T) {
	e.fixed(uint32(typeArray))
	e.fixed(uint32(t))
	e.fixed(uint64(len(values)))
	for _, v := range values {
		e.element(v)
	}
}

// element writes a value without its type.
func (e *encoder) element(v any) {
	if s, ok := v.(string); ok {
		e.text(s)
		return
	}
	e.fixed(v)
}

// typeOf is the format's number for a scalar's type.
func typeOf(v any) (valueType, bool) {
	switch v.(type) {
	case uint8:
		return typeUint8, true
	case int8:
		return typeInt8, true
	case uint16:
		return typeUint16, true
	case int16:
		return typeInt16, true
	case uint32:
		return typeUint32, true
	case int32:
		return typeInt32, true
	case float32:
		return typeFloat32, true
	case bool:
		return typeBool, true
	case string:
		return typeString, true
	case uint64:
		return typeUint64, true
	case int64:
		return typeInt64, true
	case float64:
		return typeFloat64, true
	}
	return 0, false
}

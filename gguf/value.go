package gguf

import "math"

// valueType is the format's number for the type of a key's value.
type valueType uint32

const (
	typeUint8 valueType = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

// width is the least number of bytes that one value takes in the file; 0 for an unknown type.
// A string's is its length field, an array's its type and length fields.
func (t valueType) width() uint64 {
	switch t {
	case typeUint8, typeInt8, typeBool:
		return 1
	case typeUint16, typeInt16:
		return 2
	case typeUint32, typeInt32, typeFloat32:
		return 4
	case typeString, typeUint64, typeInt64, typeFloat64:
		return 8
	case typeArray:
		return 12
	}
	return 0
}

// Scalar is a value of a key that is not an array: a GGUF type and the Go type of it.
type Scalar interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64 | bool | string
}

// Array is a value with many elements. Long ones, such as the vocabulary, are counted and not kept.
type Array struct {
	// Len is the number of elements.
	Len int
	// Values is a slice of one of the [Scalar] types, Len long. It is nil if Len is over
	// [MaxKeptArray].
	Values any
}

// Get returns the value of key if it has exactly the type T, and whether it does. For a number
// whose width varies between writers, use [Header.Uint].
func Get[T Scalar | Array](h *Header, key string) (T, bool) {
	v, ok := h.values[key].(T)
	return v, ok
}

// Uint returns the value of key if it is a whole number of any width that is not negative.
func (h *Header) Uint(key string) (uint64, bool) {
	return asUint(h.values[key])
}

// Has reports whether the header has the key, of whatever type.
func (h *Header) Has(key string) bool {
	_, ok := h.values[key]
	return ok
}

func asUint(v any) (uint64, bool) {
	signed := func(n int64) (uint64, bool) { return uint64(max(n, 0)), n >= 0 }
	switch v := v.(type) {
	case uint8:
		return uint64(v), true
	case uint16:
		return uint64(v), true
	case uint32:
		return uint64(v), true
	case uint64:
		return v, true
	case int8:
		return signed(int64(v))
	case int16:
		return signed(int64(v))
	case int32:
		return signed(int64(v))
	case int64:
		return signed(v)
	}
	return 0, false
}

// scalar reads one value that is not an array.
func (d *decoder) scalar(t valueType) any {
	switch t {
	case typeUint8:
		return d.u8()
	case typeInt8:
		return int8(d.u8())
	case typeUint16:
		return d.u16()
	case typeInt16:
		return int16(d.u16())
	case typeUint32:
		return d.u32()
	case typeInt32:
		return int32(d.u32())
	case typeFloat32:
		return d.f32()
	case typeBool:
		return d.bool()
	case typeString:
		return d.text(MaxText)
	case typeUint64:
		return d.u64()
	case typeInt64:
		return int64(d.u64())
	case typeFloat64:
		return d.f64()
	}
	d.fail(malformed("value type %d at byte %d is unknown", t, d.pos))
	return nil
}

// array reads an array: its element type, its length and its elements. The texts that it does not
// keep are given to each, if that is not nil.
func (d *decoder) array(each func(string)) Array {
	t, n := valueType(d.u32()), d.u64()
	switch {
	case d.err != nil:
	case t.width() == 0 || t == typeArray:
		d.fail(malformed("array of value type %d at byte %d", t, d.pos))
	case n > MaxArray:
		d.fail(tooMuch("elements of an array", n, MaxArray))
	case n > d.left()/t.width():
		d.fail(truncated(d.size, d.pos+n*t.width()))
	case n <= MaxKeptArray:
		return Array{Len: int(n), Values: d.elements(t, int(n))}
	case t == typeString && each != nil:
		for i := uint64(0); i < n && d.err == nil; i++ {
			each(d.text(MaxText))
		}
		return Array{Len: int(n)}
	case t == typeString:
		for i := uint64(0); i < n && d.err == nil; i++ {
			d.skip(d.u64())
		}
		return Array{Len: int(n)}
	default:
		d.skip(n * t.width())
		return Array{Len: int(n)}
	}
	return Array{}
}

// elements reads the n elements of a short array into a slice of their type.
func (d *decoder) elements(t valueType, n int) any {
	switch t {
	case typeUint8:
		return collect(d, n, d.u8)
	case typeInt8:
		return collect(d, n, func() int8 { return int8(d.u8()) })
	case typeUint16:
		return collect(d, n, d.u16)
	case typeInt16:
		return collect(d, n, func() int16 { return int16(d.u16()) })
	case typeUint32:
		return collect(d, n, d.u32)
	case typeInt32:
		return collect(d, n, func() int32 { return int32(d.u32()) })
	case typeFloat32:
		return collect(d, n, d.f32)
	case typeBool:
		return collect(d, n, d.bool)
	case typeString:
		return collect(d, n, func() string { return d.text(MaxText) })
	case typeUint64:
		return collect(d, n, d.u64)
	case typeInt64:
		return collect(d, n, func() int64 { return int64(d.u64()) })
	default:
		return collect(d, n, d.f64)
	}
}

func collect[T Scalar](d *decoder, n int, next func() T) []T {
	out := make([]T, 0, n)
	for len(out) < n && d.err == nil {
		out = append(out, next())
	}
	return out
}

func (d *decoder) f32() float32 { return math.Float32frombits(d.u32()) }
func (d *decoder) f64() float64 { return math.Float64frombits(d.u64()) }

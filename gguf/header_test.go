package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sample is a small model with arrays that are too long to keep.
func sample() *Writer {
	w := small()
	w.Set("tokenizer.ggml.tokens", make([]string, MaxKeptArray+1))
	w.Set("x.long", make([]int32, MaxKeptArray+1))
	return w
}

// small is a model of under a thousand bytes with each type of key.
func small() *Writer {
	w := &Writer{}
	w.Set("general.architecture", "llama")
	w.Set("general.name", "Sample")
	w.Set("general.file_type", uint32(15))
	w.Set("llama.context_length", uint32(2048))
	w.Set("llama.block_count", uint32(3))
	w.Set("llama.embedding_length", uint64(64))
	w.Set("llama.attention.head_count", uint16(4))
	w.Set("llama.attention.head_count_kv", int32(2))
	w.Set("tokenizer.chat_template", "{{ messages }}")
	w.Set("x.u8", uint8(8))
	w.Set("x.i8", int8(-8))
	w.Set("x.i16", int16(-16))
	w.Set("x.i64", int64(-64))
	w.Set("x.f32", float32(0.5))
	w.Set("x.f64", 0.25)
	w.Set("x.yes", true)
	w.Set("x.no", false)
	w.Set("x.words", []string{"one", ""})
	w.Set("x.ints", []int32{-1, 2})
	w.Set("x.uints", []uint32{3})
	w.Set("x.floats", []float32{1.5})
	w.Add(Tensor{Name: "a", Type: F32, Dims: []uint64{2, 3}}, zeros(24))
	w.Add(Tensor{Name: "b", Type: F16, Dims: []uint64{5}}, zeros(10))
	return w
}

func zeros(n int) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(make([]byte, n))
		return err
	}
}

func TestReadHeader(t *testing.T) {
	file := written(t, sample())
	h, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	if h.DataOffset%32 != 0 || h.DataOffset+64 != int64(len(file)) {
		t.Errorf("DataOffset = %d in a file of %d", h.DataOffset, len(file))
	}
	want := &Header{
		Version: 3, Architecture: "llama", Name: "Sample", FileType: 15, Quantization: "Q4_K_M",
		ContextLength: 2048, BlockCount: 3, EmbeddingLength: 64, HeadCount: 4, HeadCountKV: 2,
		KeyLength: 16, ValueLength: 16, VocabSize: MaxKeptArray + 1, ChatTemplate: "{{ messages }}",
		Tensors:   []Tensor{{"a", F32, []uint64{2, 3}, 0}, {"b", F16, []uint64{5}, 32}},
		SizeBytes: 34, DataOffset: h.DataOffset, values: h.values, kvHeads: 6,
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("got  %+v\nwant %+v", h, want)
	}
}

func TestGet(t *testing.T) {
	h, err := read(written(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"x.u8": uint8(8), "x.i8": int8(-8), "x.i16": int16(-16), "x.i64": int64(-64),
		"x.f32": float32(0.5), "x.f64": 0.25, "x.yes": true, "x.no": false,
		"llama.attention.head_count": uint16(4), "llama.embedding_length": uint64(64),
		"x.words":  Array{2, []string{"one", ""}},
		"x.ints":   Array{2, []int32{-1, 2}},
		"x.uints":  Array{1, []uint32{3}},
		"x.floats": Array{1, []float32{1.5}},
		"x.long":   Array{Len: MaxKeptArray + 1},
	} {
		if got := h.values[key]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %#v, want %#v", key, got, want)
		}
	}
	if v, ok := Get[string](h, "x.u8"); ok || v != "" {
		t.Errorf("a number as a string: %q, %v", v, ok)
	}
	if v, ok := Get[float64](h, "x.f64"); !ok || v != 0.25 {
		t.Errorf("x.f64 = %v, %v", v, ok)
	}
	if _, ok := h.Uint("x.i8"); ok {
		t.Error("Uint took -8")
	}
	if n, ok := h.Uint("llama.attention.head_count_kv"); !ok || n != 2 {
		t.Errorf("head_count_kv = %d, %v", n, ok)
	}
	if h.Has("x.none") || !h.Has("x.no") {
		t.Error("Has is wrong")
	}
}

// Every array type of the format is read, also those that Writer does not write.
func TestArrayTypes(t *testing.T) {
	for kind, want := range map[valueType]any{
		typeUint8: []uint8{1}, typeInt8: []int8{1}, typeUint16: []uint16{1}, typeInt16: []int16{1},
		typeUint32: []uint32{1}, typeInt32: []int32{1}, typeUint64: []uint64{1}, typeInt64: []int64{1},
		typeBool: []bool{true}, typeFloat32: []float32{math.Float32frombits(1)},
		typeFloat64: []float64{math.Float64frombits(1)}, typeString: []string{"\x00"},
	} {
		b := start(2, 0, 1).key("k", typeArray).u32(uint32(kind)).u64(1).bytes(1).zeros(int(kind.width()) - 1)
		if kind == typeString {
			b = b.zeros(1)
		}
		h, err := read(b)
		if err != nil {
			t.Fatalf("type %d: %v", kind, err)
		}
		if got, _ := Get[Array](h, "k"); !reflect.DeepEqual(got, Array{1, want}) {
			t.Errorf("type %d: %#v, want %#v", kind, got, want)
		}
	}
}

func TestOpenHeader(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	file := written(t, sample())
	if err := os.WriteFile(path, file[:len(file)-40], 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenHeader(path)
	want := fmt.Sprintf("read GGUF header of %s: truncated GGUF file: the file has %d bytes, its header promises at least %d",
		path, len(file)-40, len(file)-22) // the last tensor ends 22 bytes before the padding does
	if !errors.Is(err, ErrTruncated) || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
	if _, err := OpenHeader(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := OpenHeader(dir); !errors.Is(err, ErrNotGGUF) {
		t.Errorf("a folder: %v", err)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenHeader(path); err != nil {
		t.Error(err)
	}
}

// A large vocabulary is counted, not kept, and the weights are not read.
func TestReadHeaderReadsLittle(t *testing.T) {
	const tokens, weights = 250_000, 64 << 20
	w := &Writer{}
	words := make([]string, tokens)
	for i := range words {
		words[i] = strings.Repeat("w", i%13)
	}
	w.Set(keyTokens, words)
	file := written(t, w)
	file = append(start(3, 1, 1), file[24:]...)
	file = raw(file[:alignedEnd(file)]).tensor("big", F32, 0, weights/4)
	r := &countingReader{data: file}
	size := int64(alignUp(uint64(len(file)), 32)) + weights
	var h *Header
	var err error
	taken := allocated(func() { h, err = ReadHeader(r, size) })
	if err != nil {
		t.Fatal(err)
	}
	if h.VocabSize != tokens || h.SizeBytes != weights {
		t.Errorf("VocabSize %d, SizeBytes %d", h.VocabSize, h.SizeBytes)
	}
	if limit := int64(len(file)) + 2*bufferBytes; r.n > limit {
		t.Errorf("read %d bytes, want under %d", r.n, limit)
	}
	if taken > 256<<10 {
		t.Errorf("took %d bytes of memory", taken)
	}
}

// alignedEnd is where a file of keys alone ends before its padding.
func alignedEnd(file []byte) int {
	d := newDecoder(bytes.NewReader(file), int64(len(file)))
	d.skip(24)
	d.keys(&Header{values: map[string]any{}}, 1)
	return int(d.pos)
}

// countingReader is data followed by zeros, and counts what is read.
type countingReader struct {
	data []byte
	n    int64
}

func (r *countingReader) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(r.data)) {
		copy(b, r.data[off:])
	}
	r.n += int64(len(b))
	return len(b), nil
}

package gguf

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestWriterIsDeterministic(t *testing.T) {
	if !bytes.Equal(written(t, sample()), written(t, sample())) {
		t.Error("two writes differ")
	}
	w := sample()
	if !bytes.Equal(written(t, w), written(t, w)) {
		t.Error("a second WriteTo differs")
	}
}

func TestWriterRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		build func(w *Writer)
		text  string
	}{
		"unknown Go type": {func(w *Writer) { w.Set("k", 1) }, `key "k": a value of type int`},
		"key twice":       {func(w *Writer) { w.Set("k", true); w.Set("k", true) }, "twice"},
		"key empty":       {func(w *Writer) { w.Set("", true) }, "empty"},
		"unknown tensor": {func(w *Writer) { w.Add(Tensor{Name: "t", Type: 99, Dims: []uint64{1}}, zeros(1)) },
			"type 99"},
		"few weights": {func(w *Writer) { w.Add(Tensor{Name: "t", Dims: []uint64{2}}, zeros(7)) },
			`tensor "t": malformed GGUF header: its data wrote 7 bytes, want 8`},
		"many weights": {func(w *Writer) { w.Add(Tensor{Name: "t", Dims: []uint64{2}}, zeros(9)) }, "wrote 9 bytes"},
		"data fails": {func(w *Writer) {
			w.Add(Tensor{Name: "t", Dims: []uint64{2}}, func(io.Writer) error { return errors.New("no data") })
		}, `tensor "t": no data`},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Writer{}
			tc.build(w)
			if _, err := w.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %q", err, tc.text)
			}
		})
	}
}

var errDiskFull = errors.New("disk full")

// smallDisk takes so many bytes and no more.
type smallDisk int

func (d *smallDisk) Write(b []byte) (int, error) {
	n := min(len(b), int(*d))
	*d -= smallDisk(n)
	if n < len(b) {
		return n, errDiskFull
	}
	return n, nil
}

func TestWriterOnFullDisk(t *testing.T) {
	w := sample()
	w.Add(Tensor{Name: "big", Type: F32, Dims: []uint64{1 << 18}}, zeros(1<<20))
	for _, room := range []int{0, 10, 1 << 16, 1 << 19} {
		disk := smallDisk(room)
		if n, err := w.WriteTo(&disk); !errors.Is(err, errDiskFull) {
			t.Errorf("room for %d: wrote %d, %v", room, n, err)
		}
	}
}

package gguf

import (
	"errors"
	"math"
	"testing"
)

func TestTensorBytes(t *testing.T) {
	for name, tc := range map[string]struct {
		kind TensorType
		dims []uint64
		want uint64
		err  error
	}{
		"F32":           {F32, []uint64{3, 5}, 60, nil},
		"F16, four":     {F16, []uint64{2, 3, 4, 5}, 240, nil},
		"Q4_0":          {2, []uint64{64, 2}, 72, nil},
		"Q6_K":          {14, []uint64{512, 3}, 1260, nil},
		"nothing":       {F32, []uint64{0, 7}, 0, nil},
		"part of block": {14, []uint64{128, 2}, 0, ErrMalformed},
		"no dimension":  {F32, nil, 0, ErrMalformed},
		"five":          {F32, []uint64{1, 1, 1, 1, 1}, 0, ErrMalformed},
		"over 64 bits":  {F32, []uint64{math.MaxUint64}, 0, ErrMalformed},
		"unknown":       {5, []uint64{32}, 0, ErrTensorType},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Tensor{Name: name, Type: tc.kind, Dims: tc.dims}.Bytes()
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("got %d, %v, want %d, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestTensorTypeString(t *testing.T) {
	if got := TensorType(12).String(); got != "Q4_K" {
		t.Error(got)
	}
	if got := TensorType(99).String(); got != "type 99" {
		t.Error(got)
	}
}

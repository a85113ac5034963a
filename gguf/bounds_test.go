package gguf

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
)

// kinds are the errors that a file's contents can cause.
var kinds = []error{ErrNotGGUF, ErrTruncated, ErrVersion, ErrBounds, ErrMalformed, ErrTensorType}

// allocated is the memory that f takes in all, in bytes, with what other goroutines take meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestHostileHeaders(t *testing.T) {
	const huge = math.MaxUint64
	longKey := strings.Repeat("k", 200)
	for name, tc := range map[string]struct {
		file raw
		want error
		text string // that the message has
	}{
		"empty":               {nil, ErrTruncated, "has 0 bytes"},
		"half the magic":      {raw("GG"), ErrTruncated, "has 2 bytes"},
		"short, other magic":  {raw("PK"), ErrNotGGUF, `"PK"`},
		"web page":            {raw("<!doctype html><html></html>"), ErrNotGGUF, `"<!do"`},
		"magic alone":         {raw("GGUF"), ErrTruncated, "has 4 bytes"},
		"version 1":           {start(1, 0, 0), ErrVersion, "1, want 2 or 3"},
		"version 4":           {start(4, 0, 0), ErrVersion, "4, want 2 or 3"},
		"big-endian":          {start(3<<24, 0, 0), ErrVersion, "3, in big-endian"},
		"huge tensor count":   {start(3, huge, 0), ErrBounds, "number of tensors"},
		"tensors over limit":  {start(3, MaxTensors+1, 0), ErrBounds, "1000001, the limit is 1000000"},
		"huge key count":      {start(3, 0, huge), ErrBounds, "number of keys"},
		"keys over limit":     {start(3, 0, MaxKeys+1), ErrBounds, "100001, the limit is 100000"},
		"keys not there":      {start(3, 0, MaxKeys), ErrTruncated, "has 24 bytes"},
		"tensors not there":   {start(3, MaxTensors, 0), ErrTruncated, "has 24 bytes"},
		"huge key length":     {start(3, 0, 1).u64(huge).zeros(64), ErrBounds, "bytes of a string"},
		"key over the end":    {start(3, 0, 1).u64(100).zeros(64), ErrTruncated, "has 96 bytes"},
		"key without name":    {start(3, 0, 1).text("").u32(0).zeros(64), ErrMalformed, "no name"},
		"key twice":           {start(3, 0, 2).key("k", typeBool).bytes(1).key("k", typeBool).bytes(1), ErrMalformed, "twice"},
		"value type 13":       {start(3, 0, 1).key("k", 13).zeros(64), ErrMalformed, "type 13"},
		"bool of 2":           {start(3, 0, 1).key("k", typeBool).bytes(2), ErrMalformed, "bool"},
		"huge text":           {start(3, 0, 1).key("k", typeString).u64(huge), ErrBounds, "string"},
		"text over the end":   {start(3, 0, 1).key("k", typeString).u64(MaxText), ErrTruncated, "has 45 bytes"},
		"huge array":          {start(3, 0, 1).key("k", typeArray).u32(0).u64(huge), ErrBounds, "elements"},
		"array over the end":  {start(3, 0, 1).key("k", typeArray).u32(4).u64(MaxArray), ErrTruncated, ""},
		"strings over end":    {start(3, 0, 1).key("k", typeArray).u32(8).u64(9).zeros(71), ErrTruncated, ""},
		"huge string, kept":   {start(3, 0, 1).key("k", typeArray).u32(8).u64(1).u64(huge), ErrBounds, "string"},
		"huge string, not":    {start(3, 0, 1).key("k", typeArray).u32(8).u64(2000).u64(huge).zeros(16000), ErrBounds, "bytes of header"},
		"array of arrays":     {start(3, 0, 1).key("k", typeArray).u32(9).u64(1).zeros(64), ErrMalformed, "array of value type 9"},
		"array of type 13":    {start(3, 0, 1).key("k", typeArray).u32(13).u64(1).zeros(64), ErrMalformed, "array of value type 13"},
		"no dimensions":       {start(3, 1, 0).tensor("t", F32, 0).zeros(64), ErrMalformed, "0 dimensions"},
		"many dimensions":     {start(3, 1, 0).text("t").u32(math.MaxUint32).zeros(64), ErrMalformed, "4294967295 dimensions"},
		"product over 64 bit": {start(3, 1, 0).tensor("t", F32, 0, 1<<40, 1<<40).zeros(64), ErrMalformed, "over 64 bits"},
		"weights over end":    {start(3, 1, 0).tensor("t", F32, 0, 1<<40).zeros(64), ErrTruncated, "has 121 bytes, its header promises at least 4398046511168"},
		"offset over end":     {start(3, 1, 0).tensor("t", F32, 1<<50, 1).zeros(64), ErrTruncated, ""},
		"offset wraps":        {start(3, 1, 0).tensor("t", F32, 1<<64-32, 32).zeros(64), ErrMalformed, "offset"},
		"offset not aligned":  {start(3, 1, 0).tensor("t", F32, 4, 1).zeros(64), ErrMalformed, "offset 4"},
		"half a block":        {start(3, 1, 0).tensor("t", 2, 0, 33).zeros(64), ErrMalformed, "block of 32"},
		"tensor type 4":       {start(3, 1, 0).tensor("t", 4, 0, 32).zeros(64), ErrTensorType, `"t" has type 4`},
		"tensor type huge":    {start(3, 1, 0).tensor(longKey, math.MaxUint32, 0, 32).zeros(64), ErrTensorType, "type 4294967295"},
		"overlap":             {start(3, 2, 0).tensor("t", F32, 0, 8).tensor("u", F32, 0, 8).zeros(64), ErrMalformed, "overlap"},
		"alignment 0":         {start(3, 0, 1).key(keyAlignment, typeUint32).u32(0), ErrMalformed, "alignment 0"},
		"alignment 3":         {start(3, 0, 1).key(keyAlignment, typeUint32).u32(3), ErrMalformed, "alignment 3"},
		"alignment huge":      {start(3, 0, 1).key(keyAlignment, typeUint64).u64(1 << 63), ErrMalformed, "alignment"},
	} {
		t.Run(name, func(t *testing.T) {
			var h *Header
			var err error
			taken := allocated(func() { h, err = read(tc.file) })
			if !errors.Is(err, tc.want) || h != nil {
				t.Fatalf("got %v, %v, want %v", h, err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.text) || len(err.Error()) > 300 {
				t.Errorf("message: %v, want it to have %q", err, tc.text)
			}
			if taken > memoryLimit(len(tc.file)) {
				t.Errorf("took %d bytes of memory for %d", taken, len(tc.file))
			}
		})
	}
}

// memoryLimit is what reading n bytes of header may take: the buffer and its kin, and a multiple
// of n that covers the dearest entries, keys of one letter in a growing map.
func memoryLimit(n int) uint64 { return 256<<10 + 48*uint64(n) }

func TestEveryPrefixIsTruncated(t *testing.T) {
	file := written(t, small())
	end := len(file) - 22 // the padding after the last tensor may be missing
	for n := range end {
		_, err := read(file[:n])
		if !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d of %d bytes: %v", n, len(file), err)
		}
	}
	if _, err := read(file[:end]); err != nil {
		t.Error(err)
	}
}

// A file that shrinks while it is read, or a wrong size, is a truncated file too.
func TestReaderShorterThanItsSize(t *testing.T) {
	file := written(t, sample())
	for n := range 224 {
		if _, err := ReadHeader(bytes.NewReader(file[:n]), 1<<40); !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	long := start(3, 0, 1).key("k", typeString).u64(MaxText)
	taken := allocated(func() {
		if _, err := ReadHeader(bytes.NewReader(long), 1<<40); !errors.Is(err, ErrTruncated) {
			t.Error(err)
		}
	})
	if taken > memoryLimit(len(long)) {
		t.Errorf("took %d bytes of memory for %d", taken, len(long))
	}
	if _, err := ReadHeader(bytes.NewReader(nil), -1); !errors.Is(err, ErrTruncated) {
		t.Errorf("negative size: %v", err)
	}
}

type brokenDisk struct{ err error }

func (b brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, b.err }

func TestReaderErrorComesBack(t *testing.T) {
	broken := errors.New("disk on fire")
	if _, err := ReadHeader(brokenDisk{broken}, 100); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// All strings together have a limit, and so has the header: a sparse file of a terabyte that
// promises strings without end is given up soon.
func TestSumsAreBounded(t *testing.T) {
	file := raw{}.text("sixteen letters.")
	d := newDecoder(bytes.NewReader(file), int64(len(file)))
	d.kept = MaxKeptText - 15
	if d.text(MaxText); !errors.Is(d.err, ErrBounds) || !strings.Contains(d.err.Error(), "all strings") {
		t.Error(d.err)
	}
	r := &countingReader{data: start(3, 0, 5).key("k", typeArray).u32(uint32(typeUint64)).u64(MaxArray)}
	if _, err := ReadHeader(r, 1<<40); !errors.Is(err, ErrBounds) || r.n > 1<<20 {
		t.Errorf("%v after %d bytes", err, r.n)
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(written(f, small()))
	f.Add([]byte(start(2, 1, 1).key("general.alignment", typeUint32).u32(64).tensor("t", 2, 0, 32).zeros(100)))
	f.Add([]byte(start(3, 0, 1).key("k", typeArray).u32(8).u64(2).text("a").text("b")))
	f.Add([]byte(start(3, 1000, 1000)))
	f.Fuzz(func(t *testing.T, file []byte) {
		var h *Header
		var err error
		if taken := allocated(func() { h, err = read(file) }); taken > memoryLimit(len(file)) {
			t.Errorf("took %d bytes of memory for %d", taken, len(file))
		}
		if err != nil {
			for _, kind := range kinds {
				if errors.Is(err, kind) {
					return
				}
			}
			t.Fatalf("error of no kind: %v", err)
		}
		if h.SizeBytes > uint64(len(file)) || h.KVBytes(1, 1, false) > h.KVBytes(2, 2, true) {
			t.Errorf("impossible header: %+v", h)
		}
	})
}

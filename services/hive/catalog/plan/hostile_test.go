package plan

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/gguf/gguftest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// maxAllocated is the most that a header may make us take, all together; at no time is all of it in use.
const maxAllocated = 256 << 20

// planned reads and adds up, and says how many bytes that took.
func planned(b []byte, size int64, dir string) (h *Header, sum Sum, allocated uint64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	files := one(b)
	files[0].SizeBytes = size
	h, err = ReadHeader(context.Background(), files, sized(b, size))
	if err == nil {
		sum, err = Estimate(h, Options{TempDir: dir})
	}
	runtime.ReadMemStats(&after)
	return h, sum, after.TotalAlloc - before.TotalAlloc, err
}

// sized is a file of which only the start is there.
func sized(b []byte, size int64) Fetch {
	return func(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
		body, err := inMemory(b)(ctx, f, r)
		body.SizeBytes = size
		return body, err
	}
}

func TestHostileHeaders(t *testing.T) {
	dir := t.TempDir()
	files, err := gguftest.Hostile(bee(t, bees.Tiny), 1) // FuzzHeader has some of other models
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for what, file := range files {
		b := file()
		_, _, allocated, err := planned(b, int64(len(b)), dir)
		if allocated > maxAllocated {
			t.Errorf("%s: %d bytes allocated", what, allocated)
		}
		if err == nil {
			taken++
		} else if c := messages.CodeOf(err); c != messages.CodeBadModel && c != messages.CodeUnavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Logf("%d are taken", taken)
	leftovers(t, dir)
}

// changed is bee-tiny with one key set to another value.
func changed(t testing.TB, name, key string, value any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := bees.WriteChanged(&b, name, key, value); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What gguf-parser-go cannot be given, or panics over, is summed up by our own formula.
func TestUnusualHeadersAreSummedUpRoughly(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"it would make room for 16 GB of layers": changed(t, bees.Tiny, "llama.block_count", uint32(math.MaxInt32)),
		"it panics over an empty array":          changed(t, bees.Tiny, "llama.attention.sliding_window", []uint32{}),
		"it panics over another type":            changed(t, bees.Tiny, "llama.attention.causal", uint32(1)),
		"a projector":                            changed(t, bees.Tiny, "general.architecture", "clip"),
		"it has no architecture":                 changed(t, bees.Tiny, "general.architecture", ""),
	} {
		t.Run(name, func(t *testing.T) {
			h, sum, allocated, err := planned(b, int64(len(b)), dir)
			if err != nil {
				t.Fatal(err)
			}
			if !sum.Rough || sum.Weights != h.First.SizeBytes || sum.Compute == 0 || !strings.Contains(sum.Parts, "= about ") || allocated > 64<<20 {
				t.Errorf("%+v, %d bytes allocated", sum, allocated)
			}
		})
	}
	leftovers(t, dir)
}

// The 24 bytes that make gguf-parser-go v0.24 and before take 7 GB: counts of tensors and keys.
func TestCountsWithoutBytes(t *testing.T) {
	for _, counts := range [][2]uint64{{1 << 40, 0}, {0, 1 << 27}, {gguf.MaxTensors, gguf.MaxKeys}, {math.MaxUint64, math.MaxUint64}} {
		b := append([]byte("GGUF"), 3, 0, 0, 0)
		b = binary.LittleEndian.AppendUint64(b, counts[0])
		b = binary.LittleEndian.AppendUint64(b, counts[1])
		_, _, allocated, err := planned(b, 1<<40, t.TempDir())
		if err == nil || allocated > 8<<20 {
			t.Errorf("%d: %v, %d bytes allocated", counts, err, allocated)
		}
	}
}

// Headers as large as they may be.
func TestLargestHeaders(t *testing.T) {
	text := func(b []byte, s string) []byte {
		return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
	}
	begin := func(tensors, keys uint64) []byte {
		b := append([]byte("GGUF"), 3, 0, 0, 0)
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, tensors), keys)
	}
	empty := func(b []byte, n int) []byte { return append(b, make([]byte, n)...) }
	tensors := begin(MaxTensors, 0)
	for range MaxTensors {
		tensors = binary.LittleEndian.AppendUint32(text(tensors, "x"), 1)
		tensors = empty(tensors, 8+4+8)
	}
	tensors = empty(tensors, alignment)
	if _, err := ReadHeader(t.Context(), []vendor.File{{Kind: vendor.Model, SizeBytes: -1}}, sized(empty(begin(MaxTensors+1, 0), firstWindow), 1<<40)); !errors.Is(err, gguf.ErrBounds) {
		t.Errorf("one tensor more: %v", err)
	}
	array := func(key string, kind byte, n, width int) []byte {
		b := text(begin(0, 2), "general.architecture")
		b = text(append(b, valueString, 0, 0, 0), "llama")
		b = append(text(b, key), valueArray, 0, 0, 0, kind, 0, 0, 0)
		return empty(binary.LittleEndian.AppendUint64(b, uint64(n)), n*width)
	}
	for name, b := range map[string][]byte{
		"tensors": tensors,
		"words":   array("tokenizer.ggml.tokens", valueString, 30<<20/8, 8),
		"numbers": array("llama.feed_forward_length", 0, 31<<20, 1), // gguf-parser-go would read these
	} {
		t.Run(name, func(t *testing.T) {
			_, sum, allocated, err := planned(b, int64(len(b)), t.TempDir())
			t.Logf("%d MB of header: %d MB allocated, rough: %t", len(b)>>20, allocated>>20, sum.Rough)
			if err != nil || allocated > maxAllocated {
				t.Errorf("%v, %d bytes allocated", err, allocated)
			}
		})
	}
}

func FuzzHeader(f *testing.F) {
	for _, name := range []string{bees.Tiny, bees.Embed, bees.Hybrid} {
		good := bee(f, name)
		f.Add(headerOf(f, good))
		files, err := gguftest.Hostile(good, 1)
		if err != nil {
			f.Fatal(err)
		}
		n := 0
		for _, file := range files {
			if n++; n%25 == 0 { // TestHostileHeaders has all
				b := file()
				f.Add(b[:min(len(b), len(headerOf(f, good)))])
			}
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, size := range []int64{int64(len(b)), 1 << 40} { // whole, and with weights that nobody sees
			_, sum, allocated, err := planned(b, size, dir)
			if allocated > maxAllocated {
				t.Errorf("%d bytes allocated", allocated)
			}
			if err == nil && (sum.Parts == "" || sum.Total() < sum.Weights) {
				t.Errorf("%+v", sum)
			}
		}
	})
}

// headerOf is a file without its weights.
func headerOf(t testing.TB, b []byte) []byte {
	h, err := gguf.ReadHeader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return b[:h.DataOffset]
}

package plan

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// wordy is a model of 42 MB whose vocabulary is as large as the largest that people use.
var wordy = sync.OnceValue(func() []byte {
	const rows = 30 << 20 / 68
	var w gguf.Writer
	w.Set("general.architecture", "llama")
	for key, n := range map[string]uint32{"block_count": 1, "context_length": 4096, "embedding_length": 64, "feed_forward_length": 128,
		"attention.head_count": 1, "attention.head_count_kv": 1} {
		w.Set("llama."+key, n)
	}
	words, merges := make([]string, 200_000), make([]string, 446_000)
	for i := range words {
		words[i] = fmt.Sprintf("word%04d", i)
	}
	for i := range merges {
		merges[i] = fmt.Sprintf("left r%05d", i)
	}
	w.Set("tokenizer.ggml.tokens", words)
	w.Set("tokenizer.ggml.merges", merges)
	w.Add(gguf.Tensor{Name: "token_embd.weight", Type: gguf.Q8_0, Dims: []uint64{64, rows}}, func(out io.Writer) error {
		_, err := out.Write(make([]byte, rows*68))
		return err
	})
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
})

func TestFetchesTheHeaderAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		model   []byte
		unsized bool
		plain   bool
		asks    int64
	}{
		"small":                  {model: bee(t, bees.Tiny), asks: 1},
		"large header":           {model: wordy(), asks: 8},
		"of unknown size":        {model: wordy(), unsized: true, asks: 8},
		"no ranges":              {model: wordy(), plain: true, asks: 1},
		"no ranges, no size":     {model: bee(t, bees.Tiny), plain: true, unsized: true, asks: 1},
		"smaller than one range": {model: bee(t, bees.Embed), asks: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &source{files: map[string][]byte{"model.gguf": tc.model}, plain: tc.plain}
			serve(t, s)
			files := one(tc.model)
			if tc.unsized {
				files[0].SizeBytes = -1
			}
			h, err := ReadHeader(t.Context(), files, s.fetch)
			if err != nil {
				t.Fatal(err)
			}
			atMost := min(max(firstWindow, h.First.DataOffset+maxStep), 16_000_000)
			if h.FetchedBytes > atMost || s.asked.Load() > tc.asks {
				t.Errorf("%d bytes in %d requests, want at most %d in %d", h.FetchedBytes, s.asked.Load(), atMost, tc.asks)
			}
			t.Logf("%d bytes of header, %d fetched in %d requests", h.First.DataOffset, h.FetchedBytes, s.asked.Load())
			if !tc.plain && s.sent.Load() != h.FetchedBytes {
				t.Errorf("it says %d bytes, %d were sent", h.FetchedBytes, s.sent.Load())
			}
			whole, err := gguf.ReadHeader(bytes.NewReader(tc.model), int64(len(tc.model)))
			if err != nil {
				t.Fatal(err)
			}
			if len(h.Tensors) != len(whole.Tensors) || h.First.VocabSize != whole.VocabSize || h.First.DataOffset != whole.DataOffset {
				t.Errorf("%d tensors, %d tokens", len(h.Tensors), h.First.VocabSize)
			}
		})
	}
}

// split cuts a model into parts as gguf-split does: the first has the keys.
func split(t testing.TB, model []byte, parts int) [][]byte {
	t.Helper()
	h, err := gguf.ReadHeader(bytes.NewReader(model), int64(len(model)))
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]byte, parts)
	for part := range parts {
		var w gguf.Writer
		if part == 0 {
			for _, key := range []string{"general.architecture", "tokenizer.ggml.model"} {
				text, _ := gguf.Get[string](h, key)
				w.Set(key, text)
			}
			for _, key := range []string{"block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count", "attention.head_count_kv"} {
				n, _ := h.Uint(h.Architecture + "." + key)
				w.Set(h.Architecture+"."+key, uint32(n))
			}
			w.Set("tokenizer.ggml.tokens", make([]string, h.VocabSize))
		}
		w.Set("split.no", uint16(part))
		w.Set("split.count", uint16(parts))
		w.Set("split.tensors.count", int32(len(h.Tensors)))
		for i, tensor := range h.Tensors {
			if i*parts/len(h.Tensors) != part {
				continue
			}
			n, _ := tensor.Bytes()
			from := uint64(h.DataOffset) + tensor.Offset
			w.Add(tensor, func(out io.Writer) error { _, err := out.Write(model[from : from+n]); return err })
		}
		var b bytes.Buffer
		if _, err := w.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		out[part] = b.Bytes()
	}
	return out
}

func TestSplitModelIsTheSumOfItsParts(t *testing.T) {
	model := bee(t, bees.Tiny)
	whole, err := ReadHeader(t.Context(), one(model), inMemory(model))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Estimate(whole, Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &source{files: map[string][]byte{}}
	var files []vendor.File
	for i, b := range split(t, model, 3) {
		name := vendor.PartName("tiny", i+1, 3)
		s.files[name] = b
		files = append(files, vendor.File{Name: name, Source: name, Kind: vendor.Model, SizeBytes: int64(len(b))})
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files = append(files, vendor.File{Name: "LICENSE", Source: "none", Kind: vendor.License, SizeBytes: 10})
	serve(t, s)
	far, err := ReadHeader(t.Context(), files, s.fetch)
	if err != nil {
		t.Fatal(err)
	}
	if far.FetchedBytes > firstWindow+2*laterWindow || far.Files != 3 {
		t.Errorf("%d bytes of %d files", far.FetchedBytes, far.Files)
	}
	near, err := OfFile(filepath.Join(dir, files[1].Name))
	if err != nil {
		t.Fatal(err)
	}
	for where, h := range map[string]*Header{"far": far, "near": near} {
		got, err := Estimate(h, Options{TempDir: t.TempDir()})
		got.Base, got.Parts, want.Base, want.Parts = 0, "", 0, "" // the parts have no merges
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", where, got, err, want)
		}
	}
	if _, err := ReadHeader(t.Context(), files[:1], s.fetch); messages.CodeOf(err) != messages.CodeBadModel || !strings.Contains(err.Error(), "one of 3 files") {
		t.Errorf("one part of three: %v", err)
	}
	os.Remove(filepath.Join(dir, files[2].Name))
	if _, err := OfFile(filepath.Join(dir, files[0].Name)); messages.CodeOf(err) != messages.CodeBadModel || !strings.Contains(err.Error(), files[2].Name) {
		t.Errorf("a part is missing: %v", err)
	}
}

func TestBadSources(t *testing.T) {
	model := bee(t, bees.Large)
	const text = 0xF0_0000 // three keys of that many bytes are over the bound
	tooLong := append([]byte("GGUF\x03\x00\x00\x00"), 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0)
	for i := range 3 {
		tooLong = append(tooLong, 1, 0, 0, 0, 0, 0, 0, 0, byte('a'+i), valueString, 0, 0, 0)
		tooLong = append(binary.LittleEndian.AppendUint64(tooLong, text), make([]byte, text)...)
	}
	escapes := bytes.Replace(model, []byte("llama"), []byte("\x1b[31m"), 1)
	failed := errors.New("no route")
	for name, tc := range map[string]struct {
		files []vendor.File
		fetch Fetch
		code  messages.Code
		says  string
	}{
		"no file":     {nil, inMemory(model), messages.CodeBadModel, "no file of weights"},
		"not a model": {one([]byte("<html>")), inMemory([]byte("<html>")), messages.CodeBadModel, "not a GGUF file"},
		"empty":       {one(nil), inMemory(nil), messages.CodeBadModel, "truncated"},
		"cut":         {one(model[:5000]), inMemory(model[:5000]), messages.CodeBadModel, "truncated"},
		"short":       {one(model), short(model[:5000]), messages.CodeUnavailable, "less than it should"},
		"endless":     {one(tooLong), inMemory(tooLong), messages.CodeBadModel, "32 MiB"},
		"its own":     {one(model), func(context.Context, *vendor.File, vendor.Range) (*vendor.Body, error) { return nil, failed }, messages.CodeInternal, "no route"},
		"escapes":     {one(escapes), inMemory(escapes), messages.CodeBadModel, "no name"},
		"other size":  {one(model[:1<<20]), inMemory(model), messages.CodeUnavailable, "changed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadHeader(t.Context(), tc.files, tc.fetch)
			if messages.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v (%s), want %s: %s", err, messages.CodeOf(err), tc.code, tc.says)
			}
		})
	}
	t.Run("replaced", func(t *testing.T) {
		s := &source{files: map[string][]byte{"model.gguf": wordy()}, version: func(n int64) string { return fmt.Sprint(n / 3) }}
		serve(t, s)
		_, err := ReadHeader(t.Context(), one(s.files["model.gguf"]), s.fetch)
		if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "changed") {
			t.Errorf("%v", err)
		}
	})
}

// short sends less than the file has.
func short(b []byte) Fetch {
	return func(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
		body, err := inMemory(b)(ctx, f, r)
		body.SizeBytes = -1
		return body, err
	}
}

// dead sends n bytes, then nothing, until its context ends.
type dead struct {
	ctx context.Context
	n   int
}

func (d *dead) Read(p []byte) (int, error) {
	if d.n == 0 {
		<-d.ctx.Done()
		return 0, d.ctx.Err()
	}
	n := min(d.n, len(p))
	d.n -= n
	return n, nil
}

func (d *dead) Close() error { return nil }

func TestSilentSourceIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := ReadHeader(t.Context(), []vendor.File{{Name: "x", Kind: vendor.Model, SizeBytes: 1 << 30}},
			func(ctx context.Context, _ *vendor.File, _ vendor.Range) (*vendor.Body, error) {
				return &vendor.Body{ReadCloser: &dead{ctx, 100}, SizeBytes: 1 << 30}, nil
			})
		if took := time.Since(began); took != stallLimit || messages.CodeOf(err) != messages.CodeUnavailable {
			t.Errorf("%v after %s", err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := ReadHeader(t.Context(), []vendor.File{{Name: "x", Kind: vendor.Model, SizeBytes: 1 << 30}},
			func(ctx context.Context, _ *vendor.File, _ vendor.Range) (*vendor.Body, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
		if took := time.Since(began); took != readLimit || messages.CodeOf(err) != messages.CodeTimeout {
			t.Errorf("%v after %s", err, took)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadHeader(ctx, one(bee(t, bees.Tiny)), func(ctx context.Context, _ *vendor.File, _ vendor.Range) (*vendor.Body, error) {
		return nil, ctx.Err()
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

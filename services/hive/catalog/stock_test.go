package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// deadline of what is waited for.
const deadline = 30 * time.Second

// weights is a model file with size bytes of weights, other ones for every seed. The pairs are more keys and
// their values.
func weights(seed uint64, size int, pairs ...any) []byte {
	var w gguf.Writer
	w.Set("general.architecture", "llama")
	w.Set("llama.context_length", uint32(4096))
	w.Set("llama.block_count", uint32(1))
	w.Set("llama.embedding_length", uint32(64))
	w.Set("llama.attention.head_count", uint32(4))
	for i := 0; i < len(pairs); i += 2 {
		w.Set(pairs[i].(string), pairs[i+1])
	}
	w.Add(gguf.Tensor{Name: fmt.Sprintf("blk.0.t%d.weight", seed), Type: gguf.F32, Dims: []uint64{uint64(size / 4)}}, func(out io.Writer) error {
		var key [32]byte
		key[0], key[1] = byte(seed), byte(seed>>8)
		_, err := io.CopyN(out, rand.NewChaCha8(key), int64(size/4*4))
		return err
	})
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// split is a model in so many files, as llama.cpp splits them.
func split(seed uint64, parts, size int) (files [][]byte) {
	for i := range parts {
		files = append(files, weights(seed+uint64(i), size, "split.no", uint16(i), "split.count", uint16(parts)))
	}
	return files
}

func digestOfBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return digestPrefix + hex.EncodeToString(sum[:])
}

// stock is a vendor with an artifact for each reference "test:…" that was put there.
type stock struct {
	mu        sync.Mutex
	artifacts map[string]vendor.Artifact
	content   map[string][]byte // by Source
	resolved  int
	ranges    []vendor.Range
	fetched   int64 // bytes that were read
	// before, if there is one, is called before a fetch.
	before func(ctx context.Context, f *vendor.File) error
	// noRanges has it give whole files.
	noRanges bool
}

func newStock() *stock {
	return &stock{artifacts: map[string]vendor.Artifact{}, content: map[string][]byte{}}
}

// put offers files of weights under a reference; it can be changed still.
func (s *stock) put(ref, name string, files ...[]byte) *vendor.Artifact {
	a := vendor.Artifact{Name: name, Ref: ref + "@1"}
	for i, b := range files {
		a.Files = append(a.Files, s.file(fmt.Sprintf("part%d.gguf", i+1), vendor.Model, b))
	}
	s.set(ref, a)
	return &a
}

func (s *stock) set(ref string, a vendor.Artifact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.artifacts[ref] = a
}

// file is one of an artifact's.
func (s *stock) file(name string, kind vendor.Kind, b []byte) vendor.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := digestOfBytes(b)
	s.content[d] = b
	return vendor.File{Name: name, Kind: kind, SizeBytes: int64(len(b)), Digest: d, Source: d}
}

func (s *stock) Name() string             { return "test" }
func (s *stock) Supports(ref string) bool { return strings.HasPrefix(ref, "test:") }
func (s *stock) Forms() []string          { return []string{"test:<any>"} }

func (s *stock) Resolve(_ context.Context, ref string) (*vendor.Artifact, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resolved++
	a, ok := s.artifacts[ref]
	if !ok {
		return nil, messages.Errorf(messages.CodeModelUnknown, opResolve, "test has no %s", ref)
	}
	a.Files = slices.Clone(a.Files)
	return &a, nil
}

func (s *stock) Fetch(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	s.mu.Lock()
	before, b := s.before, s.content[f.Source]
	s.ranges = append(s.ranges, r)
	if s.noRanges {
		r = vendor.Whole
	}
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, f); err != nil {
			return nil, err
		}
	}
	to := int64(len(b))
	if r.To >= 0 {
		to = min(to, r.To)
	}
	return &vendor.Body{ReadCloser: counted{bytes.NewReader(b[r.From:to]), s}, From: r.From, SizeBytes: int64(len(b))}, nil
}

// bytesRead is how many were read of all that was fetched.
func (s *stock) bytesRead() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched
}

type counted struct {
	io.Reader
	s *stock
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.s.mu.Lock()
	c.s.fetched += int64(n)
	c.s.mu.Unlock()
	return n, err
}

func (counted) Close() error { return nil }

// forbidden is a vendor that a test fails for when it is asked for anything.
type forbidden struct {
	vendor.Vendor
	t *testing.T
}

func (f forbidden) Resolve(context.Context, string) (*vendor.Artifact, error) {
	f.t.Error("a source was asked")
	return nil, io.ErrUnexpectedEOF
}

func (f forbidden) Fetch(context.Context, *vendor.File, vendor.Range) (*vendor.Body, error) {
	f.t.Error("a source was asked for bytes")
	return nil, io.ErrUnexpectedEOF
}

func pull(t *testing.T, c *Catalog, p Pull) messages.Model {
	t.Helper()
	m, err := c.Pull(t.Context(), p, Watcher{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// write makes a file with its folders.
func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// blobs is the digests of the files in the catalog.
func blobs(t *testing.T, c *Catalog) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(c.dir, blobsDir))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, strings.Replace(e.Name(), blobPrefix, digestPrefix, 1))
	}
	return out
}

// wantBlobs checks that the catalog has the files of those digests and no others.
func wantBlobs(t *testing.T, c *Catalog, digests ...string) {
	t.Helper()
	slices.Sort(digests)
	if got := blobs(t, c); !slices.Equal(got, digests) {
		t.Fatalf("blobs %q, want %q", got, digests)
	}
}

// whole checks that every listed model has its files, with the digests they should have.
func whole(t *testing.T, c *Catalog) {
	t.Helper()
	for _, m := range c.List() {
		found, err := c.Find(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found.Files {
			if got, err := digestOf(t.Context(), f.Path, nil); err != nil || f.Digest != "" && got != f.Digest {
				t.Fatalf("%s: %s has the digest %s, not %s: %v", m.ID, f.Path, got, f.Digest, err)
			}
		}
	}
}

func lstat(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// receive waits for something on a channel.
func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(deadline):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

package bees

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/rbee-project/rbee/gguf"
)

// A change of these numbers means that every machine makes its bee models anew: do it on purpose.
func TestDigest(t *testing.T) {
	for name, want := range map[string]struct {
		sum  string
		size int64
	}{
		Tiny:    {"722169b0f1e2f7d6a9afd3a2a39598af4e18c77093f8544a995173bb7406d0b0", 2280160},
		Endless: {"4709718c72ba89d46e593d78cb43b868f0ec6da4489825c034f1b76d1bd8e027", 2280160},
		Slow:    {"417bd249f10ec970654d58e09973fd445d6b641120b69719d1fe3ef5093db901", 89254624},
		Random:  {"b537cda2a33a851fb722141ae5ec4619c36c4469031face9c5ff1e96620bb130", 4739840},
		Qwen:    {"391cfaef61f188a6b012432358429a701a3ed0357d54a35031cfeeb2e180ca32", 4940832},
		Large:   {"96e71bb8adceb0022c27fd3e6e67a0dce555574cf1af2930fb826a9f374f611a", 133165504},
		Embed:   {"b7425caf1a5a5fd78551cac031796070307a16071f342bf619cb3de655a26ea0", 1337248},
		Rerank:  {"47a88a2f16a98c77d4cd60ca4c86a03eeb111352b167d65d34222aecbea4f391", 3578240},
	} {
		sum, size, err := Digest(name)
		if err != nil {
			t.Fatal(err)
		}
		if sum != want.sum || size != want.size {
			t.Errorf("%s: got %q, %d, want %q, %d", name, sum, size, want.sum, want.size)
		}
	}
}

func TestNames(t *testing.T) {
	if got, want := Names(), []string{Endless, Random, Slow, Tiny}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnknownName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	_, _, digestErr := Digest("bee-none")
	for call, err := range map[string]error{
		"Write": Write(io.Discard, "bee-none"), "WriteFile": WriteFile(path, "bee-none"), "Digest": digestErr,
	} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("WriteFile left %v", left)
	}
}

func TestHeaders(t *testing.T) {
	const slots, ctx = 4, 4096
	for name, want := range map[string]struct {
		quantization    string
		allF32          bool
		blocks, width   int
		least, most, kv uint64
	}{
		Tiny:    {"F16", false, 1, 512, 2e6, 3e6, 2 << 20},
		Endless: {"F16", false, 1, 512, 2e6, 3e6, 2 << 20},
		Slow:    {"F16", false, 24, 512, 85e6, 95e6, 48 << 20},
		Random:  {"F32", true, 2, 384, 4.5e6, 5.5e6, 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name+".gguf")
			if err := WriteFile(path, name); err != nil {
				t.Fatal(err)
			}
			h, err := gguf.OpenHeader(path)
			if err != nil {
				t.Fatal(err)
			}
			if h.Name != name || h.Architecture != "llama" || h.ContextLength != ctx || h.VocabSize != vocabSize || h.ChatTemplate != chatML {
				t.Errorf("%q, %q, context %d, vocabulary %d, template %q", h.Name, h.Architecture, h.ContextLength, h.VocabSize, h.ChatTemplate)
			}
			if h.Quantization != want.quantization || h.AllF32() != want.allF32 || h.BlockCount != want.blocks || h.EmbeddingLength != want.width {
				t.Errorf("%s, AllF32 %v, %d blocks of %d", h.Quantization, h.AllF32(), h.BlockCount, h.EmbeddingLength)
			}
			if h.SizeBytes < want.least || h.SizeBytes > want.most {
				t.Errorf("%d bytes of weights, want %d to %d", h.SizeBytes, want.least, want.most)
			}
			if kv := h.KVBytes(ctx, slots, false); kv != want.kv {
				t.Errorf("KVBytes %d, want %d", kv, want.kv)
			}
		})
	}
}

// bee-slow is made while it is written: it is never in memory as a whole.
func TestSlowStreams(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := Write(io.Discard, Slow); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 16<<20 {
		t.Errorf("took %d bytes of memory in all", taken)
	}
}

func TestWriteFileReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, Tiny); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := Write(&want, Tiny); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("the file is not what Write writes")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("folder has %v, %v", entries, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o444 != 0o444 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFile(filepath.Join(dir, "none", "m.gguf"), Tiny); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	// A folder that is in the way makes the last step fail; nothing may stay behind.
	if err := os.MkdirAll(filepath.Join(dir, "m.gguf", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "m.gguf"), Tiny); err == nil {
		t.Error("a folder was replaced")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestWriteReportsFailure(t *testing.T) {
	r, w := io.Pipe()
	broken := errors.New("broken")
	_ = r.CloseWithError(broken)
	for _, name := range Names() {
		if err := Write(w, name); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

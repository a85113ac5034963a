package catalog

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// A file that is replaced at its source between two pulls starts over: that is said, and nothing of the older one stays.
func TestReplacedWhileInPart(t *testing.T) {
	dir := t.TempDir()
	var said []string
	w := Watcher{Say: func(text string) { said = append(said, text) }}
	// begin pulls a file that breaks off in the middle.
	begin := func(ref string, seed uint64) string {
		content := weights(seed, 6<<20)
		digest := digestOfBytes(content)
		half := giving(content)
		v := shelf{one("m", digest, int64(len(content))), func(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
			if r.From >= 2<<20 {
				return nil, messages.Errorf(messages.CodeDenied, "test", "no more")
			}
			return half(ctx, f, r)
		}}
		if _, err := at(dir, v).Pull(t.Context(), Pull{Ref: ref}, w); messages.CodeOf(err) != messages.CodeDenied {
			t.Fatal(err)
		}
		return strings.TrimPrefix(digest, digestPrefix)
	}
	partials := func() (names []string) {
		entries, err := os.ReadDir(filepath.Join(dir, "models", partialDir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	has := func(key string) bool { return strings.Contains(strings.Join(partials(), " "), key) }
	count := func() int { return strings.Count(strings.Join(said, "\n"), "m.gguf was replaced at its source") }

	first := begin("test:m", 1)
	again := begin("test:m", 1)
	if first != again || !has(first) || count() != 0 {
		t.Fatalf("the same file: %v, said %q", partials(), said)
	}
	second := begin("test:m", 2)
	if has(first) || !has(second) || count() != 1 {
		t.Errorf("another file: %v, said %q", partials(), said)
	}
	other := begin("test:other", 3)
	if !has(second) || !has(other) || count() != 1 {
		t.Errorf("of another reference: %v, said %q", partials(), said)
	}
	// What another reference stands for, too, stays; what a link leads to is not touched.
	begin("test:same", 3)
	begin("test:other", 4)
	if !has(other) || count() != 1 {
		t.Errorf("another reference needs it: %v, said %q", partials(), said)
	}
	if err := os.RemoveAll(filepath.Join(dir, "models", partialDir, second)); err != nil {
		t.Fatal(err)
	}
	away := t.TempDir()
	kept := write(t, filepath.Join(away, "data"), []byte("mine"))
	if err := os.Symlink(away, filepath.Join(dir, "models", partialDir, second)); err != nil {
		t.Fatal(err)
	}
	begin("test:m", 5)
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "models", partialDir, second)); err != nil {
		t.Fatal(err)
	}
	// Notes are gone with what they are of.
	c := at(dir)
	if _, err := c.GC(t.Context(), true, true); err != nil || len(partials()) < 4 {
		t.Errorf("a dry run leaves %v, %v", partials(), err)
	}
	if _, err := c.GC(t.Context(), false, true); err != nil || len(partials()) != 0 {
		t.Errorf("gc leaves %v, %v", partials(), err)
	}
	content := weights(2, 6<<20)
	pull(t, at(dir, shelf{one("m", digestOfBytes(content), int64(len(content))), giving(content)}), Pull{Ref: "test:m"})
	if len(partials()) != 0 {
		t.Errorf("a pull leaves %v", partials())
	}
}

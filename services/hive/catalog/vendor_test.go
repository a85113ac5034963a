package catalog

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

// download is a vendor as a later one that fetches may be.
type download struct {
	artifact Artifact
	fetch    func(ctx context.Context, path string) error
}

func (download) Name() string             { return "test" }
func (download) Supports(ref string) bool { return strings.HasPrefix(ref, "test:") }
func (download) Forms() []string          { return []string{"test:<any>"} }
func (download) Offers() []string         { return nil }
func (d download) Resolve(context.Context, string) (Artifact, error) {
	return d.artifact, nil
}
func (d download) Fetch(ctx context.Context, _ Artifact, path string, _ func(Step)) error {
	return d.fetch(ctx, path)
}

func TestFetchedFileIsChecked(t *testing.T) {
	bee := func(_ context.Context, path string) error { return bees.WriteFile(path, bees.Tiny) }
	sum, _, err := bees.Digest(bees.Tiny)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		digest string
		fetch  func(context.Context, string) error
		want   messages.Code
	}{
		"good":         {"sha256:" + sum, bee, ""},
		"no digest":    {"", bee, ""},
		"other digest": {"sha256:00", bee, messages.CodeBadModel},
		"garbage": {"", func(_ context.Context, path string) error {
			return os.WriteFile(path, []byte("garbage garbage garbage garbage"), 0o600)
		}, messages.CodeBadModel},
		"fails":    {"", func(context.Context, string) error { return fs.ErrInvalid }, messages.CodeInternal},
		"no file":  {"", func(context.Context, string) error { return nil }, messages.CodeInternal},
		"canceled": {"", func(context.Context, string) error { return context.Canceled }, messages.CodeCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			for _, id := range []string{"plain", "../../../evil", "/etc/evil", "..", "A b\\c:d", strings.Repeat("long", 100), "nul"} {
				dir := t.TempDir()
				data := filepath.Join(dir, "data")
				c := New(data, download{Artifact{ID: id, Digest: tc.digest}, tc.fetch})
				m, err := c.Resolve(t.Context(), "test:x", nil)
				if messages.CodeOf(err) != tc.want {
					t.Fatalf("%s: got %v, want code %q", id, err, tc.want)
				}
				if all, _ := os.ReadDir(dir); len(all) != 1 {
					t.Fatalf("%s: outside the data directory: %v", id, all)
				}
				if tc.want == "" && (m.ID != id || !slices.Equal(ids(c.List()), []string{id})) {
					t.Fatalf("%s: %+v, list %q", id, m, ids(c.List()))
				}
				if tc.want != "" && len(c.manifests()) != 0 {
					t.Fatalf("%s: registered", id)
				}
			}
		})
	}
}

func TestConcurrentResolveFetchesOnce(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	fetched := 0
	v := download{Artifact{ID: "m"}, func(_ context.Context, path string) error {
		mu.Lock()
		fetched++
		mu.Unlock()
		return bees.WriteFile(path, bees.Tiny)
	}}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() { // each with locks of its own, as processes have
			if _, err := New(dir, v).Resolve(t.Context(), "test:"+string(rune('a'+i)), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m, err := New(dir, v).Find("m")
	if err != nil || fetched != 1 || len(m.Refs) != 6 {
		t.Fatalf("fetched %d times, %+v, %v", fetched, m, err)
	}
}

func TestNeeded(t *testing.T) {
	m := resolve(t, New(t.TempDir()), "builtin:bee-random")
	h, err := gguf.OpenHeader(m.Path)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ ctx, slots, wantCtx, wantSlots int }{
		"given":    {512, 2, 512, 2},
		"defaults": {0, 0, 4096, messages.DefaultSlots},
	} {
		t.Run(name, func(t *testing.T) {
			got, sum, err := Needed(m, tc.ctx, tc.slots)
			want := uint64(m.SizeBytes) + h.KVBytes(tc.wantCtx, tc.wantSlots, true)
			if err != nil || got != want || got <= uint64(m.SizeBytes) || !strings.Contains(sum, "tokens") {
				t.Fatalf("%d, %q, %v; want %d", got, sum, err, want)
			}
			t.Log(sum)
		})
	}
	_, _, err = Needed(messages.Model{Path: "/nowhere.gguf"}, 0, 0)
	wantError(t, err, messages.CodeBadModel, "/nowhere.gguf")
}

func FuzzFolder(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a/b", "builtin:bee-tiny", "\x00", "é", "A", "a."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		got := folder(id)
		if !filepath.IsLocal(got) || filepath.Base(got) != got || len(got) > 120 || strings.HasPrefix(got, ".") ||
			strings.ToLower(got) != got || (got == id) == strings.Contains(got, "@") {
			t.Fatalf("%q gives %q", id, got)
		}
	})
}

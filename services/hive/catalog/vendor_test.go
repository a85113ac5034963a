package catalog

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// shelf is a vendor with one artifact for every reference "test:…".
type shelf struct {
	artifact vendor.Artifact
	fetch    func(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error)
}

func (shelf) Name() string             { return "test" }
func (shelf) Supports(ref string) bool { return strings.HasPrefix(ref, "test:") }
func (shelf) Forms() []string          { return []string{"test:<any>"} }
func (s shelf) Resolve(context.Context, string) (*vendor.Artifact, error) {
	a := s.artifact
	a.Files = slices.Clone(a.Files)
	return &a, nil
}
func (s shelf) Fetch(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	return s.fetch(ctx, f, r)
}

// beeBytes is bee-tiny and its digest.
func beeBytes(t *testing.T) ([]byte, string) {
	t.Helper()
	var b bytes.Buffer
	if err := bees.Write(&b, bees.Tiny); err != nil {
		t.Fatal(err)
	}
	sum, _, err := bees.Digest(bees.Tiny)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), digestPrefix + sum
}

// giving fetches ranges of content.
func giving(content []byte) func(context.Context, *vendor.File, vendor.Range) (*vendor.Body, error) {
	return func(_ context.Context, _ *vendor.File, r vendor.Range) (*vendor.Body, error) {
		to := int64(len(content))
		if r.To >= 0 {
			to = min(to, r.To)
		}
		return &vendor.Body{ReadCloser: io.NopCloser(bytes.NewReader(content[r.From:to])), From: r.From, SizeBytes: int64(len(content))}, nil
	}
}

// one is an artifact of one file.
func one(name, digest string, size int64) vendor.Artifact {
	return vendor.Artifact{Name: name, Files: []vendor.File{{Name: "m.gguf", Kind: vendor.Model, SizeBytes: size, Digest: digest, Source: "m"}}}
}

func TestFetchedFileIsChecked(t *testing.T) {
	bee, sum := beeBytes(t)
	failing := func(err error) func(context.Context, *vendor.File, vendor.Range) (*vendor.Body, error) {
		return func(context.Context, *vendor.File, vendor.Range) (*vendor.Body, error) { return nil, err }
	}
	for name, tc := range map[string]struct {
		digest string
		size   int64
		fetch  func(context.Context, *vendor.File, vendor.Range) (*vendor.Body, error)
		want   messages.Code
	}{
		"good":             {sum, int64(len(bee)), giving(bee), ""},
		"no digest":        {"", int64(len(bee)), giving(bee), ""},
		"no size":          {sum, -1, giving(bee), ""},
		"other digest":     {digestPrefix + strings.Repeat("0", 64), int64(len(bee)), giving(bee), messages.CodeBadModel},
		"no digest's form": {"sha256:../../evil", int64(len(bee)), giving(bee), messages.CodeBadModel},
		"garbage":          {"", 31, giving([]byte("garbage garbage garbage garbage")), messages.CodeBadModel},
		"fails":            {"", -1, failing(fs.ErrInvalid), messages.CodeInternal},
		"canceled":         {"", -1, failing(context.Canceled), messages.CodeCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			for _, id := range []string{"plain", "../../../evil", "..", strings.Repeat("long", 60), "nul", "org/repo:Q4", "blobs", "partial"} {
				dir := t.TempDir()
				data := filepath.Join(dir, "data")
				c := at(data, shelf{one(id, tc.digest, tc.size), tc.fetch})
				m, err := c.Resolve(t.Context(), "test:x", Watcher{})
				if messages.CodeOf(err) != tc.want {
					t.Fatalf("%s: got %v, want code %q", id, err, tc.want)
				}
				if all, _ := os.ReadDir(dir); len(all) != 1 {
					t.Fatalf("%s: outside the data directory: %v", id, all)
				}
				if tc.want == "" && (m.ID != id || m.Digest != sum || !slices.Equal(ids(c.List()), []string{id})) {
					t.Fatalf("%s: %+v, list %q", id, m, ids(c.List()))
				}
				if tc.want != "" && len(c.manifests()) != 0 {
					t.Fatalf("%s: registered", id)
				}
			}
		})
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	bee, sum := beeBytes(t)
	for _, id := range []string{"", "/etc/evil", "A b", `a\b`, "a\x00b", "a\nb", "-rf", strings.Repeat("long", 100), "\xff", "a\u202eb"} {
		c := at(t.TempDir(), shelf{one(id, sum, int64(len(bee))), giving(bee)})
		_, err := c.Resolve(t.Context(), "test:x", Watcher{})
		wantError(t, err, messages.CodeBadRequest, "--name")
		if m, err := c.Pull(t.Context(), Pull{Ref: "test:x", Name: "mine"}, Watcher{}); err != nil || m.ID != "mine" {
			t.Errorf("%q with a name of its own: %+v, %v", id, m, err)
		}
	}
}

func TestConcurrentResolveFetchesOnce(t *testing.T) {
	dir := t.TempDir()
	bee, sum := beeBytes(t)
	var fetched atomic.Int64
	v := shelf{one("m", sum, int64(len(bee))), func(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
		to := int64(len(bee))
		if r.To >= 0 {
			to = min(to, r.To)
		}
		fetched.Add(to - r.From)
		return giving(bee)(ctx, f, r)
	}}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { // each with locks of its own, as processes have
			if _, err := at(dir, v).Resolve(t.Context(), "test:"+string(rune('a'+i)), Watcher{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m, err := at(dir, v).Find("m")
	if err != nil || fetched.Load() != int64(len(bee)) || len(m.Refs) != 8 {
		t.Fatalf("fetched %d of %d bytes, %+v, %v", fetched.Load(), len(bee), m, err)
	}
}

func FuzzFolder(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a/b", "builtin:bee-tiny", "\x00", "é", "A", "a.", "nul", "com1.x", "blobs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		got := folder(id)
		if !filepath.IsLocal(got) || filepath.Base(got) != got || len(got) > 120 || strings.HasPrefix(got, ".") ||
			strings.ToLower(got) != got || (got == id) == strings.Contains(got, "@") || got == blobsDir || got == partialDir {
			t.Fatalf("%q gives %q", id, got)
		}
	})
}

// What is wrong because others gave wrong bytes is fetched once more, and once only.
func TestFetchedAgain(t *testing.T) {
	bee, sum := beeBytes(t)
	wrong := bytes.Clone(bee)
	wrong[len(wrong)-1] ^= 1
	for name, tc := range map[string]struct {
		gives [][]byte // by the tries
		again bool
		want  messages.Code
		tries int
	}{
		"right at once":  {[][]byte{bee}, false, "", 1},
		"then right":     {[][]byte{wrong, bee}, true, "", 2},
		"wrong for good": {[][]byte{wrong, wrong}, true, messages.CodeBadModel, 2},
		"its own fault":  {[][]byte{wrong, bee}, false, messages.CodeBadModel, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			around := func(_ context.Context, _ Wanted, _ download.Source) (download.Source, func(error) bool) {
				gives := giving(tc.gives[min(tries, len(tc.gives)-1)])
				tries++
				return func(ctx context.Context, r vendor.Range) (*vendor.Body, error) { return gives(ctx, nil, r) }, func(error) bool { return tc.again }
			}
			c := New(Config{DataDir: t.TempDir(), Around: around, Vendors: []vendor.Vendor{shelf{artifact: one("m", sum, int64(len(bee)))}}})
			_, err := c.Resolve(t.Context(), "test:m", Watcher{})
			if messages.CodeOf(err) != tc.want && (err != nil || tc.want != "") || tries != tc.tries {
				t.Errorf("%v after %d tries", err, tries)
			}
		})
	}
}

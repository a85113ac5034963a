package catalog

import (
	"context"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// speller is a shelf that takes "TEST:" and "/" behind a reference, too; told to be offline it says so.
type speller struct {
	shelf
	offline bool
}

func (speller) Supports(ref string) bool { return strings.HasPrefix(strings.ToLower(ref), "test:") }
func (speller) Spell(ref string) string {
	return strings.ReplaceAll(strings.TrimSuffix(strings.ToLower(ref), "/"), "!", "@")
}
func (s speller) Resolve(ctx context.Context, ref string) (*vendor.Artifact, error) {
	if s.offline {
		return nil, messages.Errorf(messages.CodeUnavailable, "test", "%w", vendor.ErrOffline)
	}
	return s.shelf.Resolve(ctx, ref)
}

// What is here is found by every way to write its reference, and is what a pull gives where the vendor may not be asked.
func TestSpelling(t *testing.T) {
	bee, sum := beeBytes(t)
	dir := t.TempDir()
	artifact := one("m", sum, int64(len(bee)))
	artifact.Ref, artifact.Quantization = "test:m@1", "UD-Q4_K_XL"
	v := speller{shelf: shelf{artifact, giving(bee)}}
	m := pull(t, at(dir, v, builtin{}), Pull{Ref: "test:m"})
	if m.Quantization != artifact.Quantization {
		t.Errorf("quantization %s, the source says %s", m.Quantization, artifact.Quantization)
	}
	v.offline = true
	c := at(dir, v, builtin{})
	for ref, found := range map[string]bool{"test:m": true, "TEST:M": true, "Test:m/": true, "test:m@1": true, "TEST:m@1": true, "test:n": false, "test:m@2": false, "": false} {
		if _, err := c.Find(ref); (err == nil) != found {
			t.Errorf("%q: %v", ref, err)
		}
		if ref == "" {
			continue
		}
		_, err := c.Pull(t.Context(), Pull{Ref: ref}, Watcher{})
		if found && err != nil || !found && messages.CodeOf(err) != messages.CodeUnavailable {
			t.Errorf("pull %q: %v", ref, err)
		}
	}
	// A revision that is named in another way than by @ is one revision, too.
	for ref, want := range map[string]bool{"test:m": false, "test:m@1": true, "test:m!1": true, "hf:o/r": false, "https://h/m.gguf": false} {
		if got := c.pinned(ref); got != want {
			t.Errorf("%s is pinned: %v", ref, got)
		}
	}
	v.offline = false
	_, err := at(dir, v, builtin{}).Pull(t.Context(), Pull{Ref: "test:other", Name: "builtin:bee-tiny"}, Watcher{})
	wantError(t, err, messages.CodeConflict, "builtin:bee-tiny", "--name")
}

package llamacpp

import (
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
)

// TestRestoredWindowIsNotCutBack: a saved state of a model with sliding layers has only the last
// tokens of these, so a slot that was restored from it cannot serve an earlier place.
func TestRestoredWindowIsNotCutBack(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Window), Slots: 1, ContextLength: 512})
	b := newBare(t, e)
	prompt := func(first, n int) (out []int32) {
		for i := range n {
			out = append(out, int32(4+(first*37+i*11)%500))
		}
		return out
	}
	long := prompt(1, 200)
	restored := false
	for i, a := range []ask{
		{prompt: long, tokens: 1},
		{prompt: prompt(2, 200), tokens: 4},                          // the first is saved
		{prompt: append(long[:200:200], prompt(3, 9)...), tokens: 4}, // and comes back
		{prompt: append(long[:120:120], prompt(4, 9)...), tokens: 12},
		{prompt: long[:100], tokens: 12},
	} {
		got, _, kept := a.run(t, e)
		if want := b.expected(a, false); got != want {
			t.Errorf("request %d, %d tokens kept: %q, want %q", i, kept, got, want)
		}
		restored = restored || i == 2 && kept == 200
	}
	if !restored {
		t.Error("nothing was restored: the test tests nothing")
	}
}

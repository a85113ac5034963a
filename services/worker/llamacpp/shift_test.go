package llamacpp

import (
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/worker/completion"
)

// TestShiftedCellsAreForgotten asks for just what a shifted slot holds: its cells were computed while
// the dropped ones were still there, so they must not serve a prompt that never had those.
func TestShiftedCellsAreForgotten(t *testing.T) {
	const context = 256
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: context, ContextShift: true})
	b := newBare(t, e)
	tried := 0
	for i := range int64(8) {
		first := ask{prompt: []int32{40, int32(50 + i), 60}, seed: i, heat: 0.8, tokens: context + 20}
		p, err := completion.Parse("completion", first.request().Body)
		if err != nil {
			t.Fatal(err)
		}
		out, _ := b.generate([]llama.Token{40, llama.Token(50 + i), 60}, &p.Sampling, foldSeed(&first.seed, 0), first.tokens, true)
		if len(out) < first.tokens {
			continue // it ended before the shift
		}
		tried++
		if _, _, kept := first.run(t, e); kept > 1 {
			t.Logf("%d kept of the prompt", kept)
		}
		cells := append([]int32{}, first.prompt...)
		for _, tok := range out[:context-len(first.prompt)] {
			cells = append(cells, int32(tok))
		}
		cells = append(cells[:shiftKeeps], cells[shiftKeeps+(context-shiftKeeps)/2:]...)
		second := ask{prompt: cells, seed: i, tokens: 20}
		got, _, kept := second.run(t, e)
		if want := b.expected(second, true); got != want || kept > shiftKeeps {
			t.Errorf("%d tokens of a shifted slot were kept:\n got %q\nwant %q", kept, got, want)
		}
	}
	if tried == 0 {
		t.Error("no answer was long enough")
	}
}

package llamacpp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/engine"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

// schedules is how many a test runs: RBEE_SCHEDULES, or a few.
func schedules(few int) int {
	if n, err := strconv.Atoi(os.Getenv("RBEE_SCHEDULES")); err == nil {
		return n
	}
	return few
}

// ask is one request of a schedule.
type ask struct {
	prompt []int32
	seed   int64
	heat   float64 // temperature
	tokens int
	leave  int // cancelled after so many objects; 0: stays
}

// key is the same for asks with the same answer.
func (a ask) key() string { return fmt.Sprint(a.prompt, a.seed, a.heat, a.tokens) }

// asks makes the requests of one schedule: chats that begin alike, go on where others ended, and
// end early.
func asks(r *rand.Rand, vocab, longest int) []ask {
	token := func() int32 { return int32(4 + r.IntN(vocab-4)) }
	var stems [][]int32
	for range 3 {
		stem := make([]int32, 1+r.IntN(longest/2))
		for i := range stem {
			stem[i] = token()
		}
		stems = append(stems, stem)
	}
	var out []ask
	for range 4 + r.IntN(8) {
		prompt := append([]int32(nil), stems[r.IntN(len(stems))]...)
		if len(out) > 0 && r.IntN(3) == 0 {
			prompt = append([]int32(nil), out[r.IntN(len(out))].prompt...)
		}
		prompt = prompt[:len(prompt)-r.IntN(min(len(prompt), 9))]
		for range r.IntN(40) {
			prompt = append(prompt, token())
		}
		prompt = prompt[:min(len(prompt), longest)]
		a := ask{prompt: prompt, seed: r.Int64N(5), tokens: 1 + r.IntN(24)}
		if r.IntN(2) == 0 {
			a.heat = 0.8
		}
		if r.IntN(4) == 0 {
			a.leave = 1 + r.IntN(8)
		}
		out = append(out, a)
	}
	return out
}

func (a ask) request() engine.Request {
	body, _ := json.Marshal(map[string]any{"prompt": a.prompt, "seed": a.seed, "temperature": a.heat, "max_tokens": a.tokens})
	return engine.Request{ID: "r", Model: "m", Task: "completion", Stream: true, Body: body}
}

// expected asks the bare loop.
func (b *bare) expected(a ask, shift bool) string {
	p, err := completion.Parse("completion", a.request().Body)
	if err != nil {
		b.t.Fatal(err)
	}
	prompt := make([]llama.Token, len(a.prompt))
	for i, t := range a.prompt {
		prompt[i] = llama.Token(t)
	}
	out, reason := b.generate(prompt, &p.Sampling, foldSeed(&a.seed, 0), a.tokens, shift)
	return fmt.Sprintf("%s|%s|%d", b.text(out), reason, len(out))
}

// run asks the engine, and leaves early if the ask says so. ok is false for an answer that was left.
func (a ask) run(t *testing.T, e *Engine) (text string, ok bool, cached int) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, got := 0, ""
	u, err := e.Infer(ctx, a.request(), func(raw []byte) error {
		var o enginetest.Object
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		for _, c := range o.Choices {
			got += c.Text
			if c.Finish != nil {
				got += "|" + *c.Finish
			}
		}
		if n++; n == a.leave {
			cancel()
		}
		return nil
	})
	if errors.Is(err, context.Canceled) && a.leave > 0 {
		return got, false, u.CachedTokens
	}
	if err != nil {
		t.Errorf("%v: %v", a.key(), err)
		return got, false, 0
	}
	return fmt.Sprintf("%s|%d", got, u.CompletionTokens), true, u.CachedTokens
}

// TestSchedules is the test of the decode loop. Whatever joins, leaves, shares a beginning, comes
// back, was saved, copied or shifted: an answer is the one of the bare loop, which reads each prompt
// from its beginning, alone.
func TestSchedules(t *testing.T) {
	for _, model := range []string{bees.Random, bees.Qwen, bees.Window, bees.Hybrid} {
		for _, shift := range []bool{false, true} {
			if shift && model == bees.Hybrid { // its state cannot be shifted
				continue
			}
			t.Run(fmt.Sprintf("%s, shift %t", model, shift), func(t *testing.T) { runSchedules(t, model, shift) })
		}
	}
}

func runSchedules(t *testing.T, model string, shift bool) {
	const slotTokens, slots = 256, 3
	e := loaded(t, Config{ModelPath: bee(t, model), Slots: slots, ContextLength: slotTokens, ContextShift: shift, CacheBytes: 12 << 20})
	b := newBare(t, e)
	known := map[string]string{}
	total, changed, cached, left := 0, 0, 0, 0
	for n := range schedules(12) {
		r := rand.New(rand.NewPCG(uint64(n), 9))
		all := asks(r, 512, slotTokens-8)
		if shift { // some outgrow the slot
			for i := range all {
				all[i].tokens *= 1 + 7*r.IntN(2)
			}
		}
		for _, a := range all {
			if _, ok := known[a.key()]; !ok {
				known[a.key()] = b.expected(a, shift)
			}
		}
		free := make(chan struct{}, slots)
		var wg sync.WaitGroup
		var mu sync.Mutex
		for _, a := range all {
			free <- struct{}{}
			wg.Go(func() {
				defer func() { <-free }()
				got, whole, kept := a.run(t, e)
				want := known[a.key()]
				mu.Lock()
				defer mu.Unlock()
				total++
				if kept > 0 {
					cached++
				}
				if !whole {
					left++
				}
				if whole && got != want || !whole && !strings.HasPrefix(want, got) {
					changed++
					t.Logf("schedule %d, %d tokens of prompt, %d kept:\n got %q\nwant %q", n, len(a.prompt), kept, got, want)
				}
			})
		}
		wg.Wait()
	}
	t.Logf("%d answers, %d left early, %d with a prompt that was partly kept", total, left, cached)
	if changed > 0 {
		t.Errorf("%d of %d answers are not those of the bare loop", changed, total)
	}
	if cached == 0 && model != bees.Hybrid || left == 0 {
		t.Errorf("%d answers, of which %d kept something and %d left: the test tests nothing", total, cached, left)
	}
	if used := e.Stats().SlotsUsed; used != 0 {
		t.Errorf("%d slots are still used", used)
	}
}

// TestBareLoop compares with llama.cpp's simplest loop: 200 prompts, greedy and seeded.
func TestBareLoop(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: 512})
	b := newBare(t, e)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 200 {
		a := ask{prompt: make([]int32, 1+r.IntN(60)), seed: int64(i), tokens: 24}
		for k := range a.prompt {
			a.prompt[k] = int32(4 + r.IntN(508))
		}
		for _, a.heat = range []float64{0, 1} {
			if got, _, _ := a.run(t, e); got != b.expected(a, false) {
				t.Errorf("prompt %d at temperature %g: %q, want %q", i, a.heat, got, b.expected(a, false))
			}
		}
	}
}

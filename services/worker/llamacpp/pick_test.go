package llamacpp

import (
	"math/rand/v2"
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"
)

// numbers are n tokens from a first one on.
func numbers(first, n int) []llama.Token {
	out := make([]llama.Token, n)
	for i := range out {
		out[i] = llama.Token(first + i)
	}
	return out
}

func TestPickSlot(t *testing.T) {
	long, other := numbers(0, 400), numbers(5000, 400)
	free := func(cells []llama.Token, used uint64) holding {
		return holding{free: true, cells: cells, soon: cells, used: used}
	}
	busy := func(cells, soon []llama.Token) holding { return holding{cells: cells, soon: soon, used: 99} }
	for name, tc := range map[string]struct {
		slots  []holding
		prompt []llama.Token
		saved  int
		want   pick
	}{
		"an empty engine":                         {[]holding{free(nil, 0), free(nil, 0)}, long, 0, pick{slot: 0, from: -1}},
		"a chat goes on in its slot":              {[]holding{free(other, 1), free(long[:300], 2)}, long, 0, pick{slot: 1, keep: 300, from: -1}},
		"the last token is read again":            {[]holding{free(long, 1)}, long, 0, pick{slot: 0, keep: 399, from: -1}},
		"the same question once more":             {[]holding{free(append(numbers(0, 300), other...)[:340], 1)}, long[:300], 0, pick{slot: 0, keep: 299, from: -1}},
		"another's chat is not taken":             {[]holding{free(long, 2), free(nil, 0)}, long[:50], 0, pick{slot: 1, from: -1}},
		"but its beginning is copied":             {[]holding{free(long, 2), free(nil, 0)}, append(numbers(0, 100), other...), 0, pick{slot: 1, copied: 100, from: 0}},
		"the longest unused is taken":             {[]holding{free(other, 3), free(numbers(9000, 80), 1)}, long, 0, pick{slot: 1, from: -1}},
		"a busy slot's prompt is copied":          {[]holding{busy(long[:10], long[:300]), free(nil, 0)}, long, 0, pick{slot: 1, copied: 300, from: 0}},
		"a few tokens are not worth it":           {[]holding{busy(long[:40], long[:40]), free(nil, 0)}, long, 0, pick{slot: 1, from: -1}},
		"a saved chat comes back":                 {[]holding{free(other, 1), free(other[:100], 2)}, long, 350, pick{slot: 0, saved: 350, from: -1}},
		"what is saved is less than what is kept": {[]holding{free(long[:300], 1)}, long, 310, pick{slot: 0, keep: 300, from: -1}},
		"saved or copied, whichever is more":      {[]holding{busy(long[:300], long[:300]), free(nil, 0)}, long, 200, pick{slot: 1, copied: 300, from: 0}},
		"a slot is not copied to itself":          {[]holding{free(long, 1)}, append(numbers(0, 100), other...), 0, pick{slot: 0, keep: 100, from: -1}},
	} {
		if got := pickSlot(tc.slots, tc.prompt, tc.saved); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

// TestPickKeepsItsPromises: whatever the slots hold, the pick is a free slot, takes only what is
// there, and leaves a token to be read.
func TestPickKeepsItsPromises(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	some := func() []llama.Token {
		cells := numbers(1000*r.IntN(2), r.IntN(300))
		for range r.IntN(2) {
			cells = append(cells, numbers(7000, r.IntN(200))...)
		}
		return cells
	}
	for range 50_000 {
		slots := make([]holding, 1+r.IntN(5))
		for i := range slots {
			cells := some()
			slots[i] = holding{free: r.IntN(2) == 0, cells: cells, soon: cells, used: uint64(r.IntN(9))}
			if !slots[i].free {
				slots[i].soon = append(cells[:len(cells):len(cells)], some()...)
			}
		}
		slots[r.IntN(len(slots))].free = true
		prompt := append(some(), 1)
		saved := r.IntN(len(prompt) + 1)
		p := pickSlot(slots, prompt, saved)
		s := slots[p.slot]
		switch {
		case !s.free:
			t.Fatalf("slot %d is not free", p.slot)
		case p.reused() >= len(prompt):
			t.Fatalf("%+v of a prompt of %d leaves nothing to read", p, len(prompt))
		case p.keep > shared(s.cells, prompt) || p.saved > saved:
			t.Fatalf("%+v keeps what is not there", p)
		case p.copied > 0 && (p.from == p.slot || p.copied > shared(slots[p.from].soon, prompt)):
			t.Fatalf("%+v copies what is not there", p)
		case p.copied > 0 && p.keep > 0, p.saved > 0 && p.keep > 0, p.saved > 0 && p.copied > 0:
			t.Fatalf("%+v is two things at once", p)
		}
	}
}

func TestSavedStates(t *testing.T) {
	s := savedStates{limit: 1000}
	state := func(first, n, size int) savedState {
		return savedState{tokens: numbers(first, n), data: make([]byte, size-4*n)}
	}
	s.put(state(0, 50, 400))
	s.put(state(500, 50, 400))
	if i, n := s.find(numbers(0, 30), false); n != 30 || s.list[i].tokens[0] != 0 {
		t.Errorf("found %d tokens at %d", n, i)
	}
	if i, _ := s.find(numbers(0, 30), true); i >= 0 {
		t.Error("a state is offered that would have to be cut back")
	}
	if i, n := s.find(numbers(0, 60), true); i != 0 || n != 50 {
		t.Errorf("a whole state is not offered: %d tokens at %d", n, i)
	}
	s.take(0)                  // the first is the last used now
	s.put(state(900, 50, 400)) // so the second goes
	if _, n := s.find(numbers(500, 50), false); n != 0 || s.bytes != 800 || len(s.list) != 2 {
		t.Errorf("the longest unused is still there, %d bytes in %d states", s.bytes, len(s.list))
	}
	s.put(state(0, 60, 500)) // goes on where the first ended
	if _, n := s.find(numbers(0, 100), false); n != 60 || s.bytes != 900 || len(s.list) != 2 {
		t.Errorf("%d tokens, %d bytes in %d states: a beginning was not replaced", n, s.bytes, len(s.list))
	}
	if !s.has(numbers(0, 40)) || s.has(numbers(0, 61)) {
		t.Error("has is wrong")
	}
	s.put(state(0, 70, 2000)) // more than there may be
	if s.bytes > s.limit {
		t.Errorf("%d bytes of %d", s.bytes, s.limit)
	}
}

func TestPace(t *testing.T) {
	var p pace
	if p.chunk(true) != firstChunk {
		t.Errorf("a step of %d tokens before anything is known", p.chunk(true))
	}
	p.took(100*mixedStep, 1) // a step with next to no prompt says nothing
	if p.chunk(true) != firstChunk {
		t.Error("learned from a step without a prompt")
	}
	for range 20 {
		p.took(mixedStep, 64) // so many in the time that a step may take
	}
	if n := p.chunk(true); n != 64 {
		t.Errorf("%d tokens beside others, want 64", n)
	}
	if n := p.chunk(false); n < 64*int(loneStep/mixedStep) {
		t.Errorf("%d tokens alone, want %d", n, chunkTokens)
	}
	for range 40 {
		p.took(mixedStep/4, 0) // what others take of each step
	}
	for range 40 {
		p.took(mixedStep, 64)
	}
	if n := p.chunk(true); n < 63 || n > 65 {
		t.Errorf("%d tokens beside others that take a fourth, want 64", n)
	}
	for range 40 {
		p.took(1000*mixedStep, 64)
	}
	if n := p.chunk(true); n != leastChunk {
		t.Errorf("%d tokens on a slow machine, want %d", n, leastChunk)
	}
}

package llamacpp

import "github.com/hybridgroup/yzma/pkg/llama"

// leastReuse is the fewest tokens that are worth copying, or saving, a slot's context for.
const leastReuse = 64

// holding is what a slot has in its cells, for [pickSlot].
type holding struct {
	free bool
	// cells are the tokens that the slot's context holds, and soon those it will hold when the prompt
	// that it reads is read; the same unless the slot reads one.
	cells, soon []llama.Token
	used        uint64 // a clock of requests: when the slot was last used
}

// pick is where a request goes.
type pick struct {
	slot int
	// keep is how many of the slot's own cells stay; or
	keep int
	// copied is how many come from another slot, from, that may still read them; or
	copied, from int
	// saved is how many come from a saved state.
	saved int
}

// reused is how many tokens of the prompt need not be read.
func (p pick) reused() int { return max(p.keep, p.copied, p.saved) }

// pickSlot chooses a free slot for a prompt, of which saved tokens are the beginning of a saved
// state. At least one slot must be free.
//
// The slot that shares the longest beginning is taken if the request goes on where that slot ended,
// or uses at least half of what it holds. Else its context belongs to another chat, which may come
// back: the request takes the slot that was not used for longest, and gets the beginning from a
// saved state or a copy where that is worth it.
func pickSlot(slots []holding, prompt []llama.Token, saved int) pick {
	room := len(prompt) - 1 // the last token is always read: what follows it is wanted
	best, oldest, from := pick{slot: -1}, -1, pick{from: -1}
	for i, s := range slots {
		n := min(shared(s.cells, prompt), room)
		if s.free {
			if best.slot < 0 || n > best.keep {
				best = pick{slot: i, keep: n}
			}
			if oldest < 0 || older(s, slots[oldest]) {
				oldest = i
			}
		}
		if m := min(shared(s.soon, prompt), room); m > from.copied {
			from = pick{copied: m, from: i}
		}
	}
	saved = min(saved, room)
	if saved < leastReuse {
		saved = 0
	}
	held := len(slots[best.slot].cells)
	own := 2*best.keep >= held // also when it holds nothing
	if own && best.keep+leastReuse > max(saved, from.copied) {
		best.from = -1
		return best
	}
	out := pick{slot: oldest, keep: min(shared(slots[oldest].cells, prompt), room), from: -1}
	switch {
	case saved >= from.copied && saved >= out.keep+leastReuse:
		out.keep, out.saved = 0, saved
	case from.from != oldest && from.copied >= leastReuse && from.copied >= out.keep+leastReuse:
		out.keep, out.copied, out.from = 0, from.copied, from.from
	}
	return out
}

// older says whether a was used before b; an empty slot is the oldest.
func older(a, b holding) bool {
	if (len(a.cells) == 0) != (len(b.cells) == 0) {
		return len(a.cells) == 0
	}
	return a.used < b.used
}

// shared is how many tokens a and b begin with in common.
func shared(a, b []llama.Token) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

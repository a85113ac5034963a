package catalog

import (
	"fmt"
	"math"

	"github.com/rbee-project/rbee/messages"
)

// defaultContext is the most tokens a slot has unless more are asked for.
const defaultContext = 4096

// Needed is how many bytes of device memory a worker with this model takes at least: its file and
// the attention cache of slots conversations of ctx tokens each. ctx 0 is the trained length, at
// most 4096; slots 0 is [messages.DefaultSlots]. sum is the same as a text for people. It reads the
// file's header; the error is [messages.CodeBadModel].
//
// What an engine needs besides, for its compute buffers, is not in it: some 100 MB to 1 GB.
func Needed(m messages.Model, ctx, slots int) (bytes uint64, sum string, err error) {
	h, err := openHeader(m.Path)
	if err != nil {
		return 0, "", err
	}
	if ctx <= 0 {
		ctx = defaultContext
		if h.ContextLength > 0 {
			ctx = min(ctx, h.ContextLength)
		}
	}
	if slots <= 0 {
		slots = messages.DefaultSlots
	}
	// A model whose tensors are all F32 runs with an F32 cache.
	kv := h.KVBytes(ctx, slots, h.AllF32())
	bytes = h.size + kv
	if bytes < kv {
		bytes = math.MaxUint64
	}
	sum = fmt.Sprintf("model %s + cache %s (%d slots x %d tokens) = %s", size(h.size), size(kv), slots, ctx, size(bytes))
	return bytes, sum, nil
}

// size is n bytes for people, in powers of 1024.
func size(n uint64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1<<10-1)>>10)
	}
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

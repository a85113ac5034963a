package plan

import (
	"fmt"
	"math"
	"strings"
)

// Sum is what a worker with a model takes when it has been at work, in bytes of resident memory.
type Sum struct {
	// Weights are the model's tensors. On a CPU they are mapped from the file: workers of one model share
	// them, and the kernel may drop what is not in use.
	Weights uint64 `json:"weights_bytes" msgpack:"weights_bytes"`
	// Copied are the weights that llama.cpp's CPU engine keeps a second time in an order of its own: those
	// of the types Q4_0, Q4_K, IQ4_NL and some more, by the processor. The first copy is not read any more.
	Copied uint64 `json:"copied_bytes,omitempty" msgpack:"copied_bytes,omitempty"`
	// KVCache is the attention cache of all slots and, where a model has such, its recurrent state. It is
	// there from the start, before anybody asks anything.
	KVCache uint64 `json:"kv_cache_bytes" msgpack:"kv_cache_bytes"`
	// Compute is for the results between layers of the largest step, and for the answers' logits.
	Compute uint64 `json:"compute_bytes" msgpack:"compute_bytes"`
	// Base is the process itself: program and libraries, the vocabulary, the requests of all slots. Contexts
	// of chats that lost their slot (rbee-worker's --cache-ram, 1 GiB unless said otherwise) come on top.
	Base uint64 `json:"base_bytes" msgpack:"base_bytes"`
	// ContextLength in tokens a slot and Slots are what it was computed for.
	ContextLength int `json:"context_length" msgpack:"context_length"`
	Slots         int `json:"slots" msgpack:"slots"`
	// Rough says that only our own formula was at hand: an upper bound, for most models.
	Rough bool `json:"rough,omitempty" msgpack:"rough,omitempty"`
	// Parts is the sum as a text for people.
	Parts string `json:"parts" msgpack:"parts"`
}

// Total is all of it: what the worker's resident memory comes to on a CPU.
func (s Sum) Total() uint64 { return plus(s.Weights, s.Copied, s.KVCache, s.Compute, s.Base) }

// Least is [Sum.Total] without the weights that are there twice: what a machine must have, since the kernel
// drops the first copy where memory is short.
func (s Sum) Least() uint64 { return plus(s.Weights, s.KVCache, s.Compute, s.Base) }

// OnGPU is what a GPU takes that computes every layer. The driver's own, some 500 MB, comes on top.
func (s Sum) OnGPU() uint64 { return plus(s.Weights, s.KVCache, s.Compute) }

// parts writes the sum out.
func (s Sum) parts() string {
	list := []string{"weights " + size(s.Weights)}
	if s.Copied > 0 {
		list = append(list, "weights in the CPU's order "+size(s.Copied))
	}
	list = append(list, fmt.Sprintf("KV cache %s (%d slots x %d tokens)", size(s.KVCache), s.Slots, s.ContextLength),
		"compute "+size(s.Compute), "process "+size(s.Base))
	about := ""
	if s.Rough {
		about = "about "
	}
	return strings.Join(list, " + ") + " = " + about + size(s.Total())
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

// plus and times stop at the largest number.
func plus(list ...uint64) (sum uint64) {
	for _, n := range list {
		if n > math.MaxUint64-sum {
			return math.MaxUint64
		}
		sum += n
	}
	return sum
}

func times(list ...uint64) uint64 {
	product := uint64(1)
	for _, n := range list {
		if n > 0 && product > math.MaxUint64/n {
			return math.MaxUint64
		}
		product *= n
	}
	return product
}

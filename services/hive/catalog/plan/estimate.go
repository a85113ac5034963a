package plan

import (
	"runtime"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
)

// Options say how a worker would run. The zero value is a worker without flags on a CPU.
type Options struct {
	// ContextLength is in tokens a slot; 0 is the trained length, at most 4096. It is lowered to the trained
	// length, as a worker does.
	ContextLength int
	// Slots is how many requests run at once; 0 is [messages.DefaultSlots].
	Slots int
	// GPU says that a GPU has all layers: then no weights are copied for the CPU.
	GPU bool
	// TempDir gets a file of a few kB, and of the model's size with nothing in it, for a moment. Empty is
	// the system's own.
	TempDir string
}

const (
	defaultContext = 4096
	maxContext     = 1 << 24
	maxSlots       = 256

	// How services/worker/llamacpp runs llama.cpp (config.go, plan.go, session.go, vectors.go): a step has
	// stepTokens of a prompt and one token of each slot; a slot's context is of its own and llama.cpp makes
	// it a multiple of contextPad; a model that makes vectors reads a text of up to vectorTokens at once.
	stepTokens   = 512
	contextPad   = 256
	vectorTokens = 2048
)

// What the process takes besides the model, measured with rbee-worker and llama.cpp v0.5.0 on linux/amd64:
// 20 MiB of program and libraries are mapped; a token of the vocabulary is in three tables of llama.cpp and
// one of ours; a request has its text, tokens and buffers.
const (
	baseBytes  = 21 << 20
	slotBytes  = 2 << 20
	tokenBytes = 240
	mergeBytes = 120
)

// shape is what is computed, from header and options.
type shape struct {
	context int // tokens of one slot's cache
	slots   int
	step    int // most tokens of one step
	f32     bool
	encodes bool
}

// Estimate adds up what a worker takes. The error is [messages.CodeBadRequest] for options that no worker
// takes. It needs little memory and time whatever the header says.
func Estimate(h *Header, o Options) (Sum, error) {
	s, err := h.shape(&o)
	if err != nil {
		return Sum{}, err
	}
	sum := Sum{ContextLength: o.ContextLength, Slots: o.Slots, Base: h.base(o.Slots)}
	sum.Weights, sum.Copied = h.weights()
	if o.GPU {
		sum.Copied = 0
	}
	known, err := askParser(h, s, o.TempDir)
	if err != nil {
		known, sum.Rough = byFormula(h, s), true
	}
	outputs := s.slots
	if s.encodes {
		outputs = 0
	}
	sum.KVCache = known.cache
	sum.Compute = plus(known.compute, times(4, uint64(outputs), uint64(h.First.VocabSize)))
	sum.Parts = sum.parts()
	return sum, nil
}

// shape checks the options and fills them in.
func (h *Header) shape(o *Options) (shape, error) {
	switch {
	case o.ContextLength < 0 || o.ContextLength > maxContext:
		return shape{}, messages.Errorf(messages.CodeBadRequest, opPlan, "context length: must be between 1 and %d tokens, is %d", maxContext, o.ContextLength)
	case o.Slots < 0 || o.Slots > maxSlots:
		return shape{}, messages.Errorf(messages.CodeBadRequest, opPlan, "slots: must be between 1 and %d, is %d", maxSlots, o.Slots)
	}
	if o.Slots == 0 {
		o.Slots = messages.DefaultSlots
	}
	if o.ContextLength == 0 {
		o.ContextLength = defaultContext
	}
	s := shape{slots: o.Slots, f32: allF32(h.Tensors), encodes: h.First.Encodes()}
	if s.encodes {
		o.ContextLength = vectorTokens
	}
	if n := h.First.ContextLength; n > 0 {
		o.ContextLength = min(o.ContextLength, n)
	}
	s.context = (o.ContextLength + contextPad - 1) / contextPad * contextPad
	s.step = min(stepTokens+o.Slots, s.context*o.Slots)
	if s.encodes {
		s.context, s.step = o.ContextLength, o.ContextLength
	}
	return s, nil
}

func allF32(tensors []gguf.Tensor) bool {
	for _, t := range tensors {
		if t.Type != gguf.F32 {
			return false
		}
	}
	return len(tensors) > 0
}

// base is the process without the model.
func (h *Header) base(slots int) uint64 {
	merges, _ := gguf.Get[gguf.Array](h.First, "tokenizer.ggml.merges")
	return plus(baseBytes, times(slotBytes, uint64(slots)), times(tokenBytes, uint64(max(0, h.First.VocabSize))),
		times(mergeBytes, uint64(max(0, merges.Len))))
}

// weights are the bytes of all tensors, and of those that the CPU engine has twice.
func (h *Header) weights() (all, twice uint64) {
	// One tensor is the input's and the output's where a model has no output of its own.
	tied := !slices.ContainsFunc(h.Tensors, func(t gguf.Tensor) bool { return t.Name == "output.weight" })
	for _, t := range h.Tensors {
		n, err := t.Bytes()
		if err != nil {
			continue // the header would not have been read
		}
		all = plus(all, n)
		// The input is looked up by rows and so stays as it is.
		matrix := len(t.Dims) > 1 && strings.HasSuffix(t.Name, ".weight") && (tied || t.Name != "token_embd.weight")
		if matrix && copied(t, runtime.GOARCH) {
			twice = plus(twice, n)
		}
	}
	return all, twice
}

// sizes are what depends on how a model computes.
type sizes struct{ cache, compute uint64 }

// byFormula is for models that gguf-parser-go does not take: an upper bound for the cache, and some ten
// rows of the model's width and four of the feed-forward's for each token of a step.
func byFormula(h *Header, s shape) sizes {
	ff, _ := h.First.Uint(h.First.Architecture + ".feed_forward_length")
	row := plus(times(10, uint64(max(0, h.First.EmbeddingLength))), times(4, ff))
	scores := uint64(s.context)
	if s.f32 {
		scores = times(scores, 1+uint64(max(0, h.First.HeadCount)))
	}
	return sizes{cache: h.First.KVBytes(s.context, s.slots, s.f32), compute: times(4, uint64(s.step), plus(row, scores))}
}

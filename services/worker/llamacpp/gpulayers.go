package llamacpp

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
)

// GPULayersAuto puts as many layers on the GPU as fit into what it has free.
const GPULayersAuto = -1

// maxGPULayers is far over any model's.
const maxGPULayers = 1 << 16

// ParseGPULayers reads "auto", which is [GPULayersAuto], or a number of layers as [Config] takes it. Empty
// is auto. The error is [messages.CodeBadRequest].
func ParseGPULayers(text string) (int, error) {
	if text == "" || strings.EqualFold(text, "auto") {
		return GPULayersAuto, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxGPULayers {
		return 0, messages.Errorf(messages.CodeBadRequest, "llamacpp.new", "gpu layers: %q is neither auto nor a number from 0 to %d", text, maxGPULayers)
	}
	return n, nil
}

// What an engine takes besides weights and attention cache. llama.cpp says how much only after it has
// loaded the model, so this is an estimate from above for the shapes that we decode.
const (
	// computeBase is for a context that computes nothing large.
	computeBase = 64 << 20
	// gpuReserve is what a GPU's driver and ggml's pools take besides, for every GPU. llama.cpp's own
	// estimate leaves 1 GiB.
	gpuReserve = 512 << 20
)

// footprint is what a model takes, in bytes, by where llama.cpp can put it.
type footprint struct {
	// input is the token embedding, and whatever else stays on the CPU.
	input uint64
	// blocks are the weights of each layer, the first one first.
	blocks []uint64
	// output is what turns the last layer's answer into tokens. It is the token embedding once more
	// where a model has one tensor for both, and then only a GPU keeps it twice.
	output uint64
	tied   bool
	// cache is the attention cache of all layers and slots.
	cache uint64
	// compute is for intermediate results.
	compute uint64
}

// measure takes a footprint from a file's header. ctx is in tokens per slot. step is the most tokens
// that are decoded at once.
func measure(h *gguf.Header, ctx, slots, step int) footprint {
	f32 := h.AllF32()
	f := footprint{blocks: make([]uint64, max(0, min(h.BlockCount, maxGPULayers))), cache: h.KVBytes(ctx, slots, f32), tied: true}
	var embedding uint64
	for _, t := range h.Tensors {
		n, err := t.Bytes()
		if err != nil {
			continue // the header would not have been read
		}
		layer, is := blockOf(t.Name)
		switch {
		case is && layer < len(f.blocks):
			f.blocks[layer] = plus(f.blocks[layer], n)
		case t.Name == "token_embd.weight":
			embedding = n
			f.input = plus(f.input, n)
		case strings.HasPrefix(t.Name, "output"), strings.HasPrefix(t.Name, "cls"):
			f.output = plus(f.output, n)
			f.tied = f.tied && t.Name != "output.weight"
		default:
			f.input = plus(f.input, n)
		}
	}
	if f.tied {
		f.output = plus(f.output, embedding)
	}
	f.compute = computeBytes(h, ctx, slots, step, f32)
	return f
}

// blockOf reads the number in a name such as "blk.12.attn_q.weight".
func blockOf(tensor string) (layer int, ok bool) {
	rest, ok := strings.CutPrefix(tensor, "blk.")
	if !ok {
		return 0, false
	}
	number, _, _ := strings.Cut(rest, ".")
	layer, err := strconv.Atoi(number)
	return layer, err == nil && layer >= 0
}

// computeBytes estimates intermediate results: a step's activations, some ten of the model's width and
// four of the feed-forward's, the logits of every slot, and the mask of the attention. Without flash
// attention, which F32 models do without, also the scores of every head.
func computeBytes(h *gguf.Header, ctx, slots, step int, f32 bool) uint64 {
	ff, _ := h.Uint(h.Architecture + ".feed_forward_length")
	width := plus(times(10, uint64(max(0, h.EmbeddingLength))), times(4, ff))
	values := times(uint64(max(0, step)), width)
	values = plus(values, times(uint64(max(0, slots)), uint64(max(0, h.VocabSize))))
	scores := times(uint64(max(0, step)), uint64(max(0, ctx)))
	if f32 {
		scores = times(scores, uint64(1+2*max(0, h.HeadCount)))
	}
	return plus(computeBase, times(4, plus(values, scores)))
}

// plus and times stop at the largest number.
func plus(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

func times(a, b uint64) uint64 {
	if b > 0 && a > math.MaxUint64/b {
		return math.MaxUint64
	}
	return a * b
}

// layers is what llama.cpp counts: the model's, and one more, which is the output.
func (f footprint) layers() int { return len(f.blocks) + 1 }

// onGPU is what n layers take of GPUs that together compute one step: weights and cache. llama.cpp
// v0.5.0 takes n from the end (src/llama-model.cpp, load_tensors: i_gpu_start = max(n_layer_all + 1 -
// n_gpu_layers, 0)), so 1 is the output alone, and the token embedding is never on a GPU. The cache
// of a layer is where the layer is; here every layer has the same share.
func (f footprint) onGPU(n int) (weights, cache uint64) {
	n = min(n, f.layers())
	if n <= 0 {
		return 0, 0
	}
	weights = f.output
	for _, b := range f.blocks[len(f.blocks)-(n-1):] {
		weights = plus(weights, b)
	}
	if n > 1 {
		cache = times(f.cache/uint64(len(f.blocks))+1, uint64(n-1))
	}
	return weights, cache
}

// gpuLayers is what llama.cpp gets as n_gpu_layers: want, if that is a number, at most all; else the most
// that fit into free, which is what each GPU has left. Where a GPU does not tell its memory all go there,
// and it is 0 if not even one layer with the output fits.
func gpuLayers(want int, f footprint, free []uint64) int {
	if len(free) == 0 {
		return 0
	}
	if want >= 0 {
		return min(want, f.layers())
	}
	room, ok := gpuRoom(f, free)
	if !ok {
		return f.layers()
	}
	for n := f.layers(); n > 1; n-- {
		if weights, cache := f.onGPU(n); plus(weights, cache) <= room {
			return n
		}
	}
	return 0
}

// gpuRoom is what GPUs have for weights and cache. Each needs its own buffers, and since a layer is not
// split, up to a layer of each is left over when there are several. ok is false if one does not tell.
func gpuRoom(f footprint, free []uint64) (room uint64, ok bool) {
	lost := plus(f.compute, gpuReserve)
	if len(free) > 1 {
		largest := f.output
		for _, b := range f.blocks {
			largest = max(largest, b)
		}
		lost = plus(lost, largest)
	}
	for _, n := range free {
		if n == 0 {
			return 0, false
		}
		room = plus(room, n-min(n, lost))
	}
	return room, true
}

// checkMemory compares what a load takes with what is free: of the GPUs for layers of the model, and of the
// machine for the rest. The error is [messages.CodeNoMemory] and has the sum. Weights on the CPU are mapped
// from the file, so they may be there already, for another worker, and the kernel can drop them; machine
// therefore has to be free memory with the page cache in it, as [Device.FreeBytes] of a CPU is: then the
// model runs without being read from the disk over and over. 0 is unknown and not checked.
func checkMemory(f footprint, layers int, gpus []uint64, machine uint64) error {
	layers = min(layers, f.layers())
	weights, cache := f.onGPU(layers)
	if room, ok := gpuRoom(f, gpus); layers > 0 && ok && plus(weights, cache) > room {
		free := uint64(0)
		for _, n := range gpus {
			free = plus(free, n)
		}
		reserve := times(uint64(len(gpus)), plus(f.compute, gpuReserve))
		return notEnough(fmt.Sprintf("%d of %d layers on the GPU: ", layers, f.layers()), weights, cache, reserve, free)
	}
	rest := f.input
	if !f.tied && layers == 0 {
		rest = plus(rest, f.output)
	}
	for _, b := range f.blocks[:len(f.blocks)-max(0, layers-1)] {
		rest = plus(rest, b)
	}
	cache = f.cache - min(f.cache, cache)
	if machine > 0 && plus(plus(rest, cache), f.compute) > machine {
		return notEnough("", rest, cache, f.compute, machine)
	}
	return nil
}

func notEnough(what string, weights, cache, compute, free uint64) error {
	return messages.Errorf(messages.CodeNoMemory, "llamacpp.load", "%sweights %s + context %s + compute %s = %s, free %s", what,
		gib(weights), gib(cache), gib(compute), gib(plus(plus(weights, cache), compute)), gib(free)).
		WithHint("use a smaller model, a shorter context, fewer slots or fewer GPU layers")
}

// gib is n bytes for people.
func gib(n uint64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

package plan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	parser "github.com/gpustack/gguf-parser-go"
	"github.com/rbee-project/rbee/gguf"
)

// What gguf-parser-go may get. It makes room for as many layers as a file claims, and searches all names
// several times.
const (
	maxLayers     = 512 // llama.cpp's own limit
	maxTensors    = 20_000
	maxTensorName = 63 // llama.cpp's own limit
	maxFileBytes  = 8 << 40
	alignment     = 32
)

var (
	errUnusual = errors.New("not a usual model")
	// notModels are names of architectures that are no language models.
	notModels = map[string]bool{"": true, "clip": true, "controlvector": true, "diffusion": true, "imatrix": true}
)

// askParser asks gguf-parser-go for what depends on how a model computes. What it does not take, or panics
// over, is an error.
func askParser(h *Header, s shape, dir string) (out sizes, err error) {
	if !h.usual() {
		return sizes{}, errUnusual
	}
	path, err := h.writeSparse(dir)
	if err != nil {
		return sizes{}, err
	}
	defer os.Remove(path)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("gguf-parser-go: %v", r)
		}
	}()
	file, err := parser.ParseGGUFFile(path, parser.SkipLargeMetadata())
	if err != nil {
		return sizes{}, err
	}
	return parsed(file, h, s)
}

// usual says whether the header is one that gguf-parser-go may get.
func (h *Header) usual() bool {
	if notModels[h.First.Architecture] || h.keys == nil || h.First.BlockCount < 1 || h.First.BlockCount > maxLayers || len(h.Tensors) > maxTensors {
		return false
	}
	for _, t := range h.Tensors {
		if len(t.Name) > maxTensorName {
			return false
		}
	}
	return true
}

// parsed reads the numbers for our own way to run llama.cpp out of an estimate for one slot.
func parsed(file *parser.GGUFFile, h *Header, s shape) (sizes, error) {
	options := []parser.GGUFRunEstimateOption{
		parser.WithLLaMACppContextSize(int32(s.context)),
		parser.WithParallelSize(1),
		parser.WithLLaMACppLogicalBatchSize(int32(s.step)),
		parser.WithLLaMACppPhysicalBatchSize(int32(max(32, s.step))),
		parser.WithLLaMACppOffloadLayers(maxLayers + 1),
		parser.WithLLaMACppFullSizeSWACache(), // llama.cpp's default
	}
	if s.f32 {
		options = append(options, parser.WithLLaMACppCacheKeyType(parser.GGMLTypeF32), parser.WithLLaMACppCacheValueType(parser.GGMLTypeF32))
	} else {
		options = append(options, parser.WithFlashAttention())
	}
	e := file.EstimateLLaMACppRun(options...)
	if len(e.Devices) != 2 || e.Type != "model" {
		return sizes{}, errUnusual
	}
	var out sizes
	for _, d := range e.Devices {
		out.cache = plus(out.cache, uint64(d.KVCache.Key), uint64(d.KVCache.Value))
	}
	out.cache = times(out.cache, uint64(s.slots))
	if s.encodes {
		out.cache = 0
	}
	// It counts what the last of these holds as the device's, with all layers there: the whole graph, as a
	// CPU computes it. What it says of the host beside that is for other ways to run.
	device := e.Devices[1].Computation
	out.compute = uint64(device.Compute)
	width := uint64(2) // of the mask
	if s.f32 {
		out.compute = plus(out.compute, uint64(device.Input)) // flash attention's sum has the mask in it
		width = 4
	}
	// It takes a step for no longer than a slot.
	if n := uint64(max(32, s.step)); n > uint64(s.context) {
		out.compute = times(out.compute, n) / uint64(s.context)
	}
	if window, ok := h.First.Uint(h.First.Architecture + ".attention.sliding_window"); ok && window > 0 && !s.encodes {
		out.compute = plus(out.compute, times(width, uint64(s.context), uint64(s.step))) // a second mask
	}
	if out.compute >= math.MaxInt64 || out.cache >= math.MaxInt64 {
		return sizes{}, errUnusual
	}
	return out, nil
}

// writeSparse writes the header of a file that has the model's own keys and all its tensors, and makes it as
// long as if it had the weights. The caller removes it.
func (h *Header) writeSparse(dir string) (path string, err error) {
	b := append([]byte("GGUF"), 3, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(h.Tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(h.keys)))
	for _, k := range h.keys {
		b = append(b, k...)
	}
	offset := uint64(0)
	for _, t := range h.Tensors {
		n, err := t.Bytes()
		if err != nil || offset > maxFileBytes || n > maxFileBytes {
			return "", errUnusual
		}
		b = appendTensor(b, t, offset)
		offset += (n + alignment - 1) / alignment * alignment
	}
	f, err := os.CreateTemp(dir, "plan-*.gguf")
	if err != nil {
		return "", err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return "", err
	}
	return f.Name(), f.Truncate(int64(uint64(len(b)+alignment) + offset))
}

func appendTensor(b []byte, t gguf.Tensor, offset uint64) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(t.Name)))
	b = append(b, t.Name...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Dims)))
	for _, n := range t.Dims {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
	return binary.LittleEndian.AppendUint64(b, offset)
}

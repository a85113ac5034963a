package llamacpp

import (
	"math"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
)

const (
	mib = 1 << 20
	gi  = 1 << 30
)

// model4 is 4 layers of 100 MiB, output 50, embedding 40, cache 80 (20 a layer), compute 64.
func model4() footprint {
	return footprint{input: 40 * mib, blocks: []uint64{100 * mib, 100 * mib, 100 * mib, 100 * mib}, output: 50 * mib, cache: 80 * mib, compute: 64 * mib}
}

func TestParseGPULayers(t *testing.T) {
	for text, want := range map[string]int{"": GPULayersAuto, "auto": GPULayersAuto, "AUTO": GPULayersAuto, "0": 0, "33": 33, "65536": 65536} {
		if n, err := ParseGPULayers(text); err != nil || n != want {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"-1", "all", "1.5", "65537", "99999999999999999999", " 1"} {
		if n, err := ParseGPULayers(text); messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), "gpu layers") {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
}

func TestGPULayers(t *testing.T) {
	const lost = 64*mib + gpuReserve // compute and reserve
	const layer = 120*mib + 1        // weights and its share of the cache, rounded up
	for name, tc := range map[string]struct {
		want int
		free []uint64
		n    int
	}{
		"no GPU":                         {GPULayersAuto, nil, 0},
		"no GPU, asked for":              {3, nil, 0},
		"all fit":                        {GPULayersAuto, []uint64{8 * gi}, 5},
		"exactly":                        {GPULayersAuto, []uint64{lost + 50*mib + 4*layer}, 5},
		"a byte too few":                 {GPULayersAuto, []uint64{lost + 50*mib + 4*layer - 1}, 4},
		"one layer":                      {GPULayersAuto, []uint64{lost + 50*mib + layer}, 2},
		"output alone is not worth it":   {GPULayersAuto, []uint64{lost + 50*mib}, 0},
		"nothing fits":                   {GPULayersAuto, []uint64{100 * mib}, 0},
		"unknown memory":                 {GPULayersAuto, []uint64{0}, 5},
		"one of two unknown":             {GPULayersAuto, []uint64{8 * gi, 0}, 5},
		"none, asked for":                {0, []uint64{8 * gi}, 0},
		"some, asked for":                {2, []uint64{8 * gi}, 2},
		"more than there are":            {99, []uint64{8 * gi}, 5},
		"asked for, whatever fits":       {5, []uint64{1}, 5},
		"two that hold half each":        {GPULayersAuto, []uint64{lost + 100*mib + 50*mib + 2*layer, lost + 100*mib + 2*layer}, 5},
		"two, and a byte too few":        {GPULayersAuto, []uint64{lost + 100*mib + 50*mib + 2*layer - 1, lost + 100*mib + 2*layer}, 4},
		"the second has no room for any": {GPULayersAuto, []uint64{lost + 100*mib + 50*mib + 2*layer, 10 * mib}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if n := gpuLayers(tc.want, model4(), tc.free); n != tc.n {
				t.Errorf("%d layers, want %d", n, tc.n)
			}
		})
	}
}

func TestCheckMemory(t *testing.T) {
	tied := model4()
	tied.tied, tied.output = true, 40*mib
	huge := model4()
	huge.blocks[0], huge.cache = math.MaxUint64, math.MaxUint64
	for name, tc := range map[string]struct {
		f       footprint
		layers  int
		gpus    []uint64
		machine uint64
		says    string // "": it fits
	}{
		"the CPU alone, exactly":    {model4(), 0, nil, (40 + 400 + 50 + 80 + 64) * mib, ""},
		"the CPU alone, too little": {model4(), 0, nil, 633 * mib, "weights 490.0 MiB + context 80.0 MiB + compute 64.0 MiB = 634.0 MiB, free 633.0 MiB"},
		"one tensor for two":        {tied, 0, nil, (40 + 400 + 80 + 64) * mib, ""},
		"all on the GPU":            {model4(), 5, []uint64{8 * gi}, (40 + 64) * mib, ""},
		"all on the GPU, tied":      {tied, 5, []uint64{8 * gi}, (40 + 64) * mib, ""},
		"half":                      {model4(), 3, []uint64{8 * gi}, (40 + 200 + 40 + 64) * mib, ""},
		"half, a byte too few":      {model4(), 3, []uint64{8 * gi}, 343 * mib, "weights 240.0 MiB + context 40.0 MiB + compute 64.0 MiB = 344.0 MiB, free 343.0 MiB"},
		"the GPU is too small":      {model4(), 5, []uint64{1 * gi}, 8 * gi, "5 of 5 layers on the GPU: weights 450.0 MiB + context 80.0 MiB + compute 576.0 MiB = 1.1 GiB, free 1.0 GiB"},
		"the GPU does not tell":     {model4(), 5, []uint64{0}, 8 * gi, ""},
		"the machine does not tell": {model4(), 0, nil, 0, ""},
		"no overflow":               {huge, 0, nil, 8 * gi, "free 8.0 GiB"},
		"no overflow on the GPU":    {huge, 5, []uint64{8 * gi}, 8 * gi, "free 8.0 GiB"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkMemory(tc.f, tc.layers, tc.gpus, tc.machine)
			if tc.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if messages.CodeOf(err) != messages.CodeNoMemory || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
		})
	}
}

// Whatever auto chooses passes the check.
func FuzzAutoFits(f *testing.F) {
	f.Add(uint64(100*mib), uint64(50*mib), uint64(80*mib), uint64(2*gi), uint64(gi), uint8(4))
	f.Fuzz(func(t *testing.T, block, output, cache, free1, free2 uint64, blocks uint8) {
		m := footprint{output: output, cache: cache, compute: computeBase}
		for range blocks {
			m.blocks = append(m.blocks, block)
		}
		for _, free := range [][]uint64{nil, {free1}, {free1, free2}} {
			n := gpuLayers(GPULayersAuto, m, free)
			if err := checkMemory(m, n, free, 0); err != nil || n < 0 || n > m.layers() {
				t.Fatalf("%d layers: %v", n, err)
			}
		}
	})
}

func TestMeasure(t *testing.T) {
	h, err := gguf.OpenHeader(bee(t, "bee-random"))
	if err != nil {
		t.Fatal(err)
	}
	f := measure(h, 512, 4, 516)
	sum := f.input + f.output
	for _, b := range f.blocks {
		if b == 0 {
			t.Error("a layer without weights")
		}
		sum += b
	}
	if f.tied {
		t.Error("its output has a tensor of its own")
	}
	if sum != h.SizeBytes || len(f.blocks) != h.BlockCount || f.cache != h.KVBytes(512, 4, true) || f.compute < computeBase {
		t.Errorf("%+v of %d bytes", f, h.SizeBytes)
	}
	weights, cache := f.onGPU(f.layers())
	if weights != sum-f.input || cache < f.cache || cache > f.cache+uint64(len(f.blocks)) {
		t.Errorf("all layers: %d and %d", weights, cache)
	}
}

func TestMeasureTied(t *testing.T) {
	h := &gguf.Header{BlockCount: 1, Tensors: []gguf.Tensor{
		{Name: "token_embd.weight", Dims: []uint64{10}}, {Name: "output_norm.weight", Dims: []uint64{1}},
		{Name: "blk.0.attn_q.weight", Dims: []uint64{5}}, {Name: "blk.7.stray", Dims: []uint64{3}}, {Name: "blk.x", Dims: []uint64{2}},
	}}
	f := measure(h, 1, 1, 1)
	if !f.tied || f.output != 44 || f.input != 40+12+8 || f.blocks[0] != 20 {
		t.Errorf("%+v", f)
	}
	if f := measure(&gguf.Header{BlockCount: -1, EmbeddingLength: math.MaxInt, VocabSize: math.MaxInt}, math.MaxInt, math.MaxInt, math.MaxInt); f.layers() != 1 || f.compute != math.MaxUint64 {
		t.Errorf("hostile: %+v", f)
	}
}

func TestPlaceFits(t *testing.T) {
	h, err := gguf.OpenHeader(bee(t, "bee-random"))
	if err != nil {
		t.Fatal(err)
	}
	cpu := Device{Name: "CPU", Kind: "CPU", FreeBytes: 8 * gi}
	gpu := Device{Name: "CUDA0", Kind: "GPU", FreeBytes: 8 * gi, handle: 1}
	small := Device{Name: "CUDA0", Kind: "GPU", FreeBytes: 100 * mib, handle: 1}
	igpu := Device{Name: "Vulkan0", Kind: "IGPU", FreeBytes: 8 * gi, handle: 2}
	all := h.BlockCount + 1
	for name, tc := range map[string]struct {
		devices []Device
		device  string
		want    int
		header  *gguf.Header
		place   string
		layers  int
	}{
		"CPU alone":             {[]Device{cpu}, "auto", GPULayersAuto, h, "CPU", 0},
		"a GPU, auto":           {[]Device{gpu, cpu}, "auto", GPULayersAuto, h, "CUDA0", all},
		"a GPU, named":          {[]Device{gpu, cpu}, "cuda0", GPULayersAuto, h, "CUDA0", all},
		"GPU before part of it": {[]Device{igpu, gpu, cpu}, "auto", GPULayersAuto, h, "CUDA0", all},
		"part of the processor": {[]Device{igpu, cpu}, "auto", GPULayersAuto, h, "Vulkan0", all},
		"the CPU, named":        {[]Device{gpu, cpu}, "CPU", GPULayersAuto, h, "CPU", 0},
		"no layers":             {[]Device{gpu, cpu}, "auto", 0, h, "CPU", 0},
		"one":                   {[]Device{gpu, cpu}, "auto", 1, h, "CUDA0", 1},
		"too small":             {[]Device{small, cpu}, "auto", GPULayersAuto, h, "CPU", 0},
		"an unknown file":       {[]Device{small, cpu}, "auto", GPULayersAuto, nil, "CUDA0", GPULayersAuto},
		"an unknown file, two":  {[]Device{small, cpu}, "auto", 2, nil, "CUDA0", 2},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := choosePlace(tc.devices, tc.device)
			if err != nil {
				t.Fatal(err)
			}
			at, err = at.fit(tc.devices, tc.header, tc.want, 512, 4, 516)
			if err != nil || at.name != tc.place || tc.place != "CPU" && at.layers != tc.layers {
				t.Errorf("%+v, %v", at, err)
			}
			if onlyCPU := len(at.list) == 1 && at.list[0] == 0; onlyCPU != (tc.place == "CPU") {
				t.Errorf("llama.cpp gets %v", at.list)
			}
		})
	}
	at, err := choosePlace([]Device{small, cpu}, "auto")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := at.fit([]Device{small, cpu}, h, all, 512, 4, 516); messages.CodeOf(err) != messages.CodeNoMemory {
		t.Errorf("layers that do not fit: %v", err)
	}
}

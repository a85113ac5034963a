package llamacpp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"
	"github.com/hybridgroup/yzma/pkg/loader"
	"github.com/jupiterrider/ffi"
)

// CPUDetails says how ggml computes on the processor.
type CPUDetails struct {
	// Variant is the build of ggml's CPU library that was chosen for this processor: "zen4",
	// "haswell". Empty where the system does not tell what is loaded, which only Linux does, and
	// where there is one build alone.
	Variant string
	// Features are the instruction sets and options of that build: "AVX2", "REPACK", "SVE_CNT=16".
	Features []string
	// Cores are the physical ones that are good at arithmetic.
	Cores int
	// Threads is what [Config.Threads] 0 means here.
	Threads int
}

func cpuDetails() CPUDetails {
	maps, _ := os.ReadFile("/proc/self/maps") // none: not Linux
	library.mu.Lock()                         // llama.cpp writes the text into one buffer
	info := llama.PrintSystemInfo()
	library.mu.Unlock()
	return CPUDetails{
		Variant: variantIn(string(maps)), Features: featuresIn(info),
		Cores: int(llama.Threads()), Threads: defaultThreads(),
	}
}

var variantFile = regexp.MustCompile(`/libggml-cpu-([\w.]+)\.so$`)

// variantIn finds the CPU library in a process's memory map, in the form of /proc/self/maps.
func variantIn(maps string) string {
	for line := range strings.Lines(maps) {
		if m := variantFile.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			return m[1]
		}
	}
	return ""
}

// featuresIn reads the CPU's part of llama_print_system_info, which is
// "CUDA : ARCHS = 860 | CPU : AVX2 = 1 | OPENMP = 1 | ".
func featuresIn(info string) []string {
	var out []string
	backend := ""
	for part := range strings.SplitSeq(info, "|") {
		if name, rest, ok := strings.Cut(part, " : "); ok {
			backend, part = strings.TrimSpace(name), rest
		}
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok || backend != "CPU" || name == "" || value == "0":
		case value == "1":
			out = append(out, name)
		default:
			out = append(out, name+"="+value)
		}
	}
	return out
}

// defaultThreads leaves one core to everything else: of the physical cores that are good at arithmetic,
// or of what the system grants if that is less. Go reads the grant from the CPU affinity and from the
// cgroup's quota, but never takes a quota for less than 2: so one is left of that as well.
func defaultThreads() int {
	return threadsFor(int(llama.Threads()), runtime.GOMAXPROCS(0))
}

func threadsFor(cores, granted int) int {
	return max(1, min(cores, granted)-1)
}

// gpuLibraries are ggml's, and how the names of their devices begin.
var gpuLibraries = []struct{ name, devices string }{{"ggml-cuda", "CUDA"}, {"ggml-vulkan", "Vulkan"}, {"ggml-metal", "M"}}

// Unusable says of each GPU library in libDir that gives no device why, as far as the system tells: a
// GPU build of llama.cpp without its driver computes on the CPU and is silent about it. devices are what
// [Devices] gave for libDir.
func Unusable(libDir string, devices []Device) []string {
	var out []string
	for _, l := range gpuLibraries {
		path := loader.GetLibraryFilename(libDir, l.name)
		if runtime.GOOS == "darwin" {
			path = strings.TrimSuffix(path, ".dylib") + ".so" // ggml's modules end so there too
		}
		used := slices.ContainsFunc(devices, func(d Device) bool { return strings.HasPrefix(d.Name, l.devices) })
		if _, err := os.Stat(path); err != nil || used {
			continue
		}
		why := "it finds no device"
		if _, err := ffi.Load(path); err != nil {
			why = err.Error()
		}
		out = append(out, filepath.Base(path)+" is not usable: "+why)
	}
	return out
}

// MarshalJSON is the device as `rbee-worker devices --json` prints it: the keys of messages.Device,
// and for a CPU variant, features, cores and threads.
func (d Device) MarshalJSON() ([]byte, error) {
	line := struct {
		ID         string   `json:"id"`
		Name       string   `json:"name"`
		Kind       string   `json:"kind"`
		TotalBytes uint64   `json:"memory_total_bytes"`
		FreeBytes  uint64   `json:"memory_free_bytes"`
		Variant    string   `json:"variant,omitempty"`
		Features   []string `json:"features,omitempty"`
		Cores      int      `json:"cores,omitempty"`
		Threads    int      `json:"threads,omitempty"`
	}{ID: d.Name, Name: d.Description, Kind: strings.ToLower(d.Kind), TotalBytes: d.TotalBytes, FreeBytes: d.FreeBytes}
	if d.CPU != nil {
		line.Variant, line.Features, line.Cores, line.Threads = d.CPU.Variant, d.CPU.Features, d.CPU.Cores, d.CPU.Threads
	}
	return json.Marshal(line)
}

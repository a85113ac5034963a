package llamacpp

import (
	"runtime"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
)

// Device is one that ggml can run a model on.
type Device struct {
	// Name is ggml's: "CPU", "CUDA0".
	Name string
	// Description is the hardware's name.
	Description string
	// Kind is "CPU", "GPU", "IGPU" or "ACCEL".
	Kind string
	// TotalBytes and FreeBytes are of the device's memory. A CPU's is what programs may use on this
	// machine, within the limits of its cgroups, and what of that is free or page cache.
	TotalBytes, FreeBytes uint64
	// CPU is more about a CPU; nil for other devices.
	CPU *CPUDetails

	handle llama.GGMLBackendDevice
}

// Devices lists what the libraries in libDir can use on this machine, in ggml's order.
func Devices(libDir string) ([]Device, error) {
	if _, err := loadLibrary(libDir); err != nil {
		return nil, err
	}
	n := llama.GGMLBackendDeviceCount()
	out := make([]Device, 0, n)
	for i := range n {
		h := llama.GGMLBackendDeviceGet(i)
		if h == 0 {
			continue
		}
		free, total := llama.GGMLBackendDeviceMemory(h)
		d := Device{
			Name:        llama.GGMLBackendDeviceName(h),
			Description: llama.GGMLBackendDeviceDescription(h),
			Kind:        llama.GGMLBackendDevType(h).String(),
			TotalBytes:  total,
			FreeBytes:   min(free, total),
			handle:      h,
		}
		if d.Kind == "CPU" {
			d.CPU = new(cpuDetails())
			if free, total, ok := machineMemory(); ok {
				d.FreeBytes, d.TotalBytes = free, total
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// place is where a model goes: what llama.cpp is told, and the name that Info reports.
type place struct {
	name string
	// list is for llama.cpp, ends with 0 and must outlive the call that loads the model. Nil lets
	// llama.cpp choose; only the 0 means no GPU.
	list []llama.GGMLBackendDevice
	// gpus are those that get layers, and layers is how many they get: [GPULayersAuto] is all.
	gpus   []Device
	layers int
}

// onCPU is the place without a GPU.
func onCPU(name string) place { return place{name: name, list: []llama.GGMLBackendDevice{0}} }

// choosePlace finds the device that a Config names.
func choosePlace(all []Device, want string) (place, error) {
	names := make([]string, 0, len(all))
	for _, d := range all {
		names = append(names, d.Name)
		gpu := d.Kind == "GPU" || d.Kind == "IGPU"
		switch {
		case strings.EqualFold(want, DeviceAuto) || !strings.EqualFold(want, d.Name):
		case gpu:
			return place{name: d.Name, list: []llama.GGMLBackendDevice{d.handle, 0}, gpus: []Device{d}, layers: GPULayersAuto}, nil
		default:
			return onCPU(d.Name), nil
		}
	}
	if strings.EqualFold(want, DeviceAuto) {
		return autoPlace(all), nil
	}
	return place{}, messages.Errorf(messages.CodeBadRequest, "llamacpp.load", "device: %q is not on this machine", want).
		WithHint("it has %s", strings.Join(names, ", "))
}

// autoPlace is what llama.cpp chooses by itself (src/llama.cpp, llama_prepare_model_devices): every GPU,
// without one the first that is part of the processor, else the CPU.
func autoPlace(all []Device) place {
	var gpus, integrated []Device
	for _, d := range all {
		switch d.Kind {
		case "GPU":
			gpus = append(gpus, d)
		case "IGPU":
			integrated = append(integrated, d)
		}
	}
	if len(gpus) == 0 && len(integrated) > 0 {
		gpus = integrated[:1]
	}
	if len(gpus) == 0 {
		return onCPU("CPU")
	}
	return place{name: gpus[0].Name, gpus: gpus, layers: GPULayersAuto}
}

// fit decides how many layers of a model go onto the place's GPUs, none of them means the CPU alone, and
// checks that there is memory for all of it. want is a number or [GPULayersAuto]; ctx is in tokens per
// slot, and step the most tokens that are decoded at once. Without a header, which is nil for files newer
// than our reader, auto is every layer and nothing is checked. The error is [messages.CodeNoMemory] and
// shows the sum; the place can be used all the same, by who insists.
func (p place) fit(all []Device, h *gguf.Header, want, ctx, slots, step int) (at place, err error) {
	if h == nil {
		p.layers = want
	} else {
		f := measure(h, ctx, slots, step)
		var free []uint64
		for _, d := range p.gpus {
			free = append(free, d.FreeBytes)
		}
		p.layers = gpuLayers(want, f, free)
		err = checkMemory(f, p.layers, free, machineFree(all))
	}
	if len(p.gpus) > 0 && p.layers == 0 {
		return onCPU("CPU"), err
	}
	return p, err
}

// machineFree is what the CPU has; 0 if nobody knows.
func machineFree(all []Device) uint64 {
	for _, d := range all {
		if d.Kind == "CPU" {
			return d.FreeBytes
		}
	}
	return 0
}

// apply puts the choice into the parameters of a model load. The returned function must be called
// after that load: it keeps the list alive until then.
func (p place) apply(params *llama.ModelParams) (keep func(), err error) {
	params.NGpuLayers = int32(p.layers) // below 0 it is all of them
	if p.list == nil {
		return func() {}, nil
	}
	if len(p.list) == 1 {
		params.NGpuLayers = 0
	}
	err = params.SetDevices(p.list)
	return func() { runtime.KeepAlive(p.list) }, err
}

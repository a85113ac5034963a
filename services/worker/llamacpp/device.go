package llamacpp

import (
	"runtime"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

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
	// TotalBytes and FreeBytes are of the device's memory; the machine's for a CPU.
	TotalBytes, FreeBytes uint64

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
		out = append(out, Device{
			Name:        llama.GGMLBackendDeviceName(h),
			Description: llama.GGMLBackendDeviceDescription(h),
			Kind:        llama.GGMLBackendDevType(h).String(),
			TotalBytes:  total,
			FreeBytes:   free,
			handle:      h,
		})
	}
	return out, nil
}

// place is where a model goes: what llama.cpp is told, and the name that Info reports.
type place struct {
	name string
	// list is for llama.cpp, ends with 0 and must outlive the call that loads the model. Nil lets
	// llama.cpp choose; only the 0 means no GPU.
	list []llama.GGMLBackendDevice
}

// choosePlace finds the device that a Config names.
func choosePlace(all []Device, want string) (place, error) {
	names := make([]string, 0, len(all))
	for _, d := range all {
		names = append(names, d.Name)
		gpu := d.Kind == "GPU" || d.Kind == "IGPU"
		switch {
		case strings.EqualFold(want, DeviceAuto):
			if gpu {
				return place{name: d.Name}, nil
			}
		case !strings.EqualFold(want, d.Name):
		case gpu:
			return place{name: d.Name, list: []llama.GGMLBackendDevice{d.handle, 0}}, nil
		default:
			return place{name: d.Name, list: []llama.GGMLBackendDevice{0}}, nil
		}
	}
	if strings.EqualFold(want, DeviceAuto) {
		return place{name: "CPU", list: []llama.GGMLBackendDevice{0}}, nil
	}
	return place{}, messages.Errorf(messages.CodeBadRequest, "llamacpp.load", "device: %q is not on this machine", want).
		WithHint("it has %s", strings.Join(names, ", "))
}

// apply puts the choice into the parameters of a model load. The returned function must be called
// after that load: it keeps the list alive until then.
func (p place) apply(params *llama.ModelParams) (keep func(), err error) {
	if p.list == nil {
		return func() {}, nil
	}
	if len(p.list) == 1 {
		params.NGpuLayers = 0
	}
	err = params.SetDevices(p.list)
	return func() { runtime.KeepAlive(p.list) }, err
}

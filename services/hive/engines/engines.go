// Package engines installs worker engines on this machine and finds the installed ones. A kill at
// any moment leaves no half entry: an engine is unpacked under a temporary name and renamed last.
// Everything exported is safe for concurrent use, also by several processes on one data directory.
package engines

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// LlamaCpp is the default engine, and the name of its build for every machine: the CPU, and on a Mac
// with Apple's own processor also its GPU.
const LlamaCpp = "llama-cpp"

// Builds of [LlamaCpp] for other devices. Each has everything that LlamaCpp has, and uses the CPU where
// the devices or their driver are missing.
const (
	LlamaCppCUDA   = "llama-cpp-cuda"   // NVIDIA, with the runtime of CUDA 13 on the machine
	LlamaCppCUDA12 = "llama-cpp-cuda12" // the same with CUDA 12; Linux alone
	LlamaCppVulkan = "llama-cpp-vulkan" // whatever has a Vulkan driver
)

// betterBuilds are those that are used in place of [LlamaCpp] when they are installed, best first.
var betterBuilds = []string{LlamaCppCUDA, LlamaCppCUDA12, LlamaCppVulkan}

// LibVar names the environment variable that points to a folder with llama.cpp's shared libraries,
// to be used in place of an installed engine.
const LibVar = "RBEE_LLAMA_LIB"

const (
	opFind    = "engine.find"
	opInstall = "engine.install"
)

// Installed is an engine on this machine. Path is the folder of its shared libraries.
type Installed struct {
	messages.Engine
	// InstalledAt is UTC; zero for an engine that is used where it lies.
	InstalledAt time.Time `json:"installed_at"`
}

// Step is what an installation does right now. Done and Total are bytes; Total is 0 while nobody
// knows how much there is to do.
type Step struct {
	Text  string
	Done  int64
	Total int64
}

// Vendor is where an engine comes from. A vendor has no state: its methods may be called at once.
type Vendor interface {
	// Name is short and stable: it is an engine's Source.
	Name() string
	// Supports says whether the vendor knows the engine, on whatever system.
	Supports(engine string) bool
	// InPlace is an engine that the user has already, outside the data directory; ok is false if
	// there is none. An error means that the user named one which is unusable.
	InPlace(engine string) (e messages.Engine, ok bool, err error)
	// Version is the version that Install brings on this system; [messages.CodeNoEngine] if none.
	Version(engine string) (string, error)
	// Install fills dst, an empty folder, and returns the libraries' folder relative to it. step is
	// called from this goroutine only. When ctx ends, Install ends what it began and returns an
	// error; the caller removes dst.
	Install(ctx context.Context, engine, dst string, step func(Step)) (lib string, err error)
}

// All returns every vendor, preferred first. Adding a vendor is adding a line here.
func All() []Vendor {
	return []Vendor{
		pathVendor{getenv: os.Getenv},
		npmVendor{pins: npmPins, goos: runtime.GOOS, goarch: runtime.GOARCH},
	}
}

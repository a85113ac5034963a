package llamacpp

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"

	"github.com/hybridgroup/yzma/pkg/llama"
	"github.com/hybridgroup/yzma/pkg/loader"
	"github.com/hybridgroup/yzma/pkg/utils"
	"github.com/jupiterrider/ffi"

	"github.com/rbee-project/rbee/messages"
)

// library is llama.cpp in this process: it is loaded once and never unloaded.
var library struct {
	mu      sync.Mutex
	dir     string // "" until loaded
	version string
}

// loadLibrary makes llama.cpp's functions callable. Later calls must name the same folder.
func loadLibrary(dir string) (version string, err error) {
	library.mu.Lock()
	defer library.mu.Unlock()
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", noEngine(dir, err)
	}
	if library.dir == dir {
		return library.version, nil
	}
	for _, name := range []string{"ggml", "ggml-base", "llama"} {
		if _, err := os.Stat(loader.GetLibraryFilename(dir, name)); err != nil {
			return "", noEngine(dir, err)
		}
	}
	if library.dir != "" {
		return "", messages.Errorf(messages.CodeNoEngine, "llamacpp.load", "llama.cpp is already loaded from %s, not %s", library.dir, dir).
			WithHint("a process can use one folder of libraries")
	}
	// Without it ggml answers an assert by starting gdb on this process first.
	if err := os.Setenv("GGML_NO_BACKTRACE", "1"); err != nil {
		return "", noEngine(dir, err)
	}
	if runtime.GOOS == "windows" { // where a library's own libraries are not looked for beside it
		if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
			return "", noEngine(dir, err)
		}
	}
	if err := llama.Load(dir); err != nil {
		return "", noEngine(dir, err)
	}
	library.version = readVersion(dir)
	if err := checkRelease(library.version, dir); err != nil {
		return "", err
	}
	captureLog()
	llama.Init()
	if llama.GGMLBackendDeviceCount() == 0 {
		return "", messages.Errorf(messages.CodeNoEngine, "llamacpp.load", "%s has no libggml-cpu-*.so that runs on this machine", dir).
			WithHint("install the llama.cpp engine again, with all its CPU variants")
	}
	library.dir = dir
	return library.version, nil
}

func noEngine(dir string, err error) error {
	return messages.Errorf(messages.CodeNoEngine, "llamacpp.load", "llama.cpp cannot be loaded from %s: %w", dir, err).
		WithHint("install the llama.cpp engine, or name the folder of libllama.so; its version must fit this build")
}

// readVersion asks the library itself; "unknown" where it is too old to tell.
func readVersion(dir string) string {
	lib, err := loader.LoadLibrary(dir, "llama")
	if err != nil {
		return "unknown"
	}
	fn, err := lib.Prep("llama_version", &ffi.TypePointer)
	if err != nil {
		return "unknown"
	}
	var text *byte
	fn.Call(unsafe.Pointer(&text))
	if text == nil {
		return "unknown"
	}
	return utils.BytePtrToString(text)
}

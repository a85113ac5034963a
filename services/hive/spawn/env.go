package spawn

import (
	"maps"
	"runtime"
	"slices"
	"strings"
)

// inherited are the variables that a worker takes over from its hive, by exact name. Everything else
// stays behind: above all RBEE_ variables, which would be read as the worker's own flags, and
// whatever secrets the hive was started with.
var inherited = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR",
	"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
	// Windows programs do not start without these.
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP",
	"USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "NUMBER_OF_PROCESSORS",
}

// inheritedPrefixes are the families of variables that a worker takes over: locale, folders, and
// what GPU drivers and engines read.
var inheritedPrefixes = []string{
	"LC_", "XDG_",
	"CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "GPU_", "VK_", "ZE_", "ONEAPI_", "SYCL_", "MTL_",
	"GGML_", "LLAMA_", "OMP_",
}

// Environ is what a child gets: of parent (lines of NAME=value) what the allow-list names, then all
// of extra, sorted by name. A variable that starts with RBEE_ comes from extra or not at all.
func Environ(parent []string, extra map[string]string) []string {
	env := make(map[string]string, len(extra)+16)
	for _, line := range parent {
		name, value, ok := strings.Cut(line, "=")
		if ok && allowed(name) {
			env[name] = value
		}
	}
	maps.Copy(env, extra)
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

func allowed(name string) bool {
	if runtime.GOOS == "windows" {
		name = strings.ToUpper(name)
	}
	if slices.Contains(inherited, name) {
		return true
	}
	return slices.ContainsFunc(inheritedPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

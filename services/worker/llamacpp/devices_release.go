package llamacpp

import (
	"slices"
	"strings"

	"github.com/rbee-project/rbee/messages"
)

// releases are the releases of llama.cpp whose structures are those that yzma passes to it. yzma v1.28.0
// is made for v0.5.0; v1.26.1 for v0.4.0 and v1.27.0 for v0.4.1 have the very same structures, and v0.4.0
// has every function that v1.28.0 looks up. Our tests pass with v0.4.0 and with v0.5.0. With a structure of
// another layout llama.cpp would read numbers as pointers.
var releases = []string{"0.4.0", "0.4.1", "0.5.0"}

// checkRelease refuses a llama.cpp that these bindings are not known to fit. version is its own word for
// it: "0.5.0-dev" for the packages of v0.5.0.
func checkRelease(version, dir string) error {
	release, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	if slices.Contains(releases, release) {
		return nil
	}
	return messages.Errorf(messages.CodeNoEngine, "llamacpp.load", "llama.cpp in %s is version %s; this worker is made for %s",
		dir, version, strings.Join(releases, ", ")).
		WithHint("rbee engine install llama-cpp, or name a folder with one of these versions")
}

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// modelRef makes a path of this machine absolute. A reference, or the public name of a model that a
// hive has, stays as it is: "org/repo" is one unless there is such a folder here.
func modelRef(ref string) (string, error) {
	if _, err := os.Stat(ref); err != nil && !looksLikePath(ref) {
		return ref, nil
	}
	abs, err := filepath.Abs(ref)
	if err != nil {
		return "", fmt.Errorf("model: %w", err)
	}
	return abs, nil
}

// looksLikePath says whether ref can only be a file, though there is none: "./x", "model.gguf",
// "folder/model.gguf"; "org/repo/model.gguf" is a repository's.
func looksLikePath(ref string) bool {
	if filepath.IsAbs(ref) || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../") || strings.HasPrefix(ref, "~") {
		return true
	}
	return strings.HasSuffix(strings.ToLower(ref), ".gguf") && !strings.Contains(ref, ":") && strings.Count(ref, "/") < 2
}

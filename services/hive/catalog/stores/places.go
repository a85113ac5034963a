package stores

import (
	"path/filepath"
	"slices"
	"strings"
)

// environment is where programs are told to keep their models.
type environment struct {
	getenv func(string) string
	home   string
}

// at is a folder below the one that a variable names, or "" if the variable is not set.
func (e environment) at(variable string, below ...string) string {
	v := strings.Trim(strings.TrimSpace(e.getenv(variable)), `"'`)
	if v == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(filepath.ToSlash(v), "~/"); ok {
		return e.below(append([]string{rest}, below...)...)
	}
	return filepath.Join(append([]string{v}, below...)...)
}

// below is a folder below the user's, or "" if that is not known.
func (e environment) below(parts ...string) string {
	if e.home == "" {
		return ""
	}
	return filepath.Join(append([]string{e.home}, parts...)...)
}

// places are those of paths that are absolute, each once.
func places(paths ...string) []string {
	var out []string
	for _, p := range paths {
		if filepath.IsAbs(p) && !strings.ContainsRune(p, 0) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

package catalog

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/rbee-project/rbee/messages"
)

const extension = ".gguf"

// local takes files that are on this machine already. They are used where they lie: never copied,
// changed or removed, and not hashed, since they may be large.
type local struct{}

func (local) Name() string { return "local" }

// Supports also takes relative paths, to say what is wrong with them.
func (local) Supports(ref string) bool {
	if filepath.IsAbs(ref) {
		return true
	}
	return strings.HasSuffix(strings.ToLower(ref), extension) && !strings.Contains(ref, ":")
}

func (local) Forms() []string { return []string{filepath.FromSlash("/path/to/model.gguf")} }

func (local) Offers() []string { return nil }

func (local) Resolve(_ context.Context, ref string) (Artifact, error) {
	if !filepath.IsAbs(ref) || strings.ContainsRune(ref, 0) {
		return Artifact{}, messages.Errorf(messages.CodeBadModel, opResolve, "model file %q has no absolute path", ref).
			WithHint("give the path on the hive's machine from the root on")
	}
	path := filepath.Clean(ref)
	return Artifact{ID: publicName(path), InPlace: path}, nil
}

func (local) Fetch(context.Context, Artifact, string, func(Step)) error {
	return errors.New("a local model is never fetched")
}

// publicName is the file's name without its extension. A colon would look like another vendor's
// reference, and blanks are trouble in commands.
func publicName(path string) string {
	name := filepath.Base(path)
	if ext := filepath.Ext(name); strings.EqualFold(ext, extension) && len(ext) < len(name) {
		name = strings.TrimSuffix(name, ext)
	}
	return strings.Map(func(r rune) rune {
		if r == ':' || r == '/' || r == '\\' || r == unicode.ReplacementChar || unicode.IsSpace(r) || unicode.IsControl(r) {
			return '-'
		}
		return r
	}, name)
}

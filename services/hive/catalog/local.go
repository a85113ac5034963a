package catalog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const extension = ".gguf"

// local takes files that are on this machine already. They are used where they lie, never changed or
// removed; a pull may copy them.
type local struct{}

func (local) Name() string { return "local" }

// Supports also takes relative paths, to say what is wrong with them.
func (local) Supports(ref string) bool {
	if filepath.IsAbs(ref) {
		return true
	}
	return strings.HasSuffix(strings.ToLower(ref), extension) && !strings.Contains(ref, ":")
}

func (local) Forms() []string {
	return []string{filepath.FromSlash("/path/to/model.gguf"), filepath.FromSlash("/path/to/folder")}
}

func (local) Local() {}

func (local) Resolve(_ context.Context, ref string) (*vendor.Artifact, error) {
	switch {
	case !filepath.IsAbs(ref):
		return nil, messages.Errorf(messages.CodeBadRequest, opResolve, "model file %.200q has no absolute path", ref).
			WithHint("give the path on the hive's machine from the root on")
	case !utf8.ValidString(ref) || strings.ContainsFunc(ref, unicode.IsControl):
		return nil, messages.Errorf(messages.CodeBadRequest, opResolve, "the path %.200q has characters that cannot be shown", ref).
			WithHint("give the file another name")
	}
	path := filepath.Clean(ref)
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, messages.Errorf(messages.CodeModelUnknown, opResolve, "model file %s does not exist", path).WithHint(hintPaths)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return nil, messages.Errorf(messages.CodeModelUnknown, opResolve, "there is no model file %.200s…: no path is that long", path).WithHint(hintPaths)
	case err == nil && fi.IsDir():
		if path, err = oneModelIn(path); err != nil {
			return nil, err
		}
	}
	return localArtifact(path)
}

// localArtifact is the model at path, with all its parts if it is a part.
func localArtifact(path string) (*vendor.Artifact, error) {
	a := &vendor.Artifact{Name: vendor.PublicName(path), Ref: path, Quantization: vendor.Quantization(filepath.Base(path))}
	paths := []string{path}
	if stem, _, of, ok := vendor.Split(filepath.Base(path)); ok {
		a.Name = vendor.PublicName(stem + extension)
		paths = nil
		for i := range of {
			paths = append(paths, filepath.Join(filepath.Dir(path), vendor.PartName(stem, i+1, of)))
		}
	}
	for _, p := range paths {
		size, err := fileSize(p)
		if err != nil {
			return nil, err
		}
		a.Files = append(a.Files, vendor.File{Name: filepath.Base(p), Kind: vendor.Model, SizeBytes: size, InPlace: p})
	}
	return a, nil
}

// maxFolder bounds how many entries of a folder are looked at.
const maxFolder = 10_000

// oneModelIn is the model file in a folder, or the first part of it. Several models are an error that names
// them.
func oneModelIn(dir string) (string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return "", badModel(dir, err)
	}
	defer d.Close()
	names, err := d.Readdirnames(maxFolder)
	if err != nil && len(names) == 0 {
		return "", messages.Errorf(messages.CodeBadModel, opResolve, "there is no %s file in %s", extension, dir)
	}
	var models []string
	for _, n := range names {
		if _, part, _, ok := vendor.Split(n); ok && part > 1 {
			continue
		}
		if strings.EqualFold(filepath.Ext(n), extension) && !strings.Contains(strings.ToLower(n), "mmproj") {
			models = append(models, n)
		}
	}
	slices.Sort(models)
	switch len(models) {
	case 1:
		return filepath.Join(dir, models[0]), nil
	case 0:
		return "", messages.Errorf(messages.CodeBadModel, opResolve, "there is no %s file in %s", extension, dir)
	default:
		return "", messages.Errorf(messages.CodeBadModel, opResolve, "%s has %d models", dir, len(models)).
			WithHint("name one of them: %s", strings.Join(models[:min(len(models), 8)], ", "))
	}
}

// Fetch is for copies.
func (local) Fetch(_ context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	return openLocal(f.InPlace, r)
}

package engines

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"

	"github.com/rbee-project/rbee/messages"
)

// pathVendor finds the libraries where [LibVar] says they are. They are used as they are.
type pathVendor struct {
	getenv func(string) string
}

func (pathVendor) Name() string { return "path" }

func (pathVendor) Supports(engine string) bool { return engine == LlamaCpp }

func (v pathVendor) InPlace(engine string) (messages.Engine, bool, error) {
	dir := v.getenv(LibVar)
	if dir == "" || !v.Supports(engine) {
		return messages.Engine{}, false, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return messages.Engine{}, false, badDir(dir, "%w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err // the message names the folder already
		}
		return messages.Engine{}, false, badDir(dir, "%w", err)
	}
	lib := filepath.Join(dir, libraryName())
	if fi, err := os.Stat(lib); err != nil || !fi.Mode().IsRegular() {
		return messages.Engine{}, false, badDir(dir, "it has no file %s", libraryName())
	}
	return messages.Engine{
		Name: engine, Version: versionIn(entries), Path: dir, Source: v.Name(), SizeBytes: sizeOf(dir),
	}, true, nil
}

func (v pathVendor) Version(engine string) (string, error) {
	return "", messages.Errorf(messages.CodeNoEngine, opInstall, "%s is not set", LibVar)
}

func (v pathVendor) Install(context.Context, string, string, func(Step)) (string, error) {
	return "", messages.Errorf(messages.CodeNoEngine, opInstall, "%s is not set", LibVar)
}

func badDir(dir, format string, args ...any) error {
	e := messages.Errorf(messages.CodeNoEngine, opFind, format, args...)
	e.Message = LibVar + " is " + dir + ": " + e.Message
	return e.WithHint("set %s to a folder with %s and its siblings, or unset it", LibVar, libraryName())
}

// libraryName is the file that llama.cpp is loaded from on this system.
func libraryName() string {
	switch runtime.GOOS {
	case "windows":
		return "llama.dll"
	case "darwin":
		return "libllama.dylib"
	default:
		return "libllama.so"
	}
}

var versionedLibrary = regexp.MustCompile(`^libllama\.(v\d+\.\d+\.\d+)\.`)

// versionIn is the version that a file's name tells, else "unknown".
func versionIn(entries []os.DirEntry) string {
	for _, e := range entries {
		if m := versionedLibrary.FindStringSubmatch(e.Name()); m != nil {
			return m[1]
		}
	}
	return "unknown"
}

// sizeOf is how many bytes the regular files below dir hold; what cannot be read counts as nothing.
func sizeOf(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if fi, err := d.Info(); err == nil {
			sum += fi.Size()
		}
		return nil
	})
	return sum
}

package catalog

import (
	"errors"
	"io/fs"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
)

const hintPaths = "paths are those of the hive's machine"

// badModel says what is wrong with the model file at path.
func badModel(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return because(path, "does not exist", err, hintPaths)
	case errors.Is(err, fs.ErrPermission):
		return because(path, "may not be read by the hive's user", err, "give read permission on the file and its folders")
	case errors.Is(err, gguf.ErrTruncated):
		return because(path, "is truncated: "+err.Error(), err, "fetch or copy the file again")
	case errors.Is(err, gguf.ErrNotGGUF):
		return because(path, "is not a GGUF file", err, "models are files in GGUF format")
	default:
		return because(path, "cannot be used as a model: "+err.Error(), err, "fetch or copy the file again")
	}
}

func because(path, what string, err error, hint string) error {
	return &messages.Error{
		Code: messages.CodeBadModel, Op: opCheck, Message: "model file " + path + " " + what, Hint: hint, Err: err,
	}
}

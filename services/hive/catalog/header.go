package catalog

import (
	"io/fs"
	"os"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/plan"
)

// header is a model file's header and size in bytes.
type header struct {
	*gguf.Header
	size uint64
}

// openHeader reads a model's header; every error is [messages.CodeBadModel] and names the path.
func openHeader(path string) (header, error) {
	size, err := fileSize(path)
	if err != nil {
		return header{}, err
	}
	h, err := gguf.OpenHeader(path)
	if err == nil {
		err = plan.CheckArchitecture(h)
	}
	if err != nil {
		return header{}, badModel(path, err)
	}
	return header{h, uint64(size)}, nil
}

// fileSize is the size of the regular file at path, or says why there is none.
func fileSize(path string) (int64, error) {
	fi, err := fileInfo(path)
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// fileInfo is of the regular file at path, or says why there is none.
func fileInfo(path string) (fs.FileInfo, error) {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, badModel(path, err)
	case fi.IsDir():
		return nil, messages.Errorf(messages.CodeBadModel, opCheck, "%s is a folder, not a model file", path).
			WithHint("name the .gguf file in it")
	case fi.Mode()&fs.ModeType != 0:
		return nil, messages.Errorf(messages.CodeBadModel, opCheck, "%s is not a regular file", path)
	}
	return fi, nil
}

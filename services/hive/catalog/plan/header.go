package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const opPlan = "model.plan"

// Header is what all files of one model say before the weights.
type Header struct {
	// First is the first file's, which has the keys. Its tensors are those of that file alone.
	First *gguf.Header
	// Tensors are those of all files. At most [MaxTensors].
	Tensors []gguf.Tensor
	// Files is how many there are.
	Files int
	// FetchedBytes is what was read of them, at most [MaxBytes].
	FetchedBytes int64

	name string   // of the first file
	keys [][]byte // the architecture's own, for the estimate; nil if it has too many
}

// ReadHeader reads the headers of a model's files, the parts of a split model in order. Files of another
// kind than [vendor.Model] are left out. It fetches ranges of a megabyte or two until it has seen a header,
// and waits at most 5 minutes, 30 seconds without a byte. A source that ignores ranges is read from its
// start and cut.
//
// Errors: [messages.CodeBadModel] for what is no model, or has headers over [MaxBytes] or [MaxTensors];
// [messages.CodeUnavailable] for a source that falls silent or a file that changes meanwhile; fetch's own.
func ReadHeader(ctx context.Context, files []vendor.File, fetch Fetch) (*Header, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readLimit, messages.Errorf(messages.CodeTimeout, opPlan,
		"the model's header did not come within %s", readLimit))
	defer cancel()
	h := &Header{}
	for i := range files {
		if files[i].Kind != vendor.Model {
			continue
		}
		if err := h.add(ctx, &files[i], fetch); err != nil {
			return nil, err
		}
	}
	if h.First == nil {
		return nil, messages.Errorf(messages.CodeBadModel, opPlan, "the model has no file of weights")
	}
	if n, ok := h.First.Uint("split.count"); ok && n > 1 && n != uint64(h.Files) {
		return nil, messages.Errorf(messages.CodeBadModel, opPlan, "%.200q is one of %d files, %d are there", h.name, n, h.Files).
			WithHint("name the first part, and have all parts in one folder")
	}
	return h, nil
}

// add reads one more file's header.
func (h *Header) add(ctx context.Context, f *vendor.File, fetch Fetch) error {
	step := int64(firstWindow)
	if h.First != nil {
		step = laterWindow
	}
	w := newWindow(ctx, fetch, f, step, MaxBytes-h.FetchedBytes)
	defer w.close()
	var header *gguf.Header
	tensors, err := w.prime()
	switch {
	case err != nil:
	case tensors > uint64(MaxTensors-len(h.Tensors)) && string(w.bytes[:4]) == "GGUF":
		err = fmt.Errorf("%w: over %d tensors", gguf.ErrBounds, MaxTensors)
	default:
		if header, err = gguf.ReadHeader(w, w.length()); err == nil {
			err = CheckArchitecture(header)
		}
	}
	if w.err != nil {
		err = w.err
	}
	h.FetchedBytes = MaxBytes - w.left
	if err != nil {
		return readError(f.Name, err)
	}
	h.Files++
	if h.First != nil {
		h.Tensors = append(h.Tensors, header.Tensors...)
		return nil
	}
	h.Tensors = slices.Clip(header.Tensors)
	h.First, h.name = header, f.Name
	h.keys, _ = ownKeys(w.bytes, header.Architecture) // without them there is a coarser estimate
	return nil
}

var architectureForm = regexp.MustCompile(`^[0-9A-Za-z._-]{0,64}$`)

// CheckArchitecture refuses a header whose architecture is no name. No engine has such a one, and it is shown to
// people: it could write anything to their terminal. The error wraps [gguf.ErrMalformed].
func CheckArchitecture(h *gguf.Header) error {
	if architectureForm.MatchString(h.Architecture) {
		return nil
	}
	return fmt.Errorf("%w: its architecture %.40q is no name", gguf.ErrMalformed, h.Architecture)
}

// readError says what is wrong with the file called name.
func readError(name string, err error) error {
	var ours *messages.Error
	bad := func(format string, args ...any) *messages.Error {
		e := messages.Errorf(messages.CodeBadModel, opPlan, format, args...)
		e.Err = err
		return e
	}
	switch {
	case errors.As(err, &ours), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errTooLong):
		return bad("the header of %.200q does not end within %d MiB", name, MaxBytes>>20).WithHint("it is no usual model")
	case errors.Is(err, gguf.ErrNotGGUF):
		return bad("%.200q is not a GGUF file", name).WithHint("models are files in GGUF format")
	case errors.Is(err, gguf.ErrTruncated):
		return bad("%.200q is truncated: %v", name, err).WithHint("fetch or copy the file again")
	case errors.Is(err, gguf.ErrVersion), errors.Is(err, gguf.ErrBounds), errors.Is(err, gguf.ErrMalformed), errors.Is(err, gguf.ErrTensorType):
		return bad("%.200q cannot be used as a model: %v", name, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return bad("%.200q cannot be read: %v", name, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return messages.Errorf(messages.CodeUnavailable, opPlan, "the source of %.200q sent less than it should: %w", name, err).WithHint("try again")
	default:
		return err
	}
}

// OfFile reads the header of the model file at path. If its name is that of a part, as [vendor.Split] reads
// it, all parts beside it belong to the model. Errors as of [ReadHeader].
func OfFile(path string) (*Header, error) {
	paths := []string{path}
	if stem, _, of, ok := vendor.Split(filepath.Base(path)); ok {
		paths = nil
		for part := range of {
			paths = append(paths, filepath.Join(filepath.Dir(path), vendor.PartName(stem, part+1, of)))
		}
	}
	files := make([]vendor.File, 0, len(paths))
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, readError(p, err)
		}
		if !info.Mode().IsRegular() { // to open a named pipe would wait for its writer
			return nil, messages.Errorf(messages.CodeBadModel, opPlan, "%s is not a regular file", p)
		}
		files = append(files, vendor.File{Name: p, Kind: vendor.Model, SizeBytes: info.Size()})
	}
	return ReadHeader(context.Background(), files, fromDisk)
}

func fromDisk(_ context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	file, err := os.Open(f.Name)
	if err != nil {
		return nil, err
	}
	return &vendor.Body{ReadCloser: section{io.NewSectionReader(file, r.From, r.To-r.From), file}, From: r.From, SizeBytes: f.SizeBytes}, nil
}

type section struct {
	io.Reader
	io.Closer
}

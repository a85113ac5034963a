package plan

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// The bounds of reading a model's headers.
const (
	// MaxBytes is the most that is fetched for all files of one model. Real headers have under 16 MB.
	MaxBytes = 32 << 20

	// MaxTensors is the most tensors of all files of one model. Real models have under 10,000.
	MaxTensors = 200_000

	firstWindow = 1 << 20  // of a model's first file, which has the vocabulary
	laterWindow = 64 << 10 // of its other files, which list a few hundred tensors
	maxStep     = 2 << 20  // so no more than this is fetched in vain
	readLimit   = 5 * time.Minute
	stallLimit  = 30 * time.Second
)

var (
	errTooLong = errors.New("too long")
	errEnded   = errors.New("the file has ended") // one whose size nobody told
)

// Fetch brings a part of a file, as [vendor.Vendor] does.
type Fetch func(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error)

// window is the start of a file, as much of it as has been asked for. It belongs to one goroutine.
type window struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	fetch  Fetch
	file   *vendor.File
	step   int64
	left   int64 // bytes that may still be fetched

	bytes   []byte
	size    int64 // of the file; -1 as long as nobody has said
	version string
	body    *vendor.Body // what the source still sends, nil if it has ended
	fresh   bool         // the body has sent nothing yet
	err     error        // the first failure, which gguf's reader would call a short file
}

func newWindow(ctx context.Context, fetch Fetch, file *vendor.File, step, left int64) *window {
	ctx, cancel := context.WithCancelCause(ctx)
	return &window{ctx: ctx, cancel: cancel, fetch: fetch, file: file, step: step, left: left, size: file.SizeBytes}
}

// close ends what is under way.
func (w *window) close() {
	w.leave()
	w.cancel(nil)
}

func (w *window) leave() {
	if w.body != nil {
		_ = w.body.Close()
		w.body = nil
	}
}

// ReadAt is for gguf's reader, which reads forward.
func (w *window) ReadAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	if w.size >= 0 {
		end = min(end, w.size)
	}
	for w.err == nil && int64(len(w.bytes)) < end {
		if w.err = w.grow(); errors.Is(w.err, errEnded) {
			w.err, w.size = nil, int64(len(w.bytes))
			break
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	if off >= int64(len(w.bytes)) {
		return 0, io.EOF
	}
	n := copy(p, w.bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// grow adds the next step.
func (w *window) grow() error {
	want := w.step
	if w.size >= 0 {
		want = min(want, w.size-int64(len(w.bytes)))
	}
	if want > w.left {
		return errTooLong
	}
	w.step = min(2*w.step, maxStep)
	from := len(w.bytes)
	if need := from + int(want); need > cap(w.bytes) {
		w.bytes = append(make([]byte, 0, max(need, min(2*cap(w.bytes), MaxBytes))), w.bytes...)
	}
	w.bytes = w.bytes[:from+int(want)]
	for n := from; n < len(w.bytes); {
		m, err := w.read(w.bytes[n:], int64(n), int64(len(w.bytes)))
		n += m
		w.left -= int64(m)
		if err != nil {
			w.bytes = w.bytes[:n]
			return err
		}
	}
	return nil
}

// read goes on where the source is, or asks it for at to end. A source that ignores ranges goes on by
// itself, so its one stream is read as far as needed.
func (w *window) read(p []byte, at, end int64) (int, error) {
	if w.body == nil {
		if err := w.open(at, end); err != nil {
			return 0, err
		}
	}
	stalled := time.AfterFunc(stallLimit, func() {
		w.cancel(messages.Errorf(messages.CodeUnavailable, opPlan, "the source of %.200q sends nothing", w.file.Name))
	})
	n, err := w.body.Read(p)
	stalled.Stop()
	w.fresh = w.fresh && n == 0
	switch {
	case n > 0:
		return n, nil // an error comes again
	case err == nil:
		return 0, w.ctx.Err()
	case !errors.Is(err, io.EOF):
		return 0, w.because(err)
	case w.fresh && w.size < 0:
		return 0, errEnded
	case w.fresh:
		return 0, io.ErrUnexpectedEOF
	}
	w.leave()
	return 0, nil
}

func (w *window) open(at, end int64) error {
	body, err := w.fetch(w.ctx, w.file, vendor.Range{From: at, To: end})
	if err != nil {
		return w.because(err)
	}
	w.body, w.fresh = body, true
	switch {
	case w.size >= 0 && body.SizeBytes >= 0 && body.SizeBytes != w.size,
		body.Version != "" && w.version != "" && body.Version != w.version:
		return messages.Errorf(messages.CodeUnavailable, opPlan, "%.200q changed at its source while it was read", w.file.Name).
			WithHint("try again")
	case body.From > at:
		return messages.Errorf(messages.CodeUnavailable, opPlan, "the source of %.200q sent bytes from %d on, %d was asked for", w.file.Name, body.From, at)
	}
	w.size, w.version = max(w.size, body.SizeBytes), body.Version
	return w.skip(at - body.From)
}

// skip leaves out what a source without ranges sends once more.
func (w *window) skip(n int64) error {
	if n > w.left {
		return errTooLong
	}
	w.left -= n
	stalled := time.AfterFunc(stallLimit, func() { w.cancel(context.DeadlineExceeded) })
	defer stalled.Stop()
	if _, err := io.CopyN(io.Discard, w.body, n); err != nil {
		return w.because(err)
	}
	return nil
}

// because prefers why the context ended over what came of it.
func (w *window) because(err error) error {
	if cause := context.Cause(w.ctx); cause != nil {
		return cause
	}
	return err
}

// length is the file's size; one that nobody has told is taken as long enough.
func (w *window) length() int64 {
	if w.size < 0 {
		return math.MaxInt64 >> 1
	}
	return w.size
}

// prime fetches the first bytes: only then the size is known for sure. tensors is how many the file claims
// to have.
func (w *window) prime() (tensors uint64, err error) {
	var b [16]byte // magic, version, number of tensors
	if _, err := w.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[8:]), nil
}

package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// admit checks that the body is about the file as we know it, and learns from it whether the source has
// ranges.
func (t *transfer) admit(st *stream, b *vendor.Body) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.proven(b); err != nil {
		return err
	}
	if err := t.sameSize(b); err != nil {
		return err
	}
	if err := t.sameVersion(b.Version); err != nil {
		return err
	}
	switch from := st.claim.from; {
	case b.From == from && from > 0:
		st.wholes = 0
		if t.parts == unknown {
			t.parts = yes
			t.signal()
		}
	case b.From == from:
	case b.From != 0:
		return wrongAnswer("it sent bytes from %d on, %d was asked for", b.From, from)
	case t.parts != no:
		if st.wholes++; t.parts == yes && st.wholes < maxWhole {
			return &readError{errWhole}
		}
		t.note("the server gives no ranges: one stream")
		t.one(st)
		if t.only != st {
			return errOther
		}
	}
	return nil
}

// proven refuses what may be another's answer in the source's place, such as a portal's page: a body that says
// neither size nor version, of a source that told them before. t.mu is held.
func (t *transfer) proven(b *vendor.Body) error {
	switch {
	case b.SizeBytes >= 0 || b.Version != "":
	case t.journal.head.version != "":
		return wrongAnswer("it says neither the size nor the version of the file, as it did before")
	case t.sized && b.From == 0:
		return wrongAnswer("it does not say the size of the file, as it did before")
	default:
		t.mixed = true
	}
	return nil
}

// one goes on with one stream: that which is at the start of the file, if there is one, else st.
func (t *transfer) one(st *stream) {
	t.parts, t.only = no, st
	for _, a := range t.active {
		if a.claim.from == 0 {
			t.only = a
		}
	}
	for _, a := range t.active {
		if a != t.only && a.cancel != nil {
			a.cancel(errOther)
		}
	}
	t.signal()
}

// sameSize compares the size that the source says with what is known. t.mu is held.
func (t *transfer) sameSize(b *vendor.Body) error {
	switch {
	case b.SizeBytes < 0:
		return nil
	case b.SizeBytes == t.seg.size:
		t.sized = true
		return nil
	case b.SizeBytes > maxSize:
		return wrongAnswer("it says that the file has %d bytes", b.SizeBytes)
	case t.seg.size >= 0:
		return t.otherSize(b.SizeBytes)
	case b.SizeBytes == 0:
		return errEmpty()
	case t.seg.done == 0:
		return &sizeLearnt{b.SizeBytes, shortVersion(b.Version)}
	case b.SizeBytes < t.seg.done:
		return &replacedError{fmt.Sprintf("it has %d bytes now, %d are here already", b.SizeBytes, t.seg.done)}
	}
	t.sized = true
	t.setSize(b.SizeBytes)
	return nil
}

// setSize is called when the size becomes known on the way. t.mu is held.
func (t *transfer) setSize(size int64) {
	t.seg.size = size
	t.seg.skipWhole()
	t.wake()
	t.signal()
}

// otherSize is the error for a source that says got bytes where others are known.
func (t *transfer) otherSize(got int64) error {
	if !t.promised {
		return &replacedError{fmt.Sprintf("it has %d bytes now, it had %d", got, t.seg.size)}
	}
	return messages.Errorf(messages.CodeBadModel, op, "the source sends a file of %d bytes, not of %d", got, t.seg.size).
		WithHint("the file was replaced at the source, or something between answers in its place; %s", keptText(t.seg.done, t.seg.size))
}

// sameVersion compares and learns. With a digest, which decides, versions only inform: the machines of one source
// may name the same file differently. t.mu is held.
func (t *transfer) sameVersion(v string) error {
	v = shortVersion(v)
	if v == "" || v == t.journal.head.version {
		return nil
	}
	if known := t.journal.head.version; known != "" {
		if t.spec.Digest != "" {
			if !t.differs {
				t.note("the source names the file differently (%.80q, then %.80q): going on, the digest decides", known, v)
			}
			t.differs, t.mixed = true, true
			return nil
		}
		return &replacedError{fmt.Sprintf("its version was %.80q and is %.80q", known, v)}
	}
	h := t.journal.head
	h.version = v
	if err := t.journal.setHeader(h); err != nil {
		return &ownError{err}
	}
	return nil
}

// shortVersion fits into a journal.
func shortVersion(v string) string {
	if len(v) <= maxVersion {
		return v
	}
	sum := sha256.Sum256([]byte(v))
	return hex.EncodeToString(sum[:])
}

// ended judges a clean end, at pos, of a body that brought fresh new bytes.
func (t *transfer) ended(ctx context.Context, st *stream, b *vendor.Body, pos, fresh int64) error {
	limit, err := t.limit(ctx, st, pos)
	if err != nil || pos >= limit {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seg.size >= 0 {
		return t.endedEarly(b, pos, fresh)
	}
	whole := b.From == 0 && (st.claim.from > 0 || pos > st.claim.to)
	switch {
	case pos == 0:
		return errEmpty()
	case whole && !b.Undelimited, t.refused && pos == t.seg.done:
		return t.endsAt(pos)
	case whole && fresh == 0 && pos == st.claim.from:
		return &ownError{messages.Errorf(messages.CodeUnavailable, op, "the source does not say where the file ends: it just closes the connection after %d bytes, which may be a cut", pos).
			WithHint("take another source, or give the size of the file")}
	case fresh == 0:
		return &readError{io.ErrUnexpectedEOF}
	}
	return nil // the next request asks for what follows: a refusal shows that this was the end
}

// endedEarly judges the clean end of a body before the known end of the file. What says nothing of the file it is
// of may be of another: its bytes are taken back, unless a digest decides and the source never says more.
func (t *transfer) endedEarly(b *vendor.Body, pos, fresh int64) error {
	if b.From > 0 || b.SizeBytes >= 0 || b.Version != "" || t.spec.Digest != "" && !t.sized {
		return &readError{io.ErrUnexpectedEOF}
	}
	if fresh == 0 {
		return wrongAnswer("it ended after %d bytes of %d", pos, t.seg.size)
	}
	return &replacedError{fmt.Sprintf("it ended after %d bytes of %d", pos, t.seg.size)}
}

func errEmpty() error { return wrongAnswer("the file is empty") }

// endsAt ends a file of unknown size. t.mu is held.
func (t *transfer) endsAt(size int64) error {
	switch {
	case size == 0:
		return errEmpty()
	case size < t.seg.done:
		return &replacedError{fmt.Sprintf("it has %d bytes now, %d are here already", size, t.seg.done)}
	}
	t.setSize(size)
	return nil
}

// rangeEnds finds in a refusal of a range (416) the size of the file.
func (t *transfer) rangeEnds(err error, st *stream) error {
	e, ok := errors.AsType[*vendor.StatusError](err)
	if !ok || e.Status != http.StatusRequestedRangeNotSatisfiable {
		return err
	}
	text, ok := strings.CutPrefix(e.Header.Get("Content-Range"), "bytes */")
	size, perr := strconv.ParseInt(text, 10, 64)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok || perr != nil || size < 0 || size > maxSize {
		return t.refusedAt(err, st.claim.from)
	}
	switch {
	case t.seg.size >= 0 && size != t.seg.size:
		return t.otherSize(size)
	case t.seg.size < 0 && size == st.claim.from:
		return t.endsAt(size)
	case size > st.claim.from:
		return wrongAnswer("it refuses bytes from %d on of a file of %d", st.claim.from, size)
	}
	return &replacedError{fmt.Sprintf("it has %d bytes now", size)}
}

// refusedAt judges a refusal of bytes from on that does not say the size. Of a file of unknown size it may be the
// end: then the byte before is not refused. t.mu is held.
func (t *transfer) refusedAt(err error, from int64) error {
	switch {
	case t.seg.size >= 0 || from == 0:
		return err
	case t.refused:
		return &replacedError{fmt.Sprintf("it has less than %d bytes now", t.seg.done)}
	}
	t.refused = true
	return nil
}

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
	if err := t.sameSize(b); err != nil {
		return err
	}
	if err := t.sameVersion(b.Version); err != nil {
		return err
	}
	switch from := st.claim.from; {
	case b.From == from && from > 0:
		if t.parts == unknown {
			t.parts = yes
			t.signal()
		}
	case b.From == from:
	case b.From != 0:
		return wrongAnswer("it sent bytes from %d on, %d was asked for", b.From, from)
	case t.parts != no:
		t.tell.say("the server gives no ranges: one stream")
		t.one(st)
		if t.only != st {
			return errOther
		}
	}
	t.wrong = 0
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
	case b.SizeBytes < 0 || b.SizeBytes == t.seg.size:
		return nil
	case b.SizeBytes > maxSize:
		return wrongAnswer("it says that the file has %d bytes", b.SizeBytes)
	case t.seg.size >= 0:
		return t.otherSize(b.SizeBytes)
	case t.seg.done == 0:
		return &sizeLearnt{b.SizeBytes, shortVersion(b.Version)}
	case b.SizeBytes < t.seg.done:
		return &replacedError{fmt.Sprintf("it has %d bytes now, %d are here already", b.SizeBytes, t.seg.done)}
	}
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

// sameVersion compares and learns. t.mu is held.
func (t *transfer) sameVersion(v string) error {
	v = shortVersion(v)
	if v == "" || t.distrust || v == t.journal.head.version {
		return nil
	}
	if known := t.journal.head.version; known != "" {
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

// ended judges a clean end of a body at pos.
func (t *transfer) ended(ctx context.Context, st *stream, pos int64) error {
	limit, err := t.limit(ctx, st, pos)
	if err != nil || pos >= limit {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seg.size >= 0 {
		return &readError{io.ErrUnexpectedEOF}
	}
	if pos == st.claim.to {
		return nil // all that was asked for
	}
	return t.endsAt(pos)
}

// endsAt ends a file of unknown size. t.mu is held.
func (t *transfer) endsAt(size int64) error {
	if size < t.seg.done {
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
	if !ok || perr != nil || size < 0 || size > maxSize {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
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

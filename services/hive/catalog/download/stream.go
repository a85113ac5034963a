package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// maxRead is a stream's buffer.
const maxRead = 256 << 10

var (
	errStalled = errors.New("no byte came")
	// errOther ends a request because another stream does it all.
	errOther = errors.New("another stream fetches the file")
	errWhole = errors.New("the source sent the whole file where a part was asked for")
)

// stream is one of several that fetch. Its fields belong to its goroutine but for cancel.
type stream struct {
	buf    []byte
	cancel context.CancelCauseFunc // of the request that is under way; under transfer.mu
	claim  claim
	got    int64 // bytes that the last request brought, there already or not
	fails  int   // in a row without a new byte
	vain   int   // of them, those that brought bytes
	wrong  int   // answers in a row that make no sense
	wholes int   // whole files in a row for a range, of a source that gave ranges
}

// claim is bytes that a stream fetches with one request.
type claim struct {
	i        int
	from, to int64 // to < 0: the end of the file
	probe    bool
}

// stream fetches until nothing is left to it.
func (t *transfer) stream(ctx context.Context) error {
	st := &stream{}
	for {
		if err := t.leaveAlone(ctx); err != nil {
			return err
		}
		ok, err := t.next(ctx, st)
		if !ok || err != nil {
			return err
		}
		fresh, err := t.fetch(ctx, st)
		t.release(st)
		if fresh > 0 {
			st.fails, st.vain, st.wrong = 0, 0, 0
		} else if st.got > 0 && err != nil {
			st.vain++
		}
		switch {
		case err == nil, errors.Is(err, errOther):
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		}
		st.fails++
		if err := t.mayRetry(st, err); err != nil {
			return err
		}
		if err := sleep(ctx, t.backoff(st.fails)); err != nil {
			return err
		}
	}
}

// next gives st bytes to fetch: the first that nobody fetches. As long as it is not known whether the
// source has ranges, two requests at most are under way: one for the start, one that tells.
func (t *transfer) next(ctx context.Context, st *stream) (ok bool, err error) {
	err = t.await(ctx, func() bool {
		if t.parts == no {
			if t.only == nil {
				t.only = st
			}
			if t.only != st || t.seg.complete() {
				return true
			}
			if len(t.active) > 0 {
				return false
			}
		}
		i, from, to, found := t.seg.next()
		if !found {
			return true
		}
		probe := t.parts == unknown && from > 0
		if probe && t.probing {
			return false
		}
		if t.refused && from > 0 {
			from-- // the last byte again: it shows that the file has not become shorter
		}
		switch {
		case t.seg.size < 0 && from == 0:
			to = 1 // the answer may tell the size
		case t.parts == no:
			to = -1
		default:
			to = min(to, from+t.piece)
		}
		t.probing = t.probing || probe
		t.seg.taken[i] = true
		t.active = append(t.active, st)
		st.claim, ok = claim{i, from, to, probe}, true
		return true
	})
	return ok, err
}

// release gives back what next gave.
func (t *transfer) release(st *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seg.taken[st.claim.i] = false
	for i, a := range t.active {
		if a == st {
			t.active = append(t.active[:i], t.active[i+1:]...)
			break
		}
	}
	if st.claim.probe {
		t.probing = false
	}
	st.cancel = nil
	t.signal()
}

// fetch does one request and writes what it brings. fresh is how many bytes were not there before.
func (t *transfer) fetch(ctx context.Context, st *stream) (fresh int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.mu.Lock()
	st.cancel, st.got = cancel, 0
	late := t.parts == no && t.only != st
	t.mu.Unlock()
	if late {
		return 0, errOther
	}
	stall := time.AfterFunc(t.spec.Stall, func() { cancel(errStalled) })
	defer stall.Stop()
	body, err := t.spec.Source(ctx, vendor.Range{From: st.claim.from, To: st.claim.to})
	stall.Stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return 0, cause
		}
		return 0, t.rangeEnds(err, st)
	}
	var once sync.Once
	shut := func() { once.Do(func() { body.Close() }) }
	defer shut()
	defer context.AfterFunc(ctx, shut)() // a reader that hangs in Read ends
	err = t.admit(st, body)
	t.flush()
	if err != nil {
		return 0, err
	}
	fresh, err = t.copy(ctx, st, body, stall)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return fresh, err
}

// copy writes the body until its part of the file is whole.
func (t *transfer) copy(ctx context.Context, st *stream, body *vendor.Body, stall *time.Timer) (fresh int64, err error) {
	if st.buf == nil {
		st.buf = make([]byte, t.chunk)
	}
	for pos := body.From; ; {
		limit, err := t.limit(ctx, st, pos)
		if err != nil || pos >= limit {
			return fresh, err
		}
		stall.Reset(t.spec.Stall)
		n, rerr := body.Read(st.buf[:min(int64(len(st.buf)), limit-pos)])
		stall.Stop()
		if n > 0 {
			t.lastByte.Store(int64(time.Since(t.begun)))
			st.got += int64(n)
			wrote, err := t.place(st.buf[:n], pos)
			fresh += wrote
			if err != nil {
				return fresh, err
			}
			pos += int64(n)
			if err := t.throttle(ctx, n); err != nil {
				return fresh, err
			}
		}
		switch {
		case errors.Is(rerr, io.EOF):
			return fresh, t.ended(ctx, st, body, pos, fresh)
		case rerr != nil:
			return fresh, &readError{rerr}
		}
	}
}

// limit is where the stream stops: behind what it asked for, or at the end of the file if it is the only one.
func (t *transfer) limit(ctx context.Context, st *stream, pos int64) (int64, error) {
	if err := t.decided(ctx, st, pos); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.parts != no:
		return st.claim.to, nil
	case t.only != st:
		return 0, errOther
	case t.seg.complete():
		return pos, nil
	case t.seg.size < 0:
		return math.MaxInt64, nil
	}
	return t.seg.size, nil
}

// decided waits for two things. A stream behind the end of its part at the file's start may have got the whole
// file: it goes on if the source proves to have no ranges. And who is the only one now lets the others, who were
// told to, end: two must not write one segment.
func (t *transfer) decided(ctx context.Context, st *stream, pos int64) error {
	return t.await(ctx, func() bool {
		switch t.parts {
		case unknown:
			return st.claim.from > 0 || pos < st.claim.to || !t.probing
		case no:
			return t.only != st || len(t.active) <= 1
		default:
			return true
		}
	})
}

// place writes what is new of p, which belongs at pos. A byte is in the data before the journal says so.
func (t *transfer) place(p []byte, pos int64) (fresh int64, err error) {
	for len(p) > 0 {
		t.mu.Lock()
		i, skip, take := t.seg.room(pos, int64(len(p)))
		ask := t.seg.size < 0 && t.spec.Reserve != nil && t.seg.done+take > t.reserved
		t.mu.Unlock()
		if skip+take == 0 || pos > maxSize {
			return fresh, &ownError{fmt.Errorf("%d bytes at %d have no place", len(p), pos)}
		}
		if ask {
			if err := t.spec.Reserve(reserveStep); err != nil {
				return fresh, &ownError{err}
			}
			t.reserved += reserveStep
		}
		if take > 0 {
			if _, err := t.data.WriteAt(p[skip:skip+take], pos+skip); err != nil {
				return fresh, &ownError{err}
			}
			if err := t.wrote(i, take); err != nil {
				return fresh, &ownError{err}
			}
			fresh += take
		}
		p, pos = p[skip+take:], pos+skip+take
	}
	return fresh, nil
}

// wrote notes n more bytes of segment i that are in the data file.
func (t *transfer) wrote(i int, n int64) error {
	t.mu.Lock()
	before := t.seg.prefix()
	now := t.seg.add(i, n)
	grew := t.seg.prefix() > before
	t.mu.Unlock()
	if err := t.journal.setWritten(i, now); err != nil {
		return err
	}
	t.dirty.add(i, now, n)
	if grew {
		t.wake()
	}
	return nil
}

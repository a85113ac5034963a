package fakehub

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	piece     = 256 << 10 // bytes a write
	slowPiece = 16 << 10  // when throttled, cut or stalled
)

// serveCDN gives files to who has a signed address.
func (h *Hub) serveCDN(w http.ResponseWriter, r *http.Request) {
	s, ok := h.signed(r)
	if !ok {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>`)
		return
	}
	w.Header().Set("ETag", s.etag)
	w.Header().Set("X-Cache", "Miss from a cdn")
	h.mu.Lock()
	if h.faults.ignoreRanges {
		r.Header.Del("Range")
	}
	h.mu.Unlock()
	h.send(w, r, s)
}

// send answers with the bytes of s, or the range of them that was asked for.
func (h *Hub) send(w http.ResponseWriter, r *http.Request, s *stored) {
	from, to, status := int64(0), s.size, http.StatusOK
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Type", "application/octet-stream")
	if spec := r.Header.Get("Range"); spec != "" {
		var ok bool
		if from, to, ok = parseRange(spec, s.size); !ok {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", s.size))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, s.size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(to-from, 10))
	h.mu.Lock()
	if h.faults.lying != nil {
		h.faults.lying(w.Header())
	}
	h.mu.Unlock()
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	h.body(w, r, s, from, to)
}

// parseRange takes one range, as RFC 9110, 14.1.2 has it; to is behind the last byte.
func parseRange(spec string, size int64) (from, to int64, ok bool) {
	first, last, found := strings.Cut(strings.TrimPrefix(spec, "bytes="), "-")
	if !found || !strings.HasPrefix(spec, "bytes=") {
		return 0, 0, false
	}
	to = size
	if first == "" {
		n, err := strconv.ParseInt(last, 10, 64)
		return max(size-n, 0), size, err == nil && n > 0 && size > 0
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err == nil && last != "" {
		to, err = strconv.ParseInt(last, 10, 64)
		to = min(to+1, size)
	}
	return from, to, err == nil && from >= 0 && from < to
}

// body sends bytes from to to, as the faults have it.
func (h *Hub) body(w http.ResponseWriter, r *http.Request, s *stored, from, to int64) {
	h.mu.Lock()
	cut, stallAt := int64(-1), int64(-1)
	if h.faults.cut != nil {
		cut = h.faults.cut()
	}
	stalled, slow := h.faults.stalled, h.faults.rate > 0
	if stalled != nil {
		stallAt = h.faults.stallAt
	}
	h.mu.Unlock()
	content := Reader(s.File)
	if _, err := content.Seek(from, io.SeekStart); err != nil {
		panic(http.ErrAbortHandler)
	}
	size := piece
	if slow || cut >= 0 || stallAt >= 0 {
		size = slowPiece
	}
	flush := http.NewResponseController(w)
	buf := make([]byte, size)
	for sent := int64(0); sent < to-from; {
		n := min(int64(size), to-from-sent)
		for _, stop := range []int64{cut, stallAt} {
			if stop > sent {
				n = min(n, stop-sent)
			}
		}
		if sent == cut {
			panic(http.ErrAbortHandler)
		}
		if sent == stallAt {
			h.wait(r.Context(), stalled, 0)
		}
		if _, err := io.ReadFull(content, buf[:n]); err != nil {
			panic(http.ErrAbortHandler)
		}
		h.pace(r.Context(), n)
		h.mu.Lock() // before they go: who has read them sees them counted
		h.record.sent[s.repo+"/"+s.Path] += n
		h.mu.Unlock()
		if _, err := w.Write(buf[:n]); err != nil {
			return
		}
		if size == slowPiece && flush.Flush() != nil {
			return
		}
		sent += n
	}
}

// pace waits until n more bytes may be sent by all connections together.
func (h *Hub) pace(ctx context.Context, n int64) {
	h.mu.Lock()
	f := &h.faults
	if f.rate <= 0 {
		h.mu.Unlock()
		return
	}
	now := time.Now()
	if f.nextFree.Before(now) {
		f.nextFree = now
	}
	f.nextFree = f.nextFree.Add(time.Duration(n * int64(time.Second) / f.rate))
	delay := f.nextFree.Sub(now)
	h.mu.Unlock()
	h.wait(ctx, nil, delay)
}

// wait returns after delay, if it is not 0, or when goOn is closed; it aborts the answer if the client has gone or
// the hub ends.
func (h *Hub) wait(ctx context.Context, goOn <-chan struct{}, delay time.Duration) {
	var timer <-chan time.Time
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-timer:
	case <-goOn:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	case <-h.closed:
		panic(http.ErrAbortHandler)
	}
}

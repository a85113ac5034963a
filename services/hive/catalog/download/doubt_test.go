package download

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// portal answers once, in the server's place, a request for the file's start: with success, and without a size.
// Later, it lets the server have answered another request before.
func portal(later bool) reply {
	var starts atomic.Int32
	other := make(chan struct{})
	return func(s *server, _ int, w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.Header.Get("Range"), "bytes=0-") {
			s.serve(w, r)
			if starts.Load() == 1 && later {
				select {
				case other <- struct{}{}:
				default:
				}
			}
			return true
		}
		n := starts.Add(1)
		if later {
			n--
		}
		switch n {
		case 0:
			select {
			case <-other:
			case <-r.Context().Done():
			}
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case 1:
			w.WriteHeader(http.StatusOK)
			s.write(w, r, []byte(strings.Repeat("<html>", 100)))
		default:
			return false
		}
		return true
	}
}

// What another sends in the source's place becomes no part of the file.
func TestPortal(t *testing.T) {
	content := bytesOf(6<<20+77, 60)
	for name, tc := range map[string]struct{ later, digest bool }{
		"first, digest known": {false, true}, "first, digest unknown": {false, false},
		"later, digest known": {true, true}, "later, digest unknown": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, content)
			s.answer = portal(tc.later)
			spec, words := s.spec(t)
			spec.Streams = 2
			if !tc.digest {
				spec.Digest = ""
			}
			mustGet(t, spec, content)
			if sent, _ := s.counts(); tc.later && sent > int64(len(content))*101/100 {
				t.Errorf("%d bytes were sent; said %q", sent, words.all())
			}
		})
	}
}

// cutClosed sends the first n bytes, and says the end by closing the connection.
func cutClosed(w http.ResponseWriter, b []byte) {
	c, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	_, _ = fmt.Fprint(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
	_, _ = out.Write(b)
	_ = out.Flush()
}

// rangesWithoutSize has ranges, says no size and refuses what is behind the end without saying it. It gives at most
// so many bytes at once.
func rangesWithoutSize(most int) reply {
	return func(s *server, _ int, w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		content := s.content
		s.mu.Unlock()
		from, to, ok := parseRange(r.Header.Get("Range"), len(content))
		if !ok || from >= len(content) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}
		to = min(to, from+most)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", from, to-1))
		w.WriteHeader(http.StatusPartialContent)
		s.write(w, r, content[from:to])
		return true
	}
}

// Of a file whose size nobody says, a clean end is not yet the end.
func TestEndOfUnknownSize(t *testing.T) {
	content := bytesOf(3<<20+77, 61)
	parts := rangesWithoutSize(1 << 20)
	for name, tc := range map[string]struct {
		answer reply
		err    string // in the error; "": the file comes
	}{
		"parts": {answer: parts},
		"cut by the end of the connection": {answer: func(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				cutClosed(w, content[:1<<20])
				return true
			}
			return parts(s, n, w, r)
		}},
		"nothing but the end of the connection": {err: "does not say where the file ends", answer: func(_ *server, n int, w http.ResponseWriter, _ *http.Request) bool {
			cutClosed(w, content[:min(n, 3)<<20])
			return true
		}},
		"empty": {err: "the file is empty", answer: func(_ *server, _ int, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			return true
		}},
		"empty, and says so": {err: "the file is empty", answer: func(_ *server, _ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "0")
			return true
		}},
		"empty, by refusal": {answer: status(416, 1, 99, "Content-Range", "bytes */0"), err: "the file is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, content)
			s.answer = tc.answer
			spec, _ := s.spec(t)
			spec.SizeBytes, spec.Digest = -1, ""
			spec.Patience = spec.Patience / 5
			if tc.err == "" {
				mustGet(t, spec, content)
				return
			}
			r, err := get(t, spec)
			if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%+v, %v", r, err)
			}
			if _, err := os.Stat(spec.Final); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the file: %v", err)
			}
		})
	}
}

// A complete file of unknown size is recognised though the refusal does not say its size, and one that became shorter
// meanwhile is not.
func TestRefusedWithoutSize(t *testing.T) {
	content := bytesOf(3<<20, 62)
	for name, size := range map[string]int{"complete": len(content), "shorter now": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, content)
			answer := rangesWithoutSize(2 << 20)
			s.answer = func(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 3 { // it began with one byte
					s.mu.Lock()
					s.content = content[:size]
					s.mu.Unlock()
				}
				return answer(s, n, w, r)
			}
			spec, _ := s.spec(t)
			spec.SizeBytes, spec.Digest = -1, ""
			mustGet(t, spec, content[:size])
			if _, n := s.counts(); size == len(content) && n != 5 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// What an answer that says little is worth depends on what the source said before.
func TestProven(t *testing.T) {
	content := bytesOf(100, 63)
	for name, tc := range map[string]struct {
		body           vendor.Body
		sized, version bool
		refused        bool
	}{
		"nothing known":              {vendor.Body{SizeBytes: -1}, false, false, false},
		"size known":                 {vendor.Body{SizeBytes: -1}, true, false, true},
		"size known, a part":         {vendor.Body{SizeBytes: -1, From: 5}, true, false, false},
		"version known":              {vendor.Body{SizeBytes: -1}, false, true, true},
		"version known, a part":      {vendor.Body{SizeBytes: -1, From: 5}, false, true, true},
		"all known, says a size":     {vendor.Body{SizeBytes: 100}, true, true, false},
		"all known, says a version ": {vendor.Body{SizeBytes: -1, Version: "one"}, true, true, false},
	} {
		tr := begun(t, timed(t, content, instant(content)), content, 0)
		defer tr.close()
		tr.sized = tc.sized
		if tc.version {
			tr.journal.head.version = "one"
		}
		if err := tr.proven(&tc.body); errors.Is(err, vendor.ErrRange) != tc.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A source whose size nobody says, and whose answers are empty where the file may go on, ends.
func TestEmptyAnswers(t *testing.T) {
	content := bytesOf(100, 64)
	synctest.Test(t, func(t *testing.T) {
		good := instant(content)
		s := timed(t, content, func(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
			if r.From > 0 {
				r.To = 100
			}
			b, err := good(ctx, r)
			b.SizeBytes = -1
			return b, err
		})
		s.SizeBytes = -1
		if _, err := Get(t.Context(), s); messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "unexpected EOF") {
			t.Error(err)
		}
	})
}

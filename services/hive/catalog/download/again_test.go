package download

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// One whole file for a range, of a source that gave ranges, is asked anew.
func TestOneWholeFile(t *testing.T) {
	content := bytesOf(12<<20, 70)
	s := newServer(t, content)
	s.answer = func(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
		return n == 8 && noRanges(s, n, w, r)
	}
	spec, words := s.spec(t)
	mustGet(t, spec, content)
	if sent, n := s.counts(); sent > int64(len(content))*11/10 || n < 13 || len(words.all()) > 0 {
		t.Errorf("%d bytes were sent in %d requests; said %q", sent, n, words.all())
	}
}

// Eight streams that each get one answer that makes no sense go on.
func TestWrongVolley(t *testing.T) {
	content := bytesOf(24<<20, 71)
	good := instant(content)
	var n atomic.Int64
	all := make(chan struct{})
	s := timed(t, content, func(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
		k := n.Add(1)
		if k < 9 || k > 16 {
			return good(ctx, r)
		}
		if k == 16 {
			close(all)
		}
		select {
		case <-all:
			return nil, wrongAnswer("it is confused")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	mustGet(t, s, content)
}

// slowly reads what there is and then hangs until ctx ends.
type slowly struct {
	io.Reader
	hanging
}

func (s slowly) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		return s.hanging.Read(p)
	}
	return n, err
}

// failing reads what there is and then fails with err.
type failing struct {
	io.Reader
	err error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}
func (failing) Close() error { return nil }

// A source without ranges that stalls or breaks for ever before anything new ends, though bytes come.
func TestStallsBeforeNew(t *testing.T) {
	content := bytesOf(100, 72)
	for name, body := range map[string]func(context.Context, io.Reader) io.ReadCloser{
		"stalls": func(ctx context.Context, r io.Reader) io.ReadCloser { return slowly{r, hanging{ctx}} },
		"breaks": func(_ context.Context, r io.Reader) io.ReadCloser {
			return failing{r, messages.Errorf(messages.CodeUnavailable, "test", "gone")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := timed(t, content, func(ctx context.Context, _ vendor.Range) (*vendor.Body, error) {
					return &vendor.Body{ReadCloser: body(ctx, bytes.NewReader(content[:50])), SizeBytes: 100}, nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
				defer cancel()
				_, err := Get(ctx, s)
				if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "brought nothing new") {
					t.Error(err)
				}
			})
		})
	}
}

// Who is slow to listen holds nothing up.
func TestSlowListener(t *testing.T) {
	content := bytesOf(6<<20, 73)
	s := newServer(t, content)
	s.answer = noRanges
	spec, _ := s.spec(t)
	shown := make(chan struct{})
	spec.Progress = func(Progress) {
		select {
		case shown <- struct{}{}:
		default:
		}
	}
	spec.Say = func(string) {
		for range 2 { // the first may be under way
			select {
			case <-shown:
			case <-time.After(spec.Patience / 2):
				t.Error("no progress while something is said")
			}
		}
	}
	mustGet(t, spec, content)
}

// The smallest limits do not run into the patience.
func TestSmallLimit(t *testing.T) {
	content := bytesOf(9000, 74)
	synctest.Test(t, func(t *testing.T) {
		s := timed(t, content, instant(content))
		s.BytesPerSecond = 1
		if _, err := Get(t.Context(), s); err != nil {
			t.Error(err)
		}
	})
}

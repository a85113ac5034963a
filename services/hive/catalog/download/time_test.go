package download

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// instant is a source that has every byte at once.
func instant(content []byte) Source {
	return func(_ context.Context, r vendor.Range) (*vendor.Body, error) {
		to := r.To
		if to < 0 {
			to = int64(len(content))
		}
		return &vendor.Body{ReadCloser: io.NopCloser(bytes.NewReader(content[r.From:to])), From: r.From, SizeBytes: int64(len(content))}, nil
	}
}

func timed(t *testing.T, content []byte, src Source) Spec {
	dir := t.TempDir()
	return Spec{Dir: filepath.Join(dir, "part"), Final: filepath.Join(dir, "final"), SizeBytes: int64(len(content)), Digest: digestOf(content), Source: src}
}

// All streams together keep to the limit.
func TestLimit(t *testing.T) {
	content := bytesOf(5<<20, 50)
	for _, limit := range []int64{100 << 10, 1 << 20, 20 << 20} {
		synctest.Test(t, func(t *testing.T) {
			var asked int64
			src := instant(content)
			s := timed(t, content, func(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
				asked = max(asked, r.To-r.From)
				return src(ctx, r)
			})
			s.BytesPerSecond = limit
			s.Streams = 1 // asked is one goroutine's
			begun := time.Now()
			if _, err := Get(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			want := time.Duration(float64(len(content)) / float64(limit) * float64(time.Second))
			if took := time.Since(begun); took < want*9/10 || took > want*11/10+progressEvery {
				t.Errorf("%d bytes/s: took %v, want %v", limit, took, want)
			}
			if asked > max(limit/4, 64<<10) {
				t.Errorf("%d bytes/s: asked for %d bytes at once", limit, asked)
			}
		})
	}
}

// Rates are of the last seconds; the last call is for the whole.
func TestProgress(t *testing.T) {
	content := bytesOf(5<<20, 51)
	synctest.Test(t, func(t *testing.T) {
		s := timed(t, content, instant(content))
		s.BytesPerSecond = 1 << 20
		var all []Progress
		s.Progress = func(p Progress) { all = append(all, p) }
		if _, err := Get(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if len(all) < 20 || len(all) > 30 {
			t.Errorf("%d calls in 5 s", len(all))
		}
		for i, p := range all {
			if i > 0 && p.Done < all[i-1].Done || p.Total != s.SizeBytes {
				t.Errorf("call %d: %+v", i, p)
			}
			if i > 5 && i < len(all)-1 && (p.Rate < 900<<10 || p.Rate > 1200<<10) {
				t.Errorf("call %d: rate %d", i, p.Rate)
			}
		}
		if last := all[len(all)-1]; last.Done != s.SizeBytes || last.Hashed != s.SizeBytes {
			t.Errorf("last %+v", last)
		}
	})
}

func refused(context.Context, vendor.Range) (*vendor.Body, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}
}

// With nobody there, tries get rarer, and end after the default two minutes.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s := timed(t, nil, func(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
			tries++
			return refused(ctx, r)
		})
		s.SizeBytes, s.Streams = 100, 1
		begun := time.Now()
		_, err := Get(t.Context(), s)
		if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "refused (0.0 of 0.0 MiB are kept; pull again to go on)") {
			t.Error(err)
		}
		if took := time.Since(begun); took < 2*time.Minute || took > 2*time.Minute+time.Second {
			t.Errorf("it took %v", took)
		}
		if tries < 15 || tries > 60 {
			t.Errorf("%d tries", tries)
		}
	})
}

// What a server asks for comes on top, but not for ever.
func TestPatienceWithWaits(t *testing.T) {
	for asks, want := range map[string]time.Duration{"30": 2 * time.Minute, "300": time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			s := timed(t, nil, func(context.Context, vendor.Range) (*vendor.Body, error) {
				return nil, &vendor.StatusError{Status: 429, Header: http.Header{"Retry-After": {asks}}, Host: "test"}
			})
			s.SizeBytes = 100
			begun := time.Now()
			_, err := Get(t.Context(), s)
			if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "429") {
				t.Error(err)
			}
			if took := time.Since(begun); took < want || took > time.Hour+20*time.Minute {
				t.Errorf("Retry-After %s: it took %v", asks, took)
			}
		})
	}
}

// hanging gives nothing until ctx ends.
type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) { <-h.ctx.Done(); return 0, h.ctx.Err() }
func (hanging) Close() error               { return nil }

// A stream without a byte for 30 s asks anew; that is said once.
func TestStallTime(t *testing.T) {
	content := bytesOf(100, 52)
	synctest.Test(t, func(t *testing.T) {
		tries, good := 0, instant(content)
		s := timed(t, content, func(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
			if tries++; tries < 3 {
				return &vendor.Body{ReadCloser: hanging{ctx}, From: r.From, SizeBytes: 100}, nil
			}
			return good(ctx, r)
		})
		var words said
		s.Say = words.add
		begun := time.Now()
		if _, err := Get(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < time.Minute || took > 61*time.Second {
			t.Errorf("it took %v", took)
		}
		if words.count("a stream got no byte for 30s: asking anew") != 1 {
			t.Errorf("said %q", words.all())
		}
	})
}

// A source that breaks off for ever and brings nothing new ends, though bytes come.
func TestNothingNew(t *testing.T) {
	content := bytesOf(100, 53)
	synctest.Test(t, func(t *testing.T) {
		s := timed(t, content, func(context.Context, vendor.Range) (*vendor.Body, error) {
			return &vendor.Body{ReadCloser: io.NopCloser(bytes.NewReader(content[:50])), SizeBytes: 100}, nil
		})
		_, err := Get(t.Context(), s)
		if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "brought nothing new") {
			t.Error(err)
		}
	})
}

// whole is a body of the whole file that tells at when it is read.
type whole struct {
	io.Reader
	at  func(pos int64)
	pos int64
}

func (w *whole) Read(p []byte) (int, error) {
	w.at(w.pos)
	n, err := w.Reader.Read(p)
	w.pos += int64(n)
	return n, err
}
func (*whole) Close() error { return nil }

// slowToEnd is a body that ends a second after it should.
type slowToEnd struct {
	ctx  context.Context
	busy *atomic.Bool
	read chan struct{}
}

func (b slowToEnd) Read([]byte) (int, error) {
	b.busy.Store(true)
	close(b.read)
	<-b.ctx.Done()
	time.Sleep(time.Second)
	b.busy.Store(false)
	return 0, b.ctx.Err()
}
func (slowToEnd) Close() error { return nil }

// When one stream takes over because the source gives no ranges any more, it goes on only when the others have
// ended: two never write one segment.
func TestOneStreamAlone(t *testing.T) {
	content := bytesOf(6<<20, 54)
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		reads, flips := make(chan struct{}), make(chan struct{})
		times := 0
		s := timed(t, content, func(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
			body := func(from int64, r io.ReadCloser) (*vendor.Body, error) {
				return &vendor.Body{ReadCloser: r, From: from, SizeBytes: int64(len(content))}, nil
			}
			switch r.From {
			case 0:
				return body(0, &whole{Reader: bytes.NewReader(content), at: func(pos int64) {
					<-flips
					if pos >= minSegment && busy.Load() {
						t.Errorf("it goes on at %d while another stream is active", pos)
					}
				}})
			case minSegment:
				return body(r.From, slowToEnd{ctx, &busy, reads})
			case 2 * minSegment:
				<-reads
				if times++; times == maxWhole { // it asks again first
					close(flips)
				}
				return body(0, hanging{ctx})
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		s.Streams = 3
		if _, err := Get(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	})
}

package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const deadline = 60 * time.Second

// bytesOf is n bytes that look random and are the same each time.
func bytesOf(n int, seed byte) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{seed})
	_, _ = r.Read(b)
	return b
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return digestPrefix + hex.EncodeToString(sum[:])
}

// server serves one file over HTTP with ranges, and misbehaves as it is told to.
type server struct {
	*httptest.Server
	limiter *rate.Limiter // nil: as fast as it goes
	piece   int           // bytes of a write
	// answer may take over the n-th request (from 1). It runs without the lock.
	answer func(s *server, n int, w http.ResponseWriter, r *http.Request) (done bool)

	clients  []*http.Client
	sending  sync.RWMutex // who holds it keeps the server from sending
	mu       sync.Mutex
	open     map[net.Conn]bool // accepted and not yet closed
	closed   *sync.Cond        // one of them was
	content  []byte
	etag     string
	sent     int64 // bytes of bodies
	requests int
	ranges   []string
	at       int64 // then reached is closed
	reached  chan struct{}
}

func newServer(t testing.TB, content []byte) *server {
	s := &server{content: content, etag: `"one"`, piece: 16 << 10, open: map[net.Conn]bool{}}
	s.closed = sync.NewCond(&s.mu)
	s.Server = httptest.NewUnstartedServer(s)
	s.Listener = smallBuffers{s.Listener}
	s.Config.ConnState = s.track
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// smallBuffers has sockets that hold little, so that what is sent is what was received.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(8 << 10)
	}
	return c, err
}

func (s *server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.open[c] = true
	case http.StateClosed:
		delete(s.open, c)
		s.closed.Broadcast()
	}
}

func (s *server) source(t testing.TB) Source {
	client := vendor.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	s.clients = append(s.clients, client)
	return sourceOf(client, s.URL)
}

func sourceOf(client *http.Client, address string) Source {
	return func(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/file", nil)
		if err != nil {
			return nil, err
		}
		return vendor.Open(client, req, r)
	}
}

// spec is a download of the server's file to a fresh folder.
func (s *server) spec(t testing.TB) (Spec, *said) {
	dir, words := t.TempDir(), &said{}
	return Spec{Dir: filepath.Join(dir, "part"), Final: filepath.Join(dir, "final"), SizeBytes: int64(len(s.content)), Digest: digestOf(s.content),
		Source: s.source(t), Say: words.add, Limits: Limits{Stall: 5 * time.Second, Patience: 10 * time.Second, Backoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond}}, words
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == fence {
		return
	}
	s.mu.Lock()
	s.requests++
	n := s.requests
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	s.mu.Unlock()
	if s.answer != nil && s.answer(s, n, w, r) {
		return
	}
	s.serve(w, r)
}

// serve answers rightly.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	content := s.content
	w.Header().Set("ETag", s.etag)
	s.mu.Unlock()
	from, to, ok := parseRange(r.Header.Get("Range"), len(content))
	switch {
	case !ok:
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	case from >= len(content):
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", len(content)))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	default:
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(content)))
		w.Header().Set("Content-Length", strconv.Itoa(to-from))
		w.WriteHeader(http.StatusPartialContent)
	}
	s.write(w, r, content[from:to])
}

// write sends b in pieces, within the limit, and counts.
func (s *server) write(w http.ResponseWriter, r *http.Request, b []byte) {
	flush := http.NewResponseController(w)
	for len(b) > 0 {
		n := min(s.piece, len(b))
		if s.limiter != nil && s.limiter.WaitN(r.Context(), n) != nil || r.Context().Err() != nil {
			return
		}
		s.sending.RLock()
		_, err := w.Write(b[:n])
		if err == nil {
			err = flush.Flush()
		}
		s.sending.RUnlock()
		if err != nil {
			return
		}
		b = b[n:]
		s.mu.Lock()
		s.sent += int64(n)
		if s.reached != nil && s.sent >= s.at {
			close(s.reached)
			s.reached = nil
		}
		s.mu.Unlock()
	}
}

// fence is asked for to know that every connection that was made before has been accepted.
const fence = "/fence"

// quiet is for after the last Get: it waits until the server has done with every request, also with those that the
// Get left and the server had not yet seen, and says how many bytes were sent.
func (s *server) quiet(t testing.TB) int64 {
	t.Helper()
	for _, c := range s.clients {
		c.CloseIdleConnections()
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+fence, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.open) > 0 && ctx.Err() == nil {
		s.closed.Wait()
	}
	if len(s.open) > 0 {
		t.Fatalf("%d connections are still open", len(s.open))
	}
	return s.sent
}

// when is closed after n more bytes were sent.
func (s *server) when(n int64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.reached = s.sent+n, make(chan struct{})
	return s.reached
}

func (s *server) counts() (sent int64, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent, s.requests
}

func parseRange(h string, size int) (from, to int, ok bool) {
	rest, ok := strings.CutPrefix(h, "bytes=")
	a, b, _ := strings.Cut(rest, "-")
	from, err := strconv.Atoi(a)
	if !ok || err != nil {
		return 0, size, false
	}
	to = size
	if n, err := strconv.Atoi(b); err == nil {
		to = min(size, n+1)
	}
	return from, to, true
}

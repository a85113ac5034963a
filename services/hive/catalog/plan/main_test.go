package plan

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bee is a bee model's file.
func bee(t testing.TB, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := bees.Write(&b, name); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// source is an HTTP server with model files.
type source struct {
	files map[string][]byte
	// plain serves without ranges; version is the ETag of each answer, "" for none.
	plain   bool
	version func(request int64) string
	sent    atomic.Int64
	asked   atomic.Int64
	url     string
	client  *http.Client
}

func serve(t testing.TB, s *source) {
	t.Helper()
	server := httptest.NewServer(s)
	s.url, s.client = server.URL, vendor.NewClient()
	t.Cleanup(func() { server.Close(); s.client.CloseIdleConnections() })
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.asked.Add(1)
	if s.version != nil {
		w.Header().Set("ETag", strconv.Quote(s.version(n)))
	}
	b := s.files[r.URL.Path[1:]]
	w = counted{w, &s.sent}
	if s.plain {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// fetch is a vendor's, over HTTP.
func (s *source) fetch(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/"+f.Source, nil)
	if err != nil {
		return nil, err
	}
	return vendor.Open(s.client, req, r)
}

// inMemory is a fetch without a network.
func inMemory(b []byte) Fetch {
	return func(_ context.Context, _ *vendor.File, r vendor.Range) (*vendor.Body, error) {
		end := min(r.To, int64(len(b)))
		return &vendor.Body{ReadCloser: nopCloser{bytes.NewReader(b[min(r.From, end):end])}, From: r.From, SizeBytes: int64(len(b))}, nil
	}
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

func one(b []byte) []vendor.File {
	return []vendor.File{{Name: "model.gguf", Source: "model.gguf", Kind: vendor.Model, SizeBytes: int64(len(b))}}
}

// leftovers fails if a file is left in dir.
func leftovers(t testing.TB, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

package vendor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// get asks a server that answers like handler for a range.
func get(t *testing.T, r Range, handler http.HandlerFunc) (*Body, error) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	client := NewClient()
	t.Cleanup(client.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/f?signature=secret", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(client, req, r)
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows the query: %v", err)
	}
	if b != nil {
		t.Cleanup(func() { b.Close() })
	}
	return b, err
}

func answering(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestOpen(t *testing.T) {
	b, err := get(t, Range{2, 5}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "bytes=2-4" || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("asked with %v", r.Header)
		}
		answering(206, map[string]string{"Content-Range": "bytes 2-4/10", "ETag": `"a"`}, "cde")(w, r)
	})
	if err != nil || b.From != 2 || b.SizeBytes != 10 || b.Version != `"a"` {
		t.Fatalf("%+v, %v", b, err)
	}
	b, err = get(t, Range{2, -1}, answering(200, map[string]string{"ETag": `W/"a"`, "Last-Modified": "then"}, "whole"))
	if err != nil || b.From != 0 || b.SizeBytes != 5 || b.Version != "then" {
		t.Fatalf("a server without ranges: %+v, %v", b, err)
	}
	for name, header := range map[string]map[string]string{
		"no range":     {},
		"another":      {"Content-Range": "bytes 0-2/10"},
		"backwards":    {"Content-Range": "bytes 4-2/10"},
		"beyond":       {"Content-Range": "bytes 2-12/10"},
		"wrong length": {"Content-Range": "bytes 2-3/10"},
		"garbage":      {"Content-Range": "bytes -1-4/10"},
		"huge":         {"Content-Range": "bytes 2-9999999999999999999/10"},
	} {
		if _, err := get(t, Range{2, 5}, answering(206, header, "cde")); messages.CodeOf(err) != messages.CodeUnavailable || !Temporary(err) || !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What comes without a length is counted where a range says how much it is, and else said to end as it may.
func TestOpenWithoutLength(t *testing.T) {
	raw := func(head, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, out, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, _ = out.WriteString("HTTP/1.1 " + head + "\r\nConnection: close\r\n\r\n" + body)
			_ = out.Flush()
		}
	}
	for name, tc := range map[string]struct {
		handler     http.HandlerFunc
		undelimited bool
		err         error
	}{
		"closed":             {raw("200 OK", "cde"), true, nil},
		"length":             {raw("200 OK\r\nContent-Length: 3", "cde"), false, nil},
		"chunked":            {raw("200 OK\r\nTransfer-Encoding: chunked", "3\r\ncde\r\n0\r\n\r\n"), false, nil},
		"part":               {raw("206 Partial\r\nContent-Range: bytes 2-4/*", "cde"), false, nil},
		"part, cut":          {raw("206 Partial\r\nContent-Range: bytes 2-4/*", "cd"), false, io.ErrUnexpectedEOF},
		"part, cut, chunked": {raw("206 Partial\r\nContent-Range: bytes 2-4/*\r\nTransfer-Encoding: chunked", "2\r\ncd\r\n0\r\n\r\n"), false, io.ErrUnexpectedEOF},
	} {
		b, err := get(t, Range{2, 5}, tc.handler)
		if err != nil || b.Undelimited != tc.undelimited {
			t.Errorf("%s: %+v, %v", name, b, err)
			continue
		}
		if _, err := io.ReadAll(b); !errors.Is(err, tc.err) {
			t.Errorf("%s: read: %v", name, err)
		}
	}
}

// A plain number of the system is the network's or the disk's.
func TestTemporaryNumbers(t *testing.T) {
	for n, want := range map[syscall.Errno]bool{
		syscall.ENOSPC: false, syscall.EIO: false, syscall.EROFS: false, syscall.EMFILE: false, syscall.EINTR: false,
		syscall.ECONNRESET: true, syscall.ECONNREFUSED: true, syscall.EPIPE: true, syscall.ENETUNREACH: true, syscall.EHOSTUNREACH: true, syscall.ETIMEDOUT: true,
	} {
		if got := Temporary(fmt.Errorf("write: %w", &os.PathError{Op: "write", Path: "x", Err: n})); got != want {
			t.Errorf("%v: %v", n, got)
		}
		if !Temporary(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", n)}) {
			t.Errorf("%v of a connection is not temporary", n)
		}
	}
}

func TestStatusErrors(t *testing.T) {
	for status, temporary := range map[int]bool{404: false, 401: false, 403: false, 416: false, 408: true, 425: true, 429: true, 500: true, 503: true} {
		_, err := get(t, Whole, answering(status, map[string]string{"Retry-After": "7"}, strings.Repeat("x", 10_000)))
		e, ok := errors.AsType[*StatusError](err)
		if !ok || e.Status != status || len(e.Text) != maxText || Temporary(err) != temporary || Wait(err) != 7*time.Second {
			t.Errorf("%d: %v, temporary %v, wait %s", status, err, Temporary(err), Wait(err))
		}
	}
	if Temporary(nil) || Temporary(context.Canceled) || !Temporary(io.ErrUnexpectedEOF) || Temporary(errors.New("x")) {
		t.Error("what is temporary")
	}
	_, err := get(t, Whole, answering(302, map[string]string{"Location": "http://[bad/?secret"}, ""))
	if !errors.Is(err, errLocation) {
		t.Errorf("a malformed redirect: %v", err)
	}
}

func TestWait(t *testing.T) {
	for name, tc := range map[string]struct {
		key, value string
		min, max   time.Duration
	}{
		"seconds":      {"Retry-After", "30", 30 * time.Second, 30 * time.Second},
		"a date":       {"Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), 50 * time.Second, time.Minute},
		"a past date":  {"Retry-After", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0, 0},
		"negative":     {"Retry-After", "-5", 0, 0},
		"for ever":     {"Retry-After", "999999999", maxWait, maxWait},
		"garbage":      {"Retry-After", "soon", 0, 0},
		"rate limit":   {"RateLimit", `"api";r=0;t=211`, 211 * time.Second, 211 * time.Second},
		"another rate": {"RateLimit", `"reset";rt=5`, 0, 0},
	} {
		err := error(&StatusError{Status: 429, Header: http.Header{http.CanonicalHeaderKey(tc.key): {tc.value}}})
		if d := Wait(err); d < tc.min || d > tc.max {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// A secret stays at the host it was meant for, also at another port of it, and no address goes along.
func TestRedirectsKeepSecrets(t *testing.T) {
	var got http.Header
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/here" {
			got = r.Header.Clone()
			return
		}
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	}))
	defer s.Close()
	client := NewClient()
	defer client.CloseIdleConnections()
	for to, kept := range map[string]bool{s.URL + "/here": true, other.URL: false} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/?to="+to, http.NoBody)
		req.Header.Set("Authorization", "Bearer secret")
		req.Header.Set("Cookie", "a=secret")
		resp, err := Do(client, req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if (got.Get("Authorization") != "") != kept || (got.Get("Cookie") != "") != kept || got.Get("Referer") != "" {
			t.Errorf("to %s went %v", to, got)
		}
	}
}

func TestSplit(t *testing.T) {
	for name, want := range map[string][2]int{
		"m-00001-of-00005.gguf": {1, 5}, "m-00005-of-00005.GGUF": {5, 5}, "m-00006-of-00005.gguf": {}, "m-00000-of-00005.gguf": {},
		"m.gguf": {}, "-00001-of-00002.gguf": {}, "m-1-of-2.gguf": {}, "m-00001-of-99999.gguf": {}, "m-00001-of-00002.bin": {},
	} {
		stem, part, of, ok := Split(name)
		if ok != (want[0] > 0) || ok && (stem != "m" || part != want[0] || of != want[1]) {
			t.Errorf("%s: %q %d %d %v", name, stem, part, of, ok)
		}
		if ok && !strings.EqualFold(PartName(stem, part, of), name) {
			t.Errorf("%s is written %s", name, PartName(stem, part, of))
		}
	}
}

// failing is a connection that fails so.
type failing struct{ error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.error }

// A connection that the server closed while it was idle is told by net/http with an error without a name.
func TestClosedConnections(t *testing.T) {
	for text, want := range map[string]bool{
		"http: server closed idle connection": true,
		"http: server closed connection":      true,
		"no such thing":                       false,
	} {
		req := httptest.NewRequest(http.MethodGet, "http://host/file?secret", http.NoBody)
		req.RequestURI = ""
		_, err := Do(&http.Client{Transport: failing{errors.New(text)}}, req)
		if Temporary(err) != want || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: Temporary is %v", err, Temporary(err))
		}
	}
}

package weburl

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
	"github.com/rbee-project/rbee/services/hive/catalog/vendortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "s3cr3t-token"

var (
	model  = bytes.Repeat([]byte("GGUF of a bee. "), 3000)
	sum    = sha256.Sum256(model)
	digest = hex.EncodeToString(sum[:])
	files  = map[string][]byte{
		"/m/Bee-7B-Q4_K_M.gguf":         model,
		"/m/a b%2F.gguf":                []byte("GGUF blank"),
		"/download":                     model,
		"/Big-Q8_0-00001-of-00003.gguf": []byte("GGUF one"),
		"/Big-Q8_0-00002-of-00003.gguf": model,
		"/Big-Q8_0-00003-of-00003.gguf": []byte("GGUF three"),
	}
)

// serve has files, and /locked.gguf for nobody.
func serve(w http.ResponseWriter, r *http.Request) {
	content, ok := files[r.URL.Path]
	switch {
	case r.URL.Path == "/locked.gguf":
		http.Error(w, "who are you?", http.StatusUnauthorized)
	case !ok:
		http.NotFound(w, r)
	default:
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

// trusting is a vendor that trusts the test's server.
func trusting(t testing.TB, server *httptest.Server) *web {
	w := newVendor()
	transport := w.client.Transport.(guard).RoundTripper.(*http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	if server != nil && server.TLS != nil {
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return w
}

func tlsServer(t testing.TB, h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func plainServer(t testing.TB, h http.Handler) *httptest.Server {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

func weights(names ...string) (out []vendortest.File) {
	for _, n := range names {
		out = append(out, vendortest.File{Name: n[strings.LastIndexByte(n, '/')+1:], Kind: vendor.Model, Content: files[n]})
	}
	return out
}

// conformance is what is true of both an https and an http server.
func conformance(base string, gate *vendortest.Gate, server *httptest.Server) vendortest.Case {
	return vendortest.Case{
		New: func(t testing.TB) vendor.Vendor { return trusting(t, server) },
		Refs: []vendortest.Ref{
			{Ref: base + "/m/Bee-7B-Q4_K_M.gguf?download=true&token=" + secret, Name: "Bee-7B-Q4_K_M", Files: weights("/m/Bee-7B-Q4_K_M.gguf")},
			{Ref: base + "/m/Bee-7B-Q4_K_M.gguf#sha256=" + strings.ToUpper(digest), Name: "Bee-7B-Q4_K_M", Files: weights("/m/Bee-7B-Q4_K_M.gguf")},
			{Ref: base + "/download?token=" + secret + "#sha256=" + digest, Name: "download", Files: weights("/download")},
			{Ref: base + "/m/a%20b%252F.gguf", Name: "a-b%2F", Files: weights("/m/a b%2F.gguf")},
			{Ref: base + "/Big-Q8_0-00002-of-00003.gguf?token=" + secret, Name: "Big-Q8_0", Files: weights("/Big-Q8_0-00001-of-00003.gguf",
				"/Big-Q8_0-00002-of-00003.gguf", "/Big-Q8_0-00003-of-00003.gguf")},
		},
		NotMine: []string{"hf:org/repo", "org/repo", "/models/x.gguf", "x.gguf", "ftp://host/x.gguf", "file:///x.gguf", "https://host/page", "bee-tiny",
			"https://host/page?x.gguf", "https:/host/x.gguf"},
		Malformed: []string{"https://user:" + secret + "@host/x.gguf", "https://user@host/x.gguf", "https://us%zz:" + secret + "@host/x.gguf",
			"https://host/x.gguf#sha256=abc", "https://host/x.gguf#sha256=" + digest[1:] + "g", "https://host/x#sha256=", "https://[::1/x.gguf",
			"http://example.com/x.gguf", "http://example.com/x.gguf?token=" + secret, "https:///x.gguf", "https://host:99999/x.gguf", "https://host:0/x.gguf",
			"https://host:/x.gguf", "https://x.gguf", "https://%zz/x.gguf", "https://host/x.gguf?token=" + secret + "#other", "https://host/x.gguf#",
			"https://host/%zz.gguf", "https://host/x-00001-of-00002.gguf#sha256=" + digest, "https://host/x-00001-of-09999.gguf"},
		Unknown: base + "/no-such.gguf?token=" + secret,
		Denied:  []string{base + "/locked.gguf?token=" + secret},
		Gate:    gate,
		Secrets: []string{secret},
	}
}

func TestConformanceHTTPS(t *testing.T) {
	gate := new(vendortest.Gate)
	server := tlsServer(t, gate.Wrap(http.HandlerFunc(serve)))
	c := conformance(server.URL, gate, server)
	c.Ranges = true
	vendortest.Run(t, c)
}

// TestConformanceWithoutRanges has a server of this machine that knows neither HEAD nor ranges.
func TestConformanceWithoutRanges(t *testing.T) {
	gate := new(vendortest.Gate)
	server := plainServer(t, gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			http.Error(w, "", http.StatusMethodNotAllowed)
			return
		}
		r.Header.Del("Range")
		serve(w, r)
	})))
	c := conformance(server.URL, gate, server)
	c.Limit = time.Minute
	vendortest.Run(t, c)
}

func resolve(t *testing.T, w *web, ref string) (*vendor.Artifact, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return w.Resolve(ctx, ref)
}

func TestResolve(t *testing.T) {
	server := tlsServer(t, http.HandlerFunc(serve))
	w := trusting(t, server)
	a, err := resolve(t, w, server.URL+"/m/Bee-7B-Q4_K_M.gguf#sha256="+strings.ToUpper(digest))
	if err != nil {
		t.Fatal(err)
	}
	ref := server.URL + "/m/Bee-7B-Q4_K_M.gguf#sha256=" + digest
	want := vendor.File{Name: "Bee-7B-Q4_K_M.gguf", Kind: vendor.Model, SizeBytes: int64(len(model)), Digest: "sha256:" + digest, Source: ref}
	if len(a.Files) != 1 || a.Files[0] != want || a.Ref != ref || a.Quantization != "Q4_K_M" || a.Revision != `"v1"` || len(a.Notes) != 0 {
		t.Errorf("got %+v", a)
	}
	a, err = resolve(t, w, server.URL+"/Big-Q8_0-00003-of-00003.gguf?a=b")
	if err != nil {
		t.Fatal(err)
	}
	if a.Ref != server.URL+"/Big-Q8_0-00001-of-00003.gguf?a=b" || len(a.Files) != 3 || a.Files[2].Source != server.URL+"/Big-Q8_0-00003-of-00003.gguf?a=b" || len(a.Notes) != 1 {
		t.Errorf("got %+v", a)
	}
}

// TestSizes has servers that hide a file's size in several ways.
func TestSizes(t *testing.T) {
	get := func(w http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodGet }
	for name, tc := range map[string]struct {
		serve http.HandlerFunc
		size  int64
		code  messages.Code
	}{
		"HEAD is forbidden": {size: int64(len(model)), serve: func(w http.ResponseWriter, r *http.Request) {
			if !get(w, r) {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			serve(w, r)
		}},
		"HEAD is not implemented": {size: int64(len(model)), serve: func(w http.ResponseWriter, r *http.Request) {
			if !get(w, r) {
				w.WriteHeader(http.StatusNotImplemented)
				return
			}
			serve(w, r)
		}},
		"HEAD gives no length": {size: int64(len(model)), serve: func(w http.ResponseWriter, r *http.Request) {
			if get(w, r) {
				serve(w, r)
			}
		}},
		"no length at all": {size: -1, serve: func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(model)
			_ = http.NewResponseController(w).Flush()
		}},
		"an empty file": {code: messages.CodeBadModel, serve: func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "0") }},
	} {
		t.Run(name, func(t *testing.T) {
			server := plainServer(t, tc.serve)
			a, err := resolve(t, trusting(t, server), server.URL+"/m/Bee-7B-Q4_K_M.gguf")
			if messages.CodeOf(err) != tc.code {
				t.Fatalf("error %v", err)
			}
			if err == nil && a.Files[0].SizeBytes != tc.size {
				t.Errorf("size %d, want %d", a.Files[0].SizeBytes, tc.size)
			}
		})
	}
}

func TestVersionIsUsable(t *testing.T) {
	for tag, want := range map[string]string{`"a"`: `"a"`, `W/"a"`: "yesterday", "": "yesterday", strings.Repeat("x", 300): "", "\xff": ""} {
		h := http.Header{"Etag": {tag}, "Last-Modified": {"yesterday"}}
		if got := versionOf(h); got != want {
			t.Errorf("the version of %.20q is %q, not %q", tag, got, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		header http.Header
		code   messages.Code
		text   string
	}{
		"404":          {404, nil, messages.CodeModelUnknown, "nothing at"},
		"410":          {410, nil, messages.CodeModelUnknown, "nothing at"},
		"401":          {401, nil, messages.CodeDenied, "login"},
		"403":          {403, nil, messages.CodeDenied, "login"},
		"451":          {451, nil, messages.CodeDenied, "may not be had"},
		"400":          {400, nil, messages.CodeBadRequest, "400"},
		"429":          {429, nil, messages.CodeUnavailable, "try again"},
		"500":          {500, nil, messages.CodeUnavailable, "500"},
		"web page":     {200, http.Header{"Content-Type": {"text/html; charset=utf-8"}}, messages.CodeBadModel, "web page"},
		"XHTML":        {200, http.Header{"Content-Type": {"application/xhtml+xml"}}, messages.CodeBadModel, "web page"},
		"bad redirect": {302, http.Header{"Location": {"https://%zz/?X-Sig=" + secret}}, messages.CodeBadRequest, "malformed address"},
		"to ftp":       {302, http.Header{"Location": {"ftp://host/x.gguf?" + secret}}, messages.CodeBadRequest, "from https to http"},
		"to http":      {302, http.Header{"Location": {"http://127.0.0.1:9/x.gguf?" + secret}}, messages.CodeBadRequest, "from https to http"},
		"round":        {302, http.Header{"Location": {"/x.gguf?again=" + secret}}, messages.CodeBadRequest, "more than 10 redirects"},
		"no location":  {302, nil, messages.CodeBadRequest, "302 Found"},
	} {
		t.Run(name, func(t *testing.T) {
			server := tlsServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for k, v := range tc.header {
					w.Header()[k] = v
				}
				w.WriteHeader(tc.status)
			}))
			w := trusting(t, server)
			ref := server.URL + "/x.gguf?token=" + secret
			_, err := resolve(t, w, ref)
			check(t, "Resolve", err, tc.code, tc.text)
			_, err = w.Fetch(t.Context(), &vendor.File{Source: ref}, vendor.Whole)
			check(t, "Fetch", err, tc.code, tc.text)
		})
	}
}

// check looks at an error's code, text and hint, and that no secret is in it.
func check(t *testing.T, what string, err error, code messages.Code, text string) {
	t.Helper()
	e, ok := errors.AsType[*messages.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Error(), text) || e.Hint == "" {
		t.Errorf("%s: %v; want %s, %q and a hint", what, err, code, text)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s shows a secret: %v", what, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	secure := tlsServer(t, http.HandlerFunc(serve))
	bare := plainServer(t, http.HandlerFunc(serve))
	garbage := garbageServer(t)
	for name, tc := range map[string]struct {
		base string
		code messages.Code
		text string
	}{
		"nobody listens":        {"https://" + nobody, messages.CodeUnavailable, "cannot reach"},
		"certificate not known": {secure.URL, messages.CodeBadRequest, "not who it says"},
		"no TLS there":          {"https://" + bare.Listener.Addr().String(), messages.CodeBadRequest, "does not speak https"},
		"no HTTP there":         {"http://" + garbage, messages.CodeUnavailable, "cannot reach"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resolve(t, trusting(t, nil), tc.base+"/x.gguf?token="+secret)
			check(t, "Resolve", err, tc.code, tc.text)
			if vendor.Temporary(err) != (tc.code == messages.CodeUnavailable) {
				t.Errorf("Temporary is %v of %v", vendor.Temporary(err), err)
			}
			if s := err.Error(); !plain(s) || len(s) > 600 {
				t.Errorf("not fit to be shown: %.800q", s)
			}
		})
	}
}

// garbageServer speaks no HTTP, and clears the screen of who shows what it says.
func garbageServer(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("\x1b[2J" + strings.Repeat("garbage\x07", 200) + "\n"))
			c.Close()
		}
	}()
	return l.Addr().String()
}

// TestWrongRange has a server that answers a range with other bytes.
func TestWrongRange(t *testing.T) {
	server := plainServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-9/"+strconv.Itoa(len(model)))
		w.Header().Set("Content-Length", "10")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(model[:10])
	}))
	_, err := trusting(t, server).Fetch(t.Context(), &vendor.File{Source: server.URL + "/x.gguf"}, vendor.Range{From: 5, To: 15})
	if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "wrongly") {
		t.Errorf("got %v", err)
	}
}

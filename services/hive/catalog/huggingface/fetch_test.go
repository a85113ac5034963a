package huggingface

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// get reads a range of a file, and what Fetch said of it.
func get(t testing.TB, v *Vendor, f vendor.File, r vendor.Range) ([]byte, *vendor.Body, error) {
	t.Helper()
	b, err := v.Fetch(t.Context(), &f, r)
	if err != nil {
		return nil, nil, err
	}
	defer b.Close()
	data, err := io.ReadAll(b)
	return data, b, err
}

func TestFetch(t *testing.T) {
	big := fakehub.File{Path: "d e/m-Q4_K_M.gguf", Size: 100_003, Seed: 5, LFS: true}
	small := fakehub.File{Path: "small.gguf", Content: []byte("GGUF and more")}
	for name, repo := range map[string]fakehub.Repo{
		"public": {Name: "o/r", Files: []fakehub.File{big, small}},
		"gated":  {Name: "o/r", Gated: true, Files: []fakehub.File{big, small}},
	} {
		t.Run(name, func(t *testing.T) {
			hub, v := with(t, repo, "HF_TOKEN", token)
			hub.AddToken(token, "o/r")
			for _, f := range []fakehub.File{big, small} {
				a := resolve(t, v, "hf:o/r/"+f.Path)
				all, _ := io.ReadAll(fakehub.Reader(f))
				size := int64(len(all))
				for _, r := range []vendor.Range{vendor.Whole, {From: 0, To: 1}, {From: 3, To: 9}, {From: size - 1, To: -1}, {From: size - 5, To: size}} {
					data, b, err := get(t, v, a.Files[0], r)
					to := r.To
					if to < 0 {
						to = size
					}
					if err != nil || b.From != r.From || b.SizeBytes != size || !bytes.Equal(data, all[r.From:to]) {
						t.Errorf("%s %+v: %d bytes, %+v, %v", f.Path, r, len(data), b, err)
					}
					if err == nil && (b.Version == "") != f.LFS {
						t.Errorf("%s has the version %q", f.Path, b.Version)
					}
				}
			}
			if n := hub.Count("hub", "/resolve/"); n != 2 {
				t.Errorf("the hub was asked %d times where two files are", n)
			}
			for _, r := range hub.Requests() {
				if r.Header.Get("Range") != "" && strings.Contains(r.Path, "/resolve/") {
					t.Errorf("a Range went to %s", r.Path)
				}
			}
			noTokenOnCDN(t, hub)
		})
	}
}

func TestManyFetchesAskOnceWhereAFileIs(t *testing.T) {
	hub, v := with(t, fakehub.Repo{Name: "o/r", Files: []fakehub.File{{Path: "m.gguf", Size: 1 << 20, LFS: true}}})
	f := resolve(t, v, "hf:o/r").Files[0]
	all := func() {
		var group sync.WaitGroup
		for i := range int64(16) {
			group.Go(func() {
				if data, _, err := get(t, v, f, vendor.Range{From: i << 16, To: (i + 1) << 16}); err != nil || len(data) != 1<<16 {
					t.Errorf("%d bytes, %v", len(data), err)
				}
			})
		}
		group.Wait()
	}
	all()
	if n := hub.Count("hub", "/resolve/"); n != 1 {
		t.Errorf("16 ranges asked %d times", n)
	}
	hub.ExpireLinks()
	all()
	if n := hub.Count("hub", "/resolve/"); n != 2 {
		t.Errorf("after the address expired 16 ranges have asked %d times in all", n)
	}
}

// TestAnEndedLeaderLeavesNoError has the Fetch that asks for the address cancelled while another waits for it.
func TestAnEndedLeaderLeavesNoError(t *testing.T) {
	asked, goOn := make(chan struct{}, 10), make(chan struct{})
	hub := fakehub.Start(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/resolve/") {
				asked <- struct{}{}
				select {
				case <-goOn:
				case <-r.Context().Done():
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	defer hub.Close()
	hub.Add(fakehub.Repo{Name: "o/r", Files: lfs("m.gguf")})
	v := newFor(t, hub)
	f := resolve(t, v, "hf:o/r").Files[0]
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := v.Fetch(ctx, &f, vendor.Whole); first <- err }()
	within(t, asked)
	go func() { _, _, err := get(t, v, f, vendor.Whole); second <- err }()
	cancel()
	if err := within(t, first); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(goOn)
	if err := within(t, second); err != nil {
		t.Error(err)
	}
}

func within[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("")
	}
}

func TestCDNThatRefuses(t *testing.T) {
	hub, v := with(t, fakehub.Repo{Name: "o/r", Files: lfs("m.gguf")})
	f := resolve(t, v, "hf:o/r").Files[0]
	hub.BreakCDN(1, 403)
	if _, _, err := get(t, v, f, vendor.Whole); err != nil {
		t.Errorf("one refusal is an expired address: %v", err)
	}
	hub.Forget()
	hub.BreakCDN(10, 403)
	_, _, err := get(t, v, f, vendor.Whole)
	if messages.CodeOf(err) != messages.CodeUnavailable || messages.AsError(err, "").Hint == "" {
		t.Error(err)
	}
	if n := len(hub.Requests()); n != 3 { // the address is kept: CDN, hub, CDN
		t.Errorf("%d requests", n)
	}
	hub.BreakCDN(1, 503)
	if _, _, err := get(t, v, f, vendor.Whole); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Error(err)
	}
	hub.BreakCDN(0, 0)
	if _, _, err := get(t, v, f, vendor.Range{From: 5000, To: 5001}); messages.CodeOf(err) != messages.CodeBadRequest {
		t.Errorf("bytes that are not there: %v", err)
	}
	if strings.Contains(errText(err), "Signature") {
		t.Error(err)
	}
}

func TestAddressesPastTheirTime(t *testing.T) {
	hub, v := with(t, fakehub.Repo{Name: "o/r", Files: lfs("m.gguf")})
	f := resolve(t, v, "hf:o/r").Files[0]
	hub.LinkLife(-time.Second)
	if _, _, err := get(t, v, f, vendor.Whole); messages.CodeOf(err) != messages.CodeUnavailable || !vendor.Temporary(err) {
		t.Error(err)
	}
	hub.LinkLife(time.Hour)
	if data, _, err := get(t, v, f, vendor.Whole); err != nil || len(data) != 1000 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func TestRangesThatAreIgnored(t *testing.T) {
	hub, v := with(t, fakehub.Repo{Name: "o/r", Files: lfs("m.gguf")})
	f := resolve(t, v, "hf:o/r").Files[0]
	hub.IgnoreRanges(true)
	if data, b, err := get(t, v, f, vendor.Range{From: 5, To: 9}); err != nil || b.From != 0 || len(data) != 1000 {
		t.Errorf("%d bytes, %+v, %v", len(data), b, err)
	}
	hub.IgnoreRanges(false)
	hub.Lie(func(h http.Header) { h.Set("Content-Range", "bytes 6-9/1000") })
	if _, _, err := get(t, v, f, vendor.Range{From: 5, To: 9}); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Error(err)
	}
}

func TestAHubThatTellsTwoThings(t *testing.T) {
	hub, v := with(t, fakehub.Repo{Name: "o/r", Files: lfs("m.gguf")})
	f := resolve(t, v, "hf:o/r").Files[0]
	for _, change := range []func(*vendor.File){
		func(f *vendor.File) { f.Digest = "sha256:" + strings.Repeat("0", 64) },
		func(f *vendor.File) { f.SizeBytes++ },
	} {
		g := f
		change(&g)
		if _, _, err := get(t, newFor(t, hub), g, vendor.Whole); messages.CodeOf(err) != messages.CodeBadModel || vendor.Temporary(err) || !strings.Contains(err.Error(), "two things") {
			t.Error(err)
		}
	}
	for _, source := range []string{"", "hf:o/r", "hf:o/r/m.gguf", "hf:o/r/m.gguf@main", "hf:o/r/../m.gguf@" + strings.Repeat("a", 40), "o/r/m.gguf@" + strings.Repeat("a", 40), "https://hf.co/o/r"} {
		if _, _, err := get(t, v, vendor.File{Source: source}, vendor.Whole); messages.CodeOf(err) != messages.CodeBadRequest {
			t.Errorf("%q: %v", source, err)
		}
	}
}

// TestWhereTheHubRedirects has hubs that send a client elsewhere; the token must not go along.
func TestWhereTheHubRedirects(t *testing.T) {
	var got sync.Map
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got.Store(r.URL.Path, r.Header.Clone())
	}))
	defer other.Close()
	to := ""
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }))
	defer hub.Close()
	fresh := func() *Vendor { // it remembers no address
		v := New(at("HF_ENDPOINT", hub.URL, "HF_TOKEN", token))
		t.Cleanup(v.client.CloseIdleConnections)
		return v
	}
	f := vendor.File{Name: "m.gguf", SizeBytes: -1, Source: "hf:o/r/m.gguf@" + strings.Repeat("a", 40)}
	for target, code := range map[string]messages.Code{
		other.URL + "/file":  "",
		"/again":             messages.CodeUnavailable,
		"file:///etc/passwd": messages.CodeUnavailable,
		"http://":            messages.CodeUnavailable,
		"http://%zz/":        messages.CodeUnavailable,
	} {
		to = target
		if _, _, err := get(t, fresh(), f, vendor.Whole); err != nil && messages.CodeOf(err) != code || (err == nil) != (code == "") {
			t.Errorf("a redirect to %s: %v", target, err)
		}
	}
	to = other.URL + "/api"
	_, _ = fresh().Resolve(t.Context(), "hf:o/r")
	n := 0
	got.Range(func(path, h any) bool {
		n++
		if h.(http.Header).Get("Authorization") != "" {
			t.Errorf("the token went to %s of another host", path)
		}
		return true
	})
	if n != 2 {
		t.Errorf("the other host was asked for %d things", n)
	}
}

// TestNoWayFromHTTPSToHTTP has a hub with TLS send a client to a host without.
func TestNoWayFromHTTPSToHTTP(t *testing.T) {
	asked := false
	cdn := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer cdn.Close()
	hub := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, cdn.URL, http.StatusFound) }))
	defer hub.Close()
	v := New(at("HF_ENDPOINT", hub.URL))
	defer v.client.CloseIdleConnections()
	v.client.Transport.(*http.Transport).TLSClientConfig = hub.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	_, _, err := get(t, v, vendor.File{SizeBytes: -1, Source: "hf:o/r/m.gguf@" + strings.Repeat("a", 40)}, vendor.Whole)
	if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "cannot be used") || asked {
		t.Error(asked, err)
	}
}

// errText is an error with all of its causes.
func errText(err error) string {
	var b strings.Builder
	for ; err != nil; err = errors.Unwrap(err) {
		b.WriteString(err.Error() + "\n")
	}
	return b.String()
}

package fakehub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func ask(t *testing.T, method, url string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	client := http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func start(t *testing.T, r Repo) *Hub {
	hub := Start()
	t.Cleanup(hub.Close)
	hub.Add(r)
	return hub
}

func TestAnyPartOfMadeContentIsTheSame(t *testing.T) {
	f := File{Size: 1000, Seed: 9}
	all, err := io.ReadAll(Reader(f))
	if err != nil || len(all) != 1000 {
		t.Fatal(len(all), err)
	}
	for from := range int64(40) {
		for n := range int64(30) {
			r, p := Reader(f), make([]byte, n)
			_, _ = r.Seek(from, io.SeekStart)
			if _, err := io.ReadFull(r, p); err != nil || !bytes.Equal(p, all[from:from+n]) {
				t.Fatalf("%d bytes at %d differ: %v", n, from, err)
			}
		}
	}
	if other, _ := io.ReadAll(Reader(File{Size: 1000, Seed: 10})); bytes.Equal(other, all) {
		t.Error("two seeds give one content")
	}
}

func TestAddressesOfTheCDN(t *testing.T) {
	content := []byte("0123456789")
	hub := start(t, Repo{Name: "a/b", Files: []File{{Path: "m.gguf", Content: content, LFS: true}}})
	resolve := hub.URL() + "/a/b/resolve/main/m.gguf"
	plain, _, err := ask(t, "GET", resolve)
	if err != nil || plain.StatusCode != 302 || plain.Header.Get("X-Linked-Size") != "10" || len(plain.Header.Get("X-Repo-Commit")) != 40 {
		t.Fatalf("%+v %v", plain, err)
	}
	ranged, _, err := ask(t, "HEAD", resolve, "Range", "bytes=2-3")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		resp   *http.Response
		rng    string
		status int
		body   string
	}{
		"whole":               {plain, "", 200, "0123456789"},
		"a part":              {plain, "bytes=2-3", 206, "23"},
		"to the end":          {plain, "bytes=8-", 206, "89"},
		"the last":            {plain, "bytes=-1", 206, "9"},
		"past the end":        {plain, "bytes=9-20", 206, "9"},
		"beyond":              {plain, "bytes=10-", 416, ""},
		"signed with a range": {ranged, "bytes=2-3", 206, "23"},
		"another range":       {ranged, "bytes=2-4", 403, "AccessDenied"},
		"no range":            {ranged, "", 403, "AccessDenied"},
	} {
		t.Run(name, func(t *testing.T) {
			var h []string
			if tc.rng != "" {
				h = []string{"Range", tc.rng}
			}
			resp, body, err := ask(t, "GET", tc.resp.Header.Get("Location"), h...)
			if err != nil || resp.StatusCode != tc.status || !strings.Contains(string(body), tc.body) {
				t.Errorf("%v %s, %v", resp, body, err)
			}
			if resp.Header.Get("ETag") == plain.Header.Get("X-Linked-Etag") {
				t.Error("the CDN's ETag is the sha256")
			}
		})
	}
	forged := strings.Replace(plain.Header.Get("Location"), "Signature=", "Signature=0", 1)
	if resp, _, err := ask(t, "GET", forged); err != nil || resp.StatusCode != 403 {
		t.Errorf("a forged address: %v, %v", resp, err)
	}
	hub.ExpireLinks()
	if resp, _, err := ask(t, "GET", plain.Header.Get("Location")); err != nil || resp.StatusCode != 403 {
		t.Errorf("an expired address: %v, %v", resp, err)
	}
	hub.LinkLife(-time.Second)
	old, _, _ := ask(t, "GET", resolve)
	if resp, _, err := ask(t, "GET", old.Header.Get("Location")); err != nil || resp.StatusCode != 403 {
		t.Errorf("an address past its time: %v, %v", resp, err)
	}
}

func TestFaults(t *testing.T) {
	f := File{Path: "m.gguf", Size: 300_000, Seed: 4, LFS: true}
	hub := start(t, Repo{Name: "a/b", Files: []File{f}})
	link := func() string {
		resp, _, err := ask(t, "GET", hub.URL()+"/a/b/resolve/main/m.gguf")
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.Get("Location")
	}
	addr := link()

	hub.RateLimit(1, 1, 37*time.Second)
	for i, want := range []int{200, 429, 200} {
		resp, body, err := ask(t, "GET", hub.URL()+"/api/models/a/b")
		if err != nil || resp.StatusCode != want {
			t.Fatalf("request %d: %v, %v", i, resp, err)
		}
		if want == 429 && (!strings.Contains(resp.Header.Get("RateLimit"), "t=37") || resp.Header.Get("Retry-After") != "" || !bytes.HasPrefix(body, []byte("<!DOCTYPE"))) {
			t.Errorf("%v %s", resp.Header, body)
		}
	}
	hub.Break(1, 502)
	if resp, _, err := ask(t, "GET", hub.URL()+"/api/models/a/b"); err != nil || resp.StatusCode != 502 {
		t.Errorf("%v, %v", resp, err)
	}
	hub.Forget()
	hub.Cut(func() int64 { return 100_000 })
	if _, body, err := ask(t, "GET", addr); !errors.Is(err, io.ErrUnexpectedEOF) || len(body) != 100_000 || hub.SentBytes("a/b/m.gguf") != 100_000 {
		t.Errorf("cut: %d bytes, %v, %d sent", len(body), err, hub.SentBytes("a/b/m.gguf"))
	}
	hub.Cut(nil)
	hub.Throttle(3_000_000)
	began := time.Now()
	if _, body, err := ask(t, "GET", addr); err != nil || len(body) != 300_000 || time.Since(began) < 90*time.Millisecond {
		t.Errorf("throttled: %d bytes in %v, %v", len(body), time.Since(began), err)
	}
	hub.Throttle(0)
	hub.IgnoreRanges(true)
	if resp, body, err := ask(t, "GET", addr, "Range", "bytes=5-6"); err != nil || resp.StatusCode != 200 || len(body) != 300_000 {
		t.Errorf("ranges are not ignored: %v, %v", resp, err)
	}
	hub.Stall(1000)
	body := open(t, addr)
	if _, err := io.ReadFull(body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if n := hub.SentBytes("a/b/m.gguf"); n != 100_000+600_000+1000 {
		t.Errorf("%d bytes were sent in all", n)
	}
	hub.Unstall()
	if n, err := io.Copy(io.Discard, body); err != nil || n != 299_000 {
		t.Errorf("%d more bytes, %v", n, err)
	}
}

// open gives the body of an answer as it comes.
func open(t *testing.T, url string) io.Reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp.Body
}

func TestCloseEndsStalledBodies(t *testing.T) {
	hub := start(t, Repo{Name: "a/b", Files: []File{{Path: "m.gguf", Size: 1 << 20, LFS: true}}})
	resp, _, err := ask(t, "GET", hub.URL()+"/a/b/resolve/main/m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	hub.Stall(10)
	body := open(t, resp.Header.Get("Location"))
	if _, err := io.ReadFull(body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	hub.Close()
	if n, err := io.Copy(io.Discard, body); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d more bytes came, %v", n, err)
	}
}

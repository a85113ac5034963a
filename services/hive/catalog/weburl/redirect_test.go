package weburl

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// TestRedirect follows one to another host, which learns nothing of the address.
func TestRedirect(t *testing.T) {
	seen := make(chan http.Header, 10)
	there := tlsServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		r.URL.Path = "/m/Bee-7B-Q4_K_M.gguf"
		serve(w, r)
	}))
	here := tlsServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, there.URL+"/other?signature=x", http.StatusFound)
	}))
	w := trusting(t, here) // httptest's servers have one certificate
	a, err := resolve(t, w, here.URL+"/x.gguf?token="+secret)
	if err != nil {
		t.Fatal(err)
	}
	body, err := w.Fetch(t.Context(), &a.Files[0], vendor.Range{From: 10, To: 20})
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(body)
	body.Close()
	if err != nil || !bytes.Equal(data, model[10:20]) || body.From != 10 || a.Name != "x" {
		t.Errorf("got %q from %d, %v; the name is %q", data, body.From, err, a.Name)
	}
	for range 2 {
		for k, v := range <-seen {
			if strings.Contains(strings.Join(v, " "), secret) {
				t.Errorf("the other host was sent %s: %s", k, v)
			}
		}
	}
}

func TestMayLeadTo(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		ok       bool
	}{
		{"https://a/x.gguf", "https://b/y", true},
		{"https://a/x.gguf", "https://127.0.0.1/y", false},
		{"http://a/x.gguf#sha256=" + digest, "http://b/y", true},
		{"http://a/x.gguf#sha256=" + digest, "http://localhost/y", false},
		{"http://127.0.0.1/x.gguf", "http://b/y", false},
		{"http://127.0.0.1/x.gguf#sha256=" + digest, "http://b/y", true},
		{"http://127.0.0.1/x.gguf", "http://[::1]/y", true},
		{"http://127.0.0.1/x.gguf", "https://b/y", true},
		{"http://127.0.0.1/x.gguf", "file:///y", false},
	} {
		a, err := parse(tc.from)
		if err != nil {
			t.Fatal(err)
		}
		to, err := a.url.Parse(tc.to)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.mayLeadTo(to); (err == nil) != tc.ok {
			t.Errorf("from %s to %s: %v", tc.from, tc.to, err)
		}
	}
}

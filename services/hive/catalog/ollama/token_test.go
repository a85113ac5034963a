package ollama

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/ollama/registrytest"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// seen are the requests that a server had.
type seen struct {
	mu   sync.Mutex
	reqs []*http.Request
}

func (s *seen) add(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reqs = append(s.reqs, r)
}

func (s *seen) all() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.reqs...)
}

// A real registry that wants tokens and keeps its blobs behind another host: the token is asked for once,
// and the other host gets the range and no token.
func TestTokensAndRedirects(t *testing.T) {
	var cdn seen
	dir := filepath.Join(t.TempDir(), "store")
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cdn.add(r)
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	tokens := registrytest.StartTokens(t, "library/")
	r := registrytest.Start(t, registrytest.OnDisk(dir), registrytest.Redirecting(server.URL), registrytest.Guarded(tokens))
	gguf := beeFile(t)
	push(t, r, "bee", "latest", gguf)
	push(t, r, "secret/bee", "latest", gguf)
	weights, err := os.ReadFile(gguf)
	if err != nil {
		t.Fatal(err)
	}

	v := newVendor(t, r.URL)
	a, err := v.Resolve(t.Context(), "ollama:bee")
	if err != nil {
		t.Fatal(err)
	}
	if got, b := content(t, v, a.Files[0], vendor.Range{From: 5, To: 5000}); got != string(weights[5:5000]) || b.From != 5 {
		t.Errorf("%d bytes from %d", len(got), b.From)
	}
	if n := tokens.Requests(); n != 1 {
		t.Errorf("%d tokens were asked for, not 1", n)
	}
	ranged := false
	for _, req := range cdn.all() {
		if req.Header.Get("Authorization") != "" {
			t.Errorf("the other host got a token")
		}
		ranged = ranged || req.Header.Get("Range") == "bytes=5-4999"
	}
	if !ranged {
		t.Error("the other host was not asked for the range")
	}

	_, err = v.Resolve(t.Context(), "ollama:secret/bee")
	if messages.CodeOf(err) != messages.CodeDenied || !strings.Contains(err.Error(), "without an account") || strings.Contains(err.Error(), tokens.Last()) {
		t.Errorf("a repository that is not public: %v", err)
	}
}

// A token that the registry no longer takes is replaced, once.
func TestStaleToken(t *testing.T) {
	tokens := registrytest.StartTokens(t, "library/")
	r := registrytest.Start(t, registrytest.Guarded(tokens))
	push(t, r, "bee", "latest", beeFile(t))
	v := newVendor(t, r.URL)
	v.tokens.put(tokenKey{r.URL, "library/bee"}, "stale", time.Hour)
	if _, err := v.Resolve(t.Context(), "ollama:bee"); err != nil || tokens.Requests() != 1 {
		t.Errorf("%v after %d tokens", err, tokens.Requests())
	}
}

// fakeRegistry answers everything with a challenge for a token from realm.
func fakeRegistry(t testing.TB, header string) (*httptest.Server, *seen) {
	t.Helper()
	var s seen
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.add(r)
		w.Header().Set("WWW-Authenticate", header)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	return server, &s
}

// Where a registry keeps its blobs has no say in where tokens are asked for.
func TestChallengeOfAnotherHost(t *testing.T) {
	realm, askedForTokens := fakeRegistry(t, "")
	cdn, _ := fakeRegistry(t, `Bearer realm="`+realm.URL+`/token"`)
	registry := fakeAnswers(t, map[string]http.HandlerFunc{beeManifest: says(307, "", "Location", cdn.URL+"/x")})
	_, err := newVendor(t, registry.URL).Resolve(t.Context(), "ollama:bee")
	if messages.CodeOf(err) != messages.CodeDenied || len(askedForTokens.all()) != 0 {
		t.Errorf("%d tokens were asked for: %v", len(askedForTokens.all()), err)
	}
}

func TestHostileTokens(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		reply  string
		code   messages.Code
	}{
		"garbage":       {200, "SECRET", messages.CodeUnavailable},
		"no token":      {200, `{}`, messages.CodeUnavailable},
		"header inside": {200, `{"token":"SECRET\r\nX: y"}`, messages.CodeUnavailable},
		"too long":      {200, `{"token":"SECRET` + strings.Repeat("x", 20<<10) + `"}`, messages.CodeUnavailable},
		"too much":      {200, `{"token":"SECRET","x":"` + strings.Repeat("x", 70<<10) + `"}`, messages.CodeBadModel},
		"refused":       {401, "SECRET", messages.CodeDenied},
		"not there":     {404, "SECRET", messages.CodeDenied},
		"busy":          {503, "SECRET", messages.CodeUnavailable},
		"never enough":  {200, `{"token":"SECRET"}`, messages.CodeDenied},
	} {
		t.Run(name, func(t *testing.T) {
			realm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.reply)
			}))
			defer realm.Close()
			server, asked := fakeRegistry(t, `Bearer realm="`+realm.URL+`/token"`)
			_, err := newVendor(t, server.URL).Resolve(t.Context(), "ollama:bee")
			if messages.CodeOf(err) != tc.code || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%v", err)
			}
			if n := len(asked.all()); n > 2 {
				t.Errorf("the registry was asked %d times", n)
			}
		})
	}
}

// A token is for the registry and the repository that it was asked for.
func TestTokensKeptApart(t *testing.T) {
	v := newVendor(t, "")
	key := tokenKey{"https://a.example", "library/bee"}
	v.tokens.put(key, "t", time.Hour)
	for _, other := range []tokenKey{{"https://b.example", "library/bee"}, {"http://a.example", "library/bee"}, {"https://a.example", "library/wasp"}} {
		if v.tokens.get(other) != "" {
			t.Errorf("%v has the token of %v", other, key)
		}
	}
	if v.tokens.get(key) != "t" {
		t.Error("the token is not kept")
	}
	v.tokens.put(key, "t", tokenMargin)
	if v.tokens.get(key) != "" {
		t.Error("a token is used after its end")
	}
	for i := range 3 * maxTokens {
		v.tokens.put(tokenKey{"https://a.example", fmt.Sprint(i)}, "t", time.Hour)
	}
	if n := len(v.tokens.kept); n > maxTokens {
		t.Errorf("%d tokens are kept", n)
	}
}

func TestChallenges(t *testing.T) {
	for header, want := range map[string]challenge{
		`Bearer realm="https://ollama.com/token",service="ollama.com",scope="repository:library/x:pull"`: {"https://ollama.com/token", "ollama.com", "repository:library/x:pull"},
		`bearer  Realm = "https://x/a\"b" , error=invalid_token`:                                         {`https://x/a"b`, "", ""},
		`Bearer realm=https://x/t,service=y`:                                                             {"https://x/t", "y", ""},
	} {
		if c, ok := parseChallenge([]string{"Basic realm=\"z\"", header}); !ok || c != want {
			t.Errorf("%s is %+v, %v", header, c, ok)
		}
	}
	for _, header := range []string{"", "Bearer", "Bearer x", `Basic realm="https://x"`, `Bearer service="x"`, `Bearer realm="https://x` + strings.Repeat("x", maxChallenge) + `"`} {
		if c, ok := parseChallenge([]string{header}); ok {
			t.Errorf("%.80q is %+v", header, c)
		}
	}
}

func TestRealms(t *testing.T) {
	local, remote := &url.URL{Scheme: "http", Host: "127.0.0.1:5000"}, &url.URL{Scheme: "https", Host: "registry.example"}
	for realm, from := range map[string][2]bool{ // taken from a registry here, and elsewhere
		"https://auth.example/token?a=b":    {true, true},
		"http://127.0.0.1:99/token":         {true, false},
		"http://localhost/token":            {true, false},
		"https://localhost:8443/admin":      {true, false},
		"https://[::1]/admin":               {true, false},
		"http://auth.example/token":         {false, false},
		"http://169.254.169.254/latest":     {false, false},
		"ftp://127.0.0.1/x":                 {false, false},
		"file:///etc/passwd":                {false, false},
		"https://user:pw@auth.example/":     {false, false},
		"/token":                            {false, false},
		"https://":                          {false, false},
		"https://%zz":                       {false, false},
		"javascript:alert(1)":               {false, false},
		"http://127.0.0.1.evil.example/tok": {false, false},
	} {
		c := challenge{realm: realm, service: "s&x=y", scope: "a b"}
		for i, registry := range []*url.URL{local, remote} {
			u, err := c.address(registry)
			if (err == nil) != from[i] {
				t.Errorf("%s for %s: %v, %v", realm, registry, u, err)
			}
			if err == nil && (u.Query().Get("service") != "s&x=y" || len(u.Query()["scope"]) != 2) {
				t.Errorf("%s becomes %s", realm, u)
			}
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://ollama.com/token",service="ollama.com",scope="repository:library/x:pull"`)
	f.Add(`Bearer realm="http://127.0.0.1/x\"",scope=a`)
	f.Fuzz(func(t *testing.T, header string) {
		c, ok := parseChallenge([]string{header})
		if !ok {
			return
		}
		u, err := c.address(&url.URL{Scheme: "https", Host: "registry.example"})
		if err == nil && (u.Scheme != "https" || loopback(u.Host) || u.User != nil || u.Hostname() == "") {
			t.Fatalf("%q leads to %s", header, u)
		}
	})
}

package ollama

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// fakeAnswers speaks as a registry does and answers path by what is in answers.
func fakeAnswers(t testing.TB, answers map[string]http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := answers[r.URL.Path]; h != nil {
			h(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

func says(status int, text string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}
}

const beeManifest = "/v2/library/bee/manifests/latest"

func TestWording(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		code   messages.Code
		want   string
	}{
		"denied":        {says(403, `{"errors":[{"code":"DENIED","message":"x"}]}`), messages.CodeDenied, "403 Forbidden (DENIED)"},
		"login":         {says(401, ""), messages.CodeDenied, "without an account"},
		"rate":          {says(429, "", "Retry-After", "17"), messages.CodeUnavailable, "try again in 17s"},
		"rate, no wait": {says(429, ""), messages.CodeUnavailable, "some minutes"},
		"broken":        {says(502, "<html>"), messages.CodeUnavailable, "502 Bad Gateway"},
		"bad request":   {says(400, `{"errors":[{"code":"NAME_INVALID"}]}`), messages.CodeBadRequest, "NAME_INVALID"},
		"hostile code":  {says(400, `{"errors":[{"code":"\u001b[31mX"}]}`), messages.CodeBadRequest, "400 Bad Request (check"},
		"unknown":       {says(404, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`), messages.CodeModelUnknown, "MANIFEST_UNKNOWN"},
		"a page":        {says(200, "<!doctype html>"), messages.CodeBadModel, "no manifest"},
		"too large":     {says(200, strings.Repeat(" ", maxManifest+1)), messages.CodeBadModel, "too large"},
		"cut off":       {says(200, "{", "Content-Length", "100"), messages.CodeUnavailable, "cannot get the manifest of ollama:bee:latest"},
		"to http":       {says(307, "", "Location", "http://192.0.2.1/x?signature=SECRET"), messages.CodeDenied, `redirects to "http://192.0.2.1"`},
		"to nowhere":    {says(307, ""), messages.CodeBadRequest, "307 Temporary Redirect"},
		"to itself":     {says(307, "", "Location", beeManifest), messages.CodeBadRequest, "more than 10 redirects"},
		"adapter":       {says(200, manifestOf(one("adapter", 1))), messages.CodeBadModel, "merge the two"},
		"container":     {says(200, manifestOf()), messages.CodeModelUnknown, someDigest},
	} {
		t.Run(name, func(t *testing.T) {
			server := fakeAnswers(t, map[string]http.HandlerFunc{beeManifest: tc.answer})
			_, err := newVendor(t, server.URL).Resolve(t.Context(), "ollama:bee")
			if messages.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%v", err)
			}
			if e := messages.AsError(err, ""); e.Hint == "" || e.Op == "" {
				t.Errorf("%v has no hint", err)
			}
			if vendor.Temporary(err) != (tc.code == messages.CodeUnavailable) {
				t.Errorf("%v: another try is wrongly thought of", err)
			}
		})
	}
}

// Registries choose by Accept what they give: the manifest as it was pushed, not one turned into another.
func TestAccept(t *testing.T) {
	var s seen
	server := fakeAnswers(t, map[string]http.HandlerFunc{beeManifest: func(w http.ResponseWriter, r *http.Request) {
		s.add(r)
		http.NotFound(w, r)
	}})
	_, _ = newVendor(t, server.URL).Resolve(t.Context(), "ollama:bee")
	if got := s.all(); len(got) != 1 || got[0].Header.Get("Accept") != "application/vnd.docker.distribution.manifest.v2+json" {
		t.Errorf("%+v", got)
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := newVendor(t, server.URL).Resolve(t.Context(), "ollama:bee")
	if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "check the network") {
		t.Errorf("%v", err)
	}
}

func TestStalled(t *testing.T) {
	server := fakeAnswers(t, map[string]http.HandlerFunc{beeManifest: func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "{")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}})
	v := newVendor(t, server.URL)
	v.limit = 50 * time.Millisecond
	_, err := v.Resolve(t.Context(), "ollama:bee")
	if messages.CodeOf(err) != messages.CodeUnavailable || !vendor.Temporary(err) {
		t.Errorf("%v", err)
	}
}

// What Resolve reads itself is checked: a config or a licence of another digest or size is refused.
func TestChangedBlobs(t *testing.T) {
	good := `{"model_format":"gguf","model_family":"llama"}`
	license := "MIT License"
	m := func(size int) string {
		return fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"x","digest":%q,"size":%d},"layers":[%s,{"mediaType":"application/vnd.ollama.image.license","digest":%q,"size":%d}]}`,
			digestOf([]byte(good)), size, one("model", 1), digestOf([]byte(license)), len(license))
	}
	for name, tc := range map[string]struct{ manifest, config, license, want string }{
		"good":             {m(len(good)), good, license, ""},
		"config changed":   {m(len(good)), strings.Replace(good, "llama", "lama2", 1), license, "another size or digest"},
		"config longer":    {m(len(good)), good + " ", license, "another size or digest"},
		"config shorter":   {m(len(good) + 1), good, license, "another size or digest"},
		"config enormous":  {m(maxConfig + 1), good, license, "at most"},
		"licence changed":  {m(len(good)), good, "MIT Licence", "another size or digest"},
		"licence vanished": {m(len(good)), good, "", "another size or digest"},
	} {
		server := fakeAnswers(t, map[string]http.HandlerFunc{
			beeManifest: says(200, tc.manifest),
			"/v2/library/bee/blobs/" + digestOf([]byte(good)):    says(200, tc.config),
			"/v2/library/bee/blobs/" + digestOf([]byte(license)): says(200, tc.license),
		})
		a, err := newVendor(t, server.URL).Resolve(t.Context(), "ollama:bee")
		switch {
		case tc.want == "" && (err != nil || a.License != "mit"):
			t.Errorf("%s: %+v, %v", name, a, err)
		case tc.want != "" && (messages.CodeOf(err) != messages.CodeBadModel || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A manifest that is asked for by digest has that digest. Where a registry has it among its blobs only, as
// Ollama's own client expects, it is found there.
func TestManifestByDigest(t *testing.T) {
	manifest := `{"schemaVersion":2,"layers":[` + one("model", 1) + `]}`
	digest := digestOf([]byte(manifest))
	v := newVendor(t, fakeAnswers(t, map[string]http.HandlerFunc{"/v2/library/bee/blobs/" + digest: says(200, manifest)}).URL)
	if a, err := v.Resolve(t.Context(), "ollama:bee:x@"+digest); err != nil || a.Revision != digest {
		t.Errorf("among the blobs: %+v, %v", a, err)
	}
	v = newVendor(t, fakeAnswers(t, map[string]http.HandlerFunc{"/v2/library/bee/manifests/" + digest: says(200, manifest+" ")}).URL)
	if _, err := v.Resolve(t.Context(), "ollama:bee:x@"+digest); messages.CodeOf(err) != messages.CodeBadModel {
		t.Errorf("another manifest: %v", err)
	}
}

func TestRegistryAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"http://127.0.0.1:5000":       "http://127.0.0.1:5000",
		"127.0.0.1:5000":              "http://127.0.0.1:5000",
		"http://[::1]:5000":           "http://[::1]:5000",
		"localhost":                   "http://localhost",
		"mirror.example":              "https://mirror.example",
		"https://mirror.example/sub/": "https://mirror.example/sub/",
		"http://mirror.example":       "",
		"http://10.0.0.1:5000":        "",
		"http://localhost.evil.test":  "",
		"https://a:SECRET@b.example":  "",
		"https://b.example?x=SECRET":  "",
		"ftp://b.example":             "",
		"https://":                    "",
		"https://%zz":                 "",
		"::":                          "",
	} {
		u, err := parseRegistry(address)
		switch {
		case want != "" && (err != nil || u.String() != want):
			t.Errorf("%s: %v, %v", address, u, err)
		case want == "" && (messages.CodeOf(err) != messages.CodeBadRequest || strings.Contains(err.Error(), "SECRET@")):
			t.Errorf("%s: %v, %v", address, u, err)
		}
	}
	v := newVendor(t, "http://10.0.0.1")
	if _, err := v.Resolve(t.Context(), "ollama:bee"); messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), RegistryVariable) {
		t.Errorf("%v", err)
	}
	if v := newVendor(t, ""); v.registry.String() != DefaultRegistry {
		t.Errorf("by default %s is asked", v.registry)
	}
}

// A registry elsewhere cannot lead to this machine's ports, nor anybody to plain http.
func TestRedirects(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		ok       bool
	}{
		{"https://a.example", "https://cdn.example", true},
		{"https://a.example", "http://cdn.example", false},
		{"https://a.example", "https://127.0.0.1:8443", false},
		{"https://a.example", "http://127.0.0.1", false},
		{"http://127.0.0.1:1", "http://127.0.0.1:2", true},
		{"http://127.0.0.1:1", "https://cdn.example", true},
		{"http://127.0.0.1:1", "http://cdn.example", false},
	} {
		from, _ := http.NewRequest(http.MethodGet, tc.from, nil)
		to, _ := http.NewRequest(http.MethodGet, tc.to+"/x", nil)
		to.Header.Set("Authorization", "Bearer x")
		err := New(func(string) string { return "" }).client.CheckRedirect(to, []*http.Request{from})
		if (err == nil) != tc.ok || to.Header.Get("Authorization") != "" && err == nil {
			t.Errorf("%s to %s: %v, %v", tc.from, tc.to, err, to.Header)
		}
	}
}

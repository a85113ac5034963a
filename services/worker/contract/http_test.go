package contract_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

func TestRefuses(t *testing.T) {
	url := ready(t, &enginetest.Fake{})
	for name, tc := range map[string]struct {
		body string
		want messages.Code
	}{
		"sound":          {sound, ""},
		"empty":          {"", messages.CodeBadRequest},
		"cut JSON":       {sound[:40], messages.CodeBadRequest},
		"not an object":  {"[]", messages.CodeBadRequest},
		"wrong type":     {`{"id":7}`, messages.CodeBadRequest},
		"more behind it": {sound + "{}", messages.CodeBadRequest},
		"msgpack":        {"\x81\xa1v\x01", messages.CodeBadRequest},
		"too large":      {changed("hi", strings.Repeat("x", 16<<20)), messages.CodeBadRequest},
		"bad id":         {changed("r1", "r 1"), messages.CodeBadRequest},
		"bad task":       {changed(`"chat"`, `"dance"`), messages.CodeBadRequest},
		"no body":        {`{"id":"r1","model":"fake"}`, messages.CodeBadRequest},
		"another model":  {changed("fake", "other"), messages.CodeModelUnknown},
		"newer version":  {changed("{", `{"v":2,`), messages.CodeWrongVersion},
		"long prompt":    {changed("hi", strings.Repeat("bee ", 5000)), messages.CodeContextFull},
	} {
		t.Run(name, func(t *testing.T) {
			r := do(t, http.MethodPost, url+"/v1/infer", tc.body)
			var v struct{ Error messages.Error }
			if err := json.Unmarshal(r.body, &v); err != nil || r.media != "application/json" {
				t.Fatalf("%s %q: %v", r.media, r.body, err)
			}
			want := http.StatusOK
			if tc.want != "" {
				want = tc.want.HTTPStatus()
			}
			if v.Error.Code != tc.want || r.status != want {
				t.Errorf("status %d, %q, want %d, code %q", r.status, r.body, want, tc.want)
			}
		})
	}
}

func TestMethodsAndPaths(t *testing.T) {
	url := ready(t, &enginetest.Fake{})
	for request, want := range map[string]int{
		"GET /health": 200, "HEAD /health": 200, "POST /health": 405, "DELETE /info": 405, "GET /v1/infer": 405, "PUT /v1/infer": 405,
		"GET /heartbeat": 405, "POST /metrics": 405, "GET /": 404, "GET /v1/models": 404, "POST /v1/infer/": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		if r := do(t, method, url+path, ""); r.status != want {
			t.Errorf("%s: %d, want %d", request, r.status, want)
		}
	}
}

func TestPagesOfTheWebAreRefused(t *testing.T) {
	url := ready(t, &enginetest.Fake{})
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	header := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	for name, tc := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"localhost":      {host("localhost:1"), 200},
		"IPv6 loopback":  {host("[::1]"), 200},
		"a name":         {host("evil.example"), 403},
		"another host":   {host("192.0.2.1:80"), 403},
		"another origin": {header("Origin", "http://evil.example"), 403},
		"cross-site":     {header("Sec-Fetch-Site", "cross-site"), 403},
	} {
		if r := do(t, http.MethodPost, url+"/v1/infer", sound, tc.change); r.status != tc.want {
			t.Errorf("%s: %d, want %d", name, r.status, tc.want)
		}
	}
}

func TestSlowPrefillKeepsTheStreamAlive(t *testing.T) {
	gate := make(chan struct{})
	url := ready(t, &enginetest.Fake{Gate: gate})
	resp, err := client.Post(url+"/v1/infer", "application/json", strings.NewReader(changed("false", "true")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" || resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %s", resp.StatusCode, ct)
	}
	lines := bufio.NewScanner(resp.Body) // the client's time-out bounds it
	if !lines.Scan() || lines.Text() != ": prefill 2/2" {
		t.Errorf("before the first token the stream says %q", lines.Text())
	}
	close(gate)
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if got := strings.Join(rest, "\n"); !strings.Contains(got, "data: {") || !strings.Contains(got, "event: end\ndata: {\"v\":1,\"frames\":") {
		t.Errorf("then\n%s", got)
	}
}

func TestFailureInTheMiddle(t *testing.T) {
	url := ready(t, failing{&enginetest.Fake{}})
	r := do(t, http.MethodPost, url+"/v1/infer", changed("false", "true"))
	if !strings.Contains(string(r.body), "\n\nevent: error\ndata: {\"code\":\"internal\"") || strings.Contains(string(r.body), "event: end") {
		t.Errorf("%s", r.body)
	}
	if r = do(t, http.MethodPost, url+"/v1/infer", sound); r.status != http.StatusInternalServerError {
		t.Errorf("whole: %d %s", r.status, r.body)
	}
}

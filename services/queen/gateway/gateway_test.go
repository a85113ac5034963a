package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/metrics"
	"github.com/rbee-project/rbee/services/queen/registry"
	"github.com/rbee-project/rbee/services/queen/router"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a transport whose worker answers from a list, then ends with over.
type fake struct {
	objects []string
	over    error // nil: wait until the request is cancelled
	closed  chan struct{}
	asked   *messages.InferRequest
}

func (*fake) Name() string { return "bus" }

func (f *fake) Open(_ context.Context, _ *messages.WorkerInfo, req *messages.InferRequest) (router.Stream, error) {
	f.asked = req
	return f, nil
}

func (f *fake) Next(ctx context.Context) ([]byte, error) {
	if len(f.objects) > 0 {
		o := f.objects[0]
		f.objects = f.objects[1:]
		return []byte(o), nil
	}
	if f.over == nil {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return nil, f.over
}

func (*fake) Usage() messages.Usage { return messages.Usage{} }

func (f *fake) Close() { close(f.closed) }

// port is a gateway before one fake worker that serves "m".
func port(t *testing.T, f *fake, healthy bool) *httptest.Server {
	t.Helper()
	if f.closed == nil {
		f.closed = make(chan struct{})
	}
	d := router.NewDispatcher(router.RouteBus, func() bool { return true }, func() {})
	d.Changed(&registry.Change{Worker: registry.View{Bus: registry.RouteUp, WorkerInfo: messages.WorkerInfo{ID: "w1", Incarnation: "i1",
		Status: messages.StatusReady, SlotsTotal: 64, Models: []messages.ModelInfo{{ID: "m"}}}}})
	m := metrics.New(func() map[string]float64 { return map[string]float64{"rbee_workers": 1} })
	log := slog.New(slog.DiscardHandler)
	g := New(Config{Log: log,
		Infer: router.New(router.Config{Dispatcher: d, Bus: f, Suspect: func(*messages.WorkerInfo, string) {},
			Unreachable: func(*messages.WorkerInfo, string, string) {}, Metrics: m, Log: log,
			Ensure: func(_ context.Context, m string) error {
				if m == "full" {
					return messages.Errorf(messages.CodeNoMemory, "spawn", "it does not fit").WithHint("a smaller one")
				}
				return messages.Errorf(messages.CodeModelUnknown, "infer", "no %q", m)
			}}),
		Models: func() []string { return []string{"m", "org/name:7b"} },
		Name: func(ref string) string {
			switch ref {
			case "hf:org/name:7b":
				return "org/name:7b"
			case "https://host/m.gguf":
				return "m"
			}
			return ref
		},
		Metrics: m,
		Health: func() Health {
			if healthy {
				return Health{Status: OK}
			}
			return Health{Status: Unavailable, Reason: "no bus"}
		}})
	s := httptest.NewServer(g.Handler())
	t.Cleanup(s.Close)
	return s
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

func ask(t *testing.T, s *httptest.Server, method, path, body string, change ...func(*http.Request)) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), err}
}

const chat = "/v1/chat/completions"

func TestErrorsLookLikeOpenAIs(t *testing.T) {
	s := port(t, &fake{}, true)
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		kind, code         string
	}{
		"no JSON":           {"POST", chat, "{", 400, "invalid_request_error", "bad_request"},
		"empty":             {"POST", chat, "", 400, "invalid_request_error", "bad_request"},
		"an array":          {"POST", chat, "[]", 400, "invalid_request_error", "bad_request"},
		"model is a number": {"POST", chat, `{"model":1}`, 400, "invalid_request_error", "bad_request"},
		"no model":          {"POST", chat, `{}`, 400, "invalid_request_error", "bad_request"},
		"long model":        {"POST", chat, `{"model":"` + strings.Repeat("x", 600) + `"}`, 400, "invalid_request_error", "bad_request"},
		"too large":         {"POST", "/v1/completions", `"` + strings.Repeat("x", maxBody) + `"`, 400, "invalid_request_error", "bad_request"},
		"unknown model":     {"POST", chat, `{"model":"x"}`, 404, "invalid_request_error", "model_unknown"},
		"no memory":         {"POST", chat, `{"model":"full"}`, 503, "server_error", "no_memory"},
		"unknown path":      {"GET", "/v2", "", 404, "invalid_request_error", "not_found"},
		"wrong method":      {"GET", chat, "", 404, "invalid_request_error", "not_found"},
		"unknown in list":   {"GET", "/v1/models/x/y", "", 404, "invalid_request_error", "model_unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, s, tc.method, tc.path, tc.body)
			var got struct {
				Error struct{ Message, Type, Code string }
			}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatalf("%v: %q, %v", err, a.body, a.err)
			}
			if a.status != tc.status || got.Error.Type != tc.kind || got.Error.Code != tc.code || got.Error.Message == "" {
				t.Errorf("%d %+v", a.status, got)
			}
			if retry := a.header.Get("Retry-After"); (retry != "") != (tc.status == 503) {
				t.Errorf("Retry-After %q", retry)
			}
		})
	}
}

func TestHostAndOrigin(t *testing.T) {
	s := port(t, &fake{}, true)
	for name, tc := range map[string]struct {
		host, origin string
		status       int
	}{
		"plain": {"", "", 200}, "localhost": {"localhost:7833", "", 200}, "v6": {"[::1]:7833", "", 200}, "v6 without port": {"[::1]", "", 200},
		"own page": {"localhost", "http://127.0.0.1:3000", 200}, "rebound name": {"evil.example", "", 403},
		"looks like ours": {"localhost.evil.example:80", "", 403}, "another machine": {"10.0.0.1", "", 403},
		"foreign page": {"", "https://evil.example", 403}, "sandboxed page": {"", "null", 403}, "no URL": {"", "http://[", 403},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, s, "GET", "/v1/models", "", func(r *http.Request) {
				if r.Host = tc.host; tc.origin != "" {
					r.Header.Set("Origin", tc.origin)
				}
			})
			if a.status != tc.status || (tc.status == 403) != strings.Contains(a.body, "permission_error") {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestReads(t *testing.T) {
	up, down := port(t, &fake{}, true), port(t, &fake{}, false)
	for name, tc := range map[string]struct {
		s      *httptest.Server
		path   string
		status int
		want   string
	}{
		"health":               {up, "/health", 200, `{"status":"ok"}`},
		"health, no bus":       {down, "/health", 503, "no bus"},
		"models":               {up, "/v1/models", 200, `"id":"org/name:7b","object":"model"`},
		"model":                {up, "/v1/models/m", 200, `"id":"m"`},
		"model with slash":     {up, "/v1/models/org/name:7b", 200, `"id":"org/name:7b"`},
		"model by a reference": {up, "/v1/models/hf:org/name:7b", 200, `"id":"org/name:7b"`},
		"model by an address":  {up, "/v1/models/https%3A%2F%2Fhost%2Fm.gguf", 200, `"id":"m"`},
		"model with %2F":       {up, "/v1/models/org%2Fname%3A7b", 200, `"id":"org/name:7b"`},
		"metrics of the queen": {up, "/metrics", 200, "rbee_workers 1"},
	} {
		t.Run(name, func(t *testing.T) {
			if a := ask(t, tc.s, "GET", tc.path, ""); a.status != tc.status || !strings.Contains(a.body, tc.want) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	broken := messages.Errorf(messages.CodeStreamBroken, "infer", "the sender is gone")
	for name, tc := range map[string]struct {
		f       fake
		body    string
		want    string
		cut     bool
		counted string
	}{
		"stream": {fake{objects: []string{`{"a":1}`, `{"b":2}`}, over: io.EOF}, `{"model":"m","stream":true}`,
			"data: {\"a\":1}\n\ndata: {\"b\":2}\n\ndata: [DONE]\n\n", false, `code="ok"`},
		"whole": {fake{objects: []string{`{"a":1}`}, over: io.EOF}, `{"model":"m"}`, `{"a":1}`, false, `code="ok"`},
		"broken stream": {fake{objects: []string{`{"a":1}`}, over: broken}, `{"model":"m","stream":true}`,
			"data: {\"a\":1}\n\ndata: {\"error\":{\"code\":\"stream_broken\",\"message\":\"the sender is gone\",\"param\":null,\"type\":\"server_error\"}}\n\n", true, `code="stream_broken"`},
		"broken whole": {fake{objects: []string{`{"a":1}`}, over: broken}, `{"model":"m"}`, "", true, `code="stream_broken"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := port(t, &tc.f, true)
			a := ask(t, s, "POST", chat, tc.body)
			<-tc.f.closed
			if a.body != tc.want || (a.err != nil) != tc.cut {
				t.Errorf("%d %q, %v", a.status, a.body, a.err)
			}
			if !tc.cut && a.header.Get("X-Rbee-Worker") != "w1" {
				t.Errorf("header %v", a.header)
			}
			if string(tc.f.asked.Body) != tc.body {
				t.Errorf("the worker got %s", tc.f.asked.Body)
			}
			want := `rbee_requests_total{` + tc.counted + `,task="chat",via="http"} 1`
			for began := time.Now(); ; { // the handler counts after the client has it all
				m := ask(t, s, "GET", "/metrics", "")
				if strings.Contains(m.body, want) {
					break
				}
				if time.Since(began) > 30*time.Second {
					t.Fatalf("not counted: %s", m.body)
				}
			}
		})
	}
}

func TestClientThatGoesAwayCancels(t *testing.T) {
	for name, objects := range map[string][]string{"before the first token": nil, "after it": {`{"a":1}`}} {
		t.Run(name, func(t *testing.T) {
			f := &fake{objects: objects, closed: make(chan struct{})}
			s := port(t, f, true)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, "POST", s.URL+chat, strings.NewReader(`{"model":"m","stream":true}`))
			if objects == nil {
				time.AfterFunc(50*time.Millisecond, cancel)
			}
			resp, err := s.Client().Do(r)
			if err == nil {
				if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "data: {\"a\":1}\n" {
					t.Errorf("%q, %v", line, err)
				}
				resp.Body.Close()
			}
			select {
			case <-f.closed:
			case <-time.After(30 * time.Second):
				t.Error("the worker goes on")
			}
		})
	}
}

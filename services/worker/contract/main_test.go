package contract_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker"
	"github.com/rbee-project/rbee/services/worker/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// client has no connections left open when a test ends: start closes them.
var client = &http.Client{Timeout: patience}

// start runs a worker of e without a bus until the test ends; url is its contract's.
func start(t *testing.T, e engine.Engine) (w *worker.Worker, url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w, err = worker.New(worker.Config{ID: "w1", Hive: "h1", Model: "fake"}, e, ln, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return")
		}
	})
	return w, "http://" + ln.Addr().String()
}

// await polls until a fact holds. For facts that nothing announces.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("still not: %s", what)
		}
	}
}

func ready(t *testing.T, e engine.Engine) (url string) {
	t.Helper()
	w, url := start(t, e)
	await(t, "ready", func() bool { return w.Health() == nil })
	return url
}

// reply is an answer over HTTP.
type reply struct {
	status int
	media  string // content type without parameters
	body   []byte
}

func do(t *testing.T, method, url, body string, change ...func(*http.Request)) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range change {
		fn(req)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return reply{resp.StatusCode, media, raw}
}

const sound = `{"id":"r1","model":"fake","task":"chat","stream":false,"body":{"max_tokens":2,"messages":[{"role":"user","content":"hi"}]}}`

func changed(old, with string) string { return strings.Replace(sound, old, with, 1) }

// loading is an engine that does not come up.
type loading struct{ engine.Engine }

func (loading) Load(ctx context.Context, progress func(float64)) error {
	progress(0.5)
	<-ctx.Done()
	return ctx.Err()
}

// failing breaks off after one chunk.
type failing struct{ engine.Engine }

func (f failing) Infer(_ context.Context, _ engine.Request, emit func([]byte) error) (engine.Usage, error) {
	if err := emit([]byte(`{"id":"r1","object":"chat.completion.chunk","created":1,"model":"fake"}`)); err != nil {
		return engine.Usage{}, err
	}
	return engine.Usage{}, messages.Errorf(messages.CodeInternal, messages.OpInfer, "the device is lost").WithHint("look at the log")
}

// late does not make it in time.
type late struct{ engine.Engine }

func (late) Infer(context.Context, engine.Request, func([]byte) error) (engine.Usage, error) {
	return engine.Usage{}, messages.Errorf(messages.CodeTimeout, messages.OpInfer, "the deadline passed")
}

package queen

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// TestMain has more tests side by side than there are cores: the parallel ones wait for clocks.
func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "16")
	bustest.VerifyNoLeaks(m)
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// world is a server and a queen on it.
type world struct {
	s      *bustest.Server
	q      *Queen
	stop   func() // ends the queen
	client *bus.Conn
	http   string
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := ListenLoopback("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// run starts q until stop or the test's end.
func run(t *testing.T, q *Queen) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the queen ended with %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	t.Cleanup(stop)
	return stop
}

func begin(t *testing.T) *world {
	t.Helper()
	return beginOn(t, bustest.Start(t), Config{Name: "q", Route: "bus"})
}

// beginOn runs a queen on s, where others may run.
func beginOn(t *testing.T, s *bustest.Server, cfg Config) *world {
	t.Helper()
	q, err := New(cfg, s.Connect(t, bus.RoleQueen, cfg.Name), s.Realm, listen(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, q)
	select {
	case <-q.Ready():
	case <-deadline(t).Done():
		t.Fatal("the queen is not ready")
	}
	stored(t, q)
	return &world{s: s, q: q, stop: stop, client: s.Connect(t, bus.RoleClient, "alice"), http: "http://" + q.HTTPAddr()}
}

// stored returns once buckets and streams are there: a server that is stopped while it makes a stream leaves
// that stream's goroutines behind.
func stored(t *testing.T, q *Queen) {
	t.Helper()
	ctx := deadline(t)
	for _, stream := range []string{"KV_" + messages.WorkersBucket, "KV_" + messages.HivesBucket, messages.JobsStream, messages.EventsStream} {
		for {
			_, err := q.conn.JetStream().Stream(ctx, stream)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("stream %s: %v", stream, err)
			}
		}
	}
}

// until looks at every change of the registry until ok.
func (w *world) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := deadline(t)
	for {
		changed := w.q.heard.wait()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

func (w *world) do(t *testing.T, op string, req, reply any) error {
	t.Helper()
	return w.client.Request(deadline(t), messages.DoSubject(w.client.Caller, op), req, reply)
}

// fakeWorker beats and answers on the bus.
type fakeWorker struct {
	c    *bus.Conn
	info messages.WorkerInfo
	mu   sync.Mutex
	seq  uint64
	told chan struct{} // one for each request that was cancelled
	hold bool          // say one object, then wait to be cancelled
	fail bool          // say two objects, then fail
	mute bool          // answer no probe
}

func newWorker(t *testing.T, s *bustest.Server, id messages.WorkerID, pid int) *fakeWorker {
	t.Helper()
	f := &fakeWorker{c: s.Connect(t, bus.RoleWorker, string(id)), told: make(chan struct{}, 64), info: messages.WorkerInfo{ID: id, Incarnation: messages.NewID("i"),
		Hive: "h1", Models: []messages.ModelInfo{{ID: "m", Slots: 64}}, ModelID: "m", PID: pid, StartTime: 7, Status: messages.StatusReady, SlotsTotal: 64}}
	var ctls bus.Controls
	subject := func(op string) string { return messages.WorkerSubject(id, f.info.Incarnation, op) }
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	stop1, err1 := f.c.Subscribe(subject(messages.OpCtl)+".*", func(m bus.Msg) { ctls.Deliver(messages.SubjectToken(m.Subject, 5), m) })
	stop2, err2 := f.c.Subscribe(subject(messages.OpInfer), func(m bus.Msg) {
		wg.Go(func() { f.answer(ctx, &ctls, subject(messages.OpCtl), m) })
	})
	stop3, err3 := f.c.Subscribe(subject(messages.OpInfo), func(m bus.Msg) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.mute {
			_ = f.c.PublishRaw(m.Reply, "", messages.MustEncode(&f.info))
		}
	})
	if err := errors.Join(err1, err2, err3, f.c.Flush(deadline(t))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop3(); stop2(); stop1(); cancel(); wg.Wait() })
	return f
}

func (f *fakeWorker) answer(ctx context.Context, ctls *bus.Controls, ctl string, m bus.Msg) {
	var req messages.InferRequest
	_ = messages.Decode(m.Data, &req)
	ctx, done, err := ctls.Add(ctx, req.ID)
	if err != nil {
		return
	}
	defer done()
	s := f.c.NewSender(m.Reply, ctl+"."+req.ID)
	_ = s.Data([]byte(`{"text":"bzz"}`))
	if f.hold {
		<-ctx.Done()
		f.told <- struct{}{}
		s.Fail(ctx.Err())
		return
	}
	_ = s.Data([]byte(`{"text":" bzz"}`))
	if f.fail {
		s.Fail(errors.New("boom"))
		return
	}
	s.End(messages.Usage{PromptTokens: 3, CompletionTokens: 2})
}

func (f *fakeWorker) beat(t *testing.T, status messages.Status) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	f.info.Status = status
	if err := f.c.Publish(messages.HeartbeatSubject(f.info.ID), &messages.Heartbeat{Worker: f.info, Seq: f.seq}); err != nil {
		t.Error(err)
	}
}

// ready has w's queen know a worker that serves m.
func (w *world) ready(t *testing.T, id messages.WorkerID) *fakeWorker {
	t.Helper()
	f := newWorker(t, w.s, id, 100)
	f.beat(t, messages.StatusReady)
	w.until(t, "worker is known", func() bool { _, ok := w.q.registry.Worker(id); return ok })
	return f
}

// recv is the next of ch.
func recv[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-deadline(t).Done():
		t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

func wantCode(t *testing.T, err error, want messages.Code) {
	t.Helper()
	if got := messages.CodeOf(err); got != want {
		t.Errorf("got %v (code %q), want code %q", err, got, want)
	}
}

const chatBody = `{"model":"m","stream":true,"messages":[]}`

// chat asks over HTTP and returns status and body.
func (w *world) chat(ctx context.Context) (int, string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.http+"/v1/chat/completions", strings.NewReader(chatBody))
	if err != nil {
		return 0, err.Error()
	}
	return read(http.DefaultClient.Do(r))
}

func read(resp *http.Response, err error) (int, string) {
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, fmt.Sprintf("%s, then %v", b, err)
	}
	return resp.StatusCode, string(b)
}

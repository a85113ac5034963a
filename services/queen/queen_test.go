package queen

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

func TestReadsByHandAndByProgram(t *testing.T) {
	w := begin(t)
	w.hive(t)
	w.ready(t, "w1")
	for op, tc := range map[string]struct {
		hand string
		req  any
		want string // in both answers
	}{
		messages.OpStatus:     {"", &messages.Done{}, "q"},
		messages.OpWorkerList: {"", &messages.Done{}, "w1"},
		messages.OpWorkerGet:  {`{"id":"w1"}`, &messages.WorkerRef{ID: "w1"}, "w1"},
		messages.OpHiveList:   {"", &messages.Done{}, "h1"},
		messages.OpHiveGet:    {`{"id":"h1"}`, &messages.HiveRef{ID: "h1"}, "h1"},
		messages.OpModelList:  {"", &messages.ModelListRequest{}, "h1"},
		messages.OpJobEvents:  {`{"job":"none"}`, &messages.JobRef{Job: "none"}, "events"},
	} {
		t.Run(op, func(t *testing.T) {
			began := time.Now()
			a, err := w.client.RequestRaw(deadline(t), messages.QueenSubject(op), []byte(tc.hand))
			if err != nil || !json.Valid(a) || !strings.Contains(string(a), tc.want) {
				t.Errorf("by hand: %s, %v", a, err)
			}
			a, err = w.client.RequestRaw(deadline(t), messages.QueenSubject(op), messages.MustEncode(tc.req))
			if err != nil || messages.FormatOf(a) != messages.Msgpack || !strings.Contains(string(a), tc.want) {
				t.Errorf("by program: %q, %v", a, err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	for op, req := range map[string]any{messages.OpWorkerGet: &messages.WorkerRef{ID: "w9"}, messages.OpHiveGet: &messages.HiveRef{ID: "h9"}} {
		wantCode(t, w.client.Request(deadline(t), messages.QueenSubject(op), req, nil), messages.CodeNotFound)
	}
	var logs messages.LogsReply
	if err := w.do(t, messages.OpLogs, &messages.LogsRequest{ID: "gone"}, &logs); err != nil || logs.Text != "a log" {
		t.Errorf("logs of a worker that is gone: %+v, %v", logs, err)
	}
}

// TestMalformedRequests: whatever a caller sends, it gets an answer and the queen goes on.
func TestMalformedRequests(t *testing.T) {
	w := begin(t)
	w.ready(t, "w1")
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	payloads := [][]byte{noise, []byte("\xdf\xff\xff\xff\xff"), []byte("\xc1"), []byte("{"), []byte("[]"), []byte(`{"id":{}}`), []byte(`{"v":99}`),
		[]byte(`{"id":1,"job":2,"worker":3}`), []byte(strings.Repeat("\x91", 5000)), []byte("\xdb\x7f\xff\xff\xff"), []byte("hello")}
	for _, e := range w.q.endpoints() {
		subject := strings.Replace(e.Subject, "*", string(w.client.Caller), 1)
		for _, p := range payloads {
			_, err := w.client.RequestRaw(deadline(t), subject, p)
			if code := messages.CodeOf(err); code == "" || code == messages.CodeInternal || code == messages.CodeTimeout {
				if strings.HasPrefix(string(p), `{"id":`) && code == "" {
					continue // reads that take no argument ignore fields that they do not know
				}
				t.Errorf("%s with %.20q: %v", subject, p, err)
			}
		}
	}
	if err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpWorkerList), &messages.Done{}, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestForgedBeats(t *testing.T) {
	w := begin(t)
	w.hive(t)
	f := w.ready(t, "w1")
	beat := func(change func(*messages.Heartbeat)) *messages.Heartbeat {
		b := &messages.Heartbeat{Worker: f.info, Seq: 50}
		b.Worker.Status = messages.StatusDraining
		change(b)
		return b
	}
	asJSON, _ := messages.Encode(messages.JSON, beat(func(*messages.Heartbeat) {}))
	subject := messages.HeartbeatSubject("w1")
	for name, send := range map[string]func() error{
		"another's id": func() error {
			return f.c.Publish(subject, beat(func(b *messages.Heartbeat) { b.Worker.ID = "w2" }))
		},
		"with a reply": func() error {
			return f.c.PublishRaw(subject, "$KV.rbee_workers.w1", messages.MustEncode(beat(func(*messages.Heartbeat) {})))
		},
		"JSON":  func() error { return f.c.PublishRaw(subject, "", asJSON) },
		"empty": func() error { return f.c.PublishRaw(subject, "", nil) },
		"noise": func() error { return f.c.PublishRaw(subject, "", []byte("\xdf\xff\xff\xff\xff")) },
		"bad incarnation": func() error {
			return f.c.Publish(subject, beat(func(b *messages.Heartbeat) { b.Worker.Incarnation = "a.b" }))
		},
		"not a number": func() error {
			return f.c.Publish(subject, beat(func(b *messages.Heartbeat) { b.Worker.TokensPerSecond = math.NaN() }))
		},
		"endless": func() error {
			return f.c.Publish(subject, beat(func(b *messages.Heartbeat) { b.Worker.Progress = math.Inf(1) }))
		},
		"a long text": func() error {
			return f.c.Publish(subject, beat(func(b *messages.Heartbeat) { b.Worker.Version = strings.Repeat("x", 900_000) }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.q.dropped.Load()
			if err := errors.Join(send(), f.c.Flush(deadline(t))); err != nil {
				t.Fatal(err)
			}
			for ctx := deadline(t); w.q.dropped.Load() == before; {
				if ctx.Err() != nil {
					t.Fatal("never counted")
				}
				_ = w.client.Request(ctx, messages.QueenSubject(messages.OpStatus), &messages.Done{}, nil)
			}
			list, err := w.client.RequestRaw(deadline(t), messages.QueenSubject(messages.OpWorkerList), nil)
			if err != nil || strings.Contains(string(list), "draining") || strings.Contains(string(list), "w2") {
				t.Errorf("%.300s, %v", list, err)
			}
		})
	}
	// A hive is believed about its own workers only.
	other := w.s.Connect(t, bus.RoleHive, "h2")
	e := &messages.WorkerExited{Worker: "w1", Hive: "h2", PID: 100, StartTime: 7}
	if err := errors.Join(other.PublishJSON(messages.EventSubject("hive", "h2", "worker.exited"), e), other.Flush(deadline(t))); err != nil {
		t.Fatal(err)
	}
	e.Hive = "h1"
	before := w.q.dropped.Load()
	if err := other.PublishJSON(messages.EventSubject("hive", "h2", "worker.exited"), e); err != nil {
		t.Fatal(err)
	}
	for ctx := deadline(t); w.q.dropped.Load() == before && ctx.Err() == nil; {
		_ = w.client.Request(ctx, messages.QueenSubject(messages.OpStatus), &messages.Done{}, nil)
	}
	if _, ok := w.q.registry.Worker("w1"); !ok {
		t.Error("another hive's report ended the worker")
	}
}

func TestBucketIsOutput(t *testing.T) {
	w := begin(t)
	h := w.hive(t)
	kv, err := w.q.conn.JetStream().KeyValue(deadline(t), messages.WorkersBucket)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := kv.WatchAll(deadline(t), jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Stop() }()
	w.ready(t, "w1")
	e := recv(t, "a put", watch.Updates())
	var info messages.WorkerInfo
	if err := json.Unmarshal(e.Value(), &info); err != nil || e.Key() != "w1" || info.ModelID != "m" || info.Hive != "h1" {
		t.Errorf("%s: %s, %v", e.Key(), e.Value(), err)
	}
	foreign := w.s.Connect(t, bus.RoleQueen, "other")
	for key, value := range map[string]string{"w1": `{"id":"w1","model_id":"forged"}`, "w7": `{"id":"w7"}`, "w8": "not JSON"} {
		if err := foreign.PublishRaw("$KV."+messages.WorkersBucket+"."+key, "", []byte(value)); err != nil {
			t.Fatal(err)
		}
		recv(t, "the foreign put", watch.Updates())
	}
	list, err := w.client.RequestRaw(deadline(t), messages.QueenSubject(messages.OpWorkerList), nil)
	if err != nil || strings.Contains(string(list), "forged") || strings.Contains(string(list), "w7") {
		t.Errorf("%s, %v", list, err)
	}
	h.exited(t, "w1", 100, "")
	if e := recv(t, "a delete", watch.Updates()); e.Key() != "w1" || e.Operation() != jetstream.KeyValueDelete {
		t.Errorf("%s %s", e.Operation(), e.Key())
	}
}

// TestQueenBeforeItsServer: it says what is missing, and works when the server comes.
func TestQueenBeforeItsServer(t *testing.T) {
	s := bustest.Start(t)
	cr := s.Credentials(t, bus.RoleQueen, "q")
	s.Stop()
	conn, err := bus.Connect(deadline(t), bus.Config{URL: s.URL, Credentials: cr, Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	said := make(chan string, 64)
	q, err := New(Config{Name: "q"}, conn, s.Realm, listen(t), slog.New(slog.NewTextHandler(lines(said), nil)))
	if err != nil {
		t.Fatal(err)
	}
	run(t, q)
	if line := recv(t, "a word on what is missing", said); !strings.Contains(line, "waiting for the bus") {
		t.Errorf("said %q", line)
	}
	w := &world{s: s, q: q, http: "http://" + q.HTTPAddr()}
	if status, body := get(t, w.http+"/health"); status != 503 || !strings.Contains(body, "no connection") {
		t.Errorf("health: %d %s", status, body)
	}
	if status, body := w.chat(deadline(t)); status != 503 {
		t.Errorf("chat: %d %s", status, body)
	}
	s.Restart(t)
	recv(t, "ready", q.Ready())
	stored(t, q)
	w.client = s.Connect(t, bus.RoleClient, "alice")
	w.ready(t, "w1")
	if status, body := w.chat(deadline(t)); status != 200 || !strings.HasSuffix(body, "[DONE]\n\n") {
		t.Errorf("chat: %d %s", status, body)
	}
	for ctx := deadline(t); ; {
		status, body := get(t, w.http+"/health")
		if status == 200 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("health: %d %s", status, body)
		}
	}
}

func TestQueenStoppedBeforeItsServerCame(t *testing.T) {
	s := bustest.Start(t)
	cr := s.Credentials(t, bus.RoleQueen, "q")
	s.Stop()
	conn, err := bus.Connect(deadline(t), bus.Config{URL: s.URL, Credentials: cr, Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q, err := New(Config{Name: "q"}, conn, s.Realm, listen(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Run(ctx); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestNewChecks(t *testing.T) {
	_, err := New(Config{Route: "pigeon"}, nil, nil, nil, nil)
	wantCode(t, err, messages.CodeBadRequest)
	for addr, want := range map[string]messages.Code{"127.0.0.1:0": "", "localhost:1": "", "[::1]:1": "", "0.0.0.0:1": messages.CodeDenied,
		":7833": messages.CodeDenied, "10.1.2.3:1": messages.CodeDenied, "example.org:1": messages.CodeDenied, "nonsense": messages.CodeBadRequest} {
		if got := messages.CodeOf(CheckLoopback(addr)); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	ln := listen(t)
	defer ln.Close()
	_, err = ListenLoopback(ln.Addr().String())
	wantCode(t, err, messages.CodeConflict)
}

// lines is a log that hands each line over, as long as somebody takes it.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(deadline(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return read(http.DefaultClient.Do(r))
}

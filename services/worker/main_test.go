package worker_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker"
	"github.com/rbee-project/rbee/services/worker/engine"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

func TestMain(m *testing.M) {
	bustest.VerifyNoLeaks(m)
}

// patience is how long a test waits for anything before it calls it lost.
const patience = 30 * time.Second

// soon is well under [messages.HeartbeatEvery]: what comes within it came because of something.
const soon = 3 * time.Second

const id messages.WorkerID = "w1"

// rig is a worker that runs, with a queen that hears its beats.
type rig struct {
	*worker.Worker
	srv    *bustest.Server
	queen  *bus.Conn
	url    string
	heard  chan messages.Heartbeat
	cancel context.CancelFunc
	done   chan error
	log    bytes.Buffer
}

// start runs a worker of e until the test ends. before, if not nil, is called before Run.
func start(t *testing.T, cfg worker.Config, e engine.Engine, before func(*rig)) *rig {
	t.Helper()
	r := &rig{srv: bustest.Start(t)}
	r.queen = r.srv.Connect(t, bus.RoleQueen, "q")
	r.hear(t)
	r.run(t, cfg, e, r.srv.Connect(t, bus.RoleWorker, string(id)), r.srv.Connect(t, bus.RoleWorker, string(id)), before)
	return r
}

// ready is start once the worker says that it is.
func ready(t *testing.T, cfg worker.Config, e engine.Engine) *rig {
	t.Helper()
	r := start(t, cfg, e, nil)
	r.beat(t, patience, func(h messages.Heartbeat) bool { return h.Worker.Status == messages.StatusReady })
	return r
}

func (r *rig) hear(t *testing.T) {
	t.Helper()
	r.heard = make(chan messages.Heartbeat, 4096)
	_, err := r.queen.Subscribe(messages.HeartbeatWildcard, func(m bus.Msg) {
		var h messages.Heartbeat
		if err := messages.Decode(m.Data, &h); err != nil {
			t.Errorf("beat: %v", err)
		}
		if err := h.Check(messages.SubjectToken(m.Subject, 2)); err != nil {
			t.Errorf("beat: %v", err)
		}
		r.heard <- h
	})
	if err != nil {
		t.Fatal(err)
	}
	flush(t, r.queen)
}

func (r *rig) run(t *testing.T, cfg worker.Config, e engine.Engine, beats, bulk *bus.Conn, before func(*rig)) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.ID = id
	cfg.Model = "fake"
	if r.Worker, err = worker.New(cfg, e, ln, beats, bulk, slog.New(slog.NewTextHandler(&r.log, nil))); err != nil {
		t.Fatal(err)
	}
	if before != nil {
		before(r)
	}
	r.url = "http://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel, r.done = cancel, make(chan error, 1)
	go func() { r.done <- r.Run(ctx); close(r.done) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-r.done:
		case <-time.After(patience):
			t.Error("Run did not return")
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

// ended waits for Run.
func (r *rig) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		t.Fatal("Run did not return")
		return nil
	}
}

// beat waits for a beat of which ok holds.
func (r *rig) beat(t *testing.T, within time.Duration, ok func(messages.Heartbeat) bool) messages.Heartbeat {
	t.Helper()
	late := time.After(within)
	for {
		select {
		case h := <-r.heard:
			if ok(h) {
				return h
			}
		case <-late:
			t.Fatal("no such beat")
		}
	}
}

func (r *rig) subject(op string) string {
	return messages.WorkerSubject(id, r.Info().Incarnation, op)
}

func reply() string { return messages.ReplySubject("queen-q", id, messages.NewID("")) }

// ask opens a stream on the bus.
func (r *rig) ask(t *testing.T, req *messages.InferRequest) *bus.Reader {
	t.Helper()
	s, err := r.queen.OpenStream(r.subject(messages.OpInfer), reply(), r.subject(messages.OpCtl+"."+req.ID), messages.MustEncode(req))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// answer is what came of a request, whichever way it went.
type answer struct {
	objects []string
	usage   messages.Usage
	err     error
}

func read(t *testing.T, s *bus.Reader) (a answer) {
	t.Helper()
	ctx := deadline(t)
	for {
		o, err := s.Next(ctx)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				a.err = err
			}
			a.usage = s.Usage()
			return a
		}
		a.objects = append(a.objects, string(o))
	}
}

func (r *rig) post(t *testing.T, ctx context.Context, req *messages.InferRequest) *http.Response {
	t.Helper()
	body, err := messages.Encode(messages.JSON, req)
	if err != nil {
		t.Fatal(err)
	}
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/infer", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(hr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// readHTTP reads either shape of an answer over HTTP.
func readHTTP(t *testing.T, resp *http.Response) (a answer) {
	t.Helper()
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		return readEvents(t, resp.Body)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Error *messages.Error `json:"error"`
		Usage messages.Usage  `json:"usage"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	if v.Error != nil {
		if want := v.Error.Code.HTTPStatus(); resp.StatusCode != want {
			t.Errorf("%s has status %d, want %d", v.Error.Code, resp.StatusCode, want)
		}
		return answer{err: v.Error}
	}
	return answer{objects: []string{string(raw)}, usage: v.Usage}
}

func readEvents(t *testing.T, body io.Reader) (a answer) {
	t.Helper()
	event, ended := "", false
	for lines := bufio.NewScanner(body); lines.Scan(); {
		line := lines.Text()
		data, isData := strings.CutPrefix(line, "data: ")
		name, isEvent := strings.CutPrefix(line, "event: ")
		switch {
		case isEvent:
			event = name
		case isData && event == "":
			a.objects = append(a.objects, data)
		case isData && event == "end":
			var end messages.StreamEnd
			if err := json.Unmarshal([]byte(data), &end); err != nil || end.Frames != uint64(len(a.objects)) {
				t.Errorf("end %s after %d objects: %v", data, len(a.objects), err)
			}
			a.usage, ended = end.Usage, true
		case isData && event == "error":
			e := &messages.Error{}
			if err := json.Unmarshal([]byte(data), e); err != nil {
				t.Errorf("error %s: %v", data, err)
			}
			a.err, ended = e, true
		}
	}
	if !ended {
		t.Error("the stream stopped without an end")
	}
	return a
}

func chat(reqID string, stream bool, tokens int) *messages.InferRequest {
	body, _ := json.Marshal(map[string]any{"max_tokens": tokens, "stream_options": map[string]any{"include_usage": true},
		"messages": []any{map[string]any{"role": "user", "content": "where is the queen"}}})
	return &messages.InferRequest{ID: reqID, Model: "fake", Task: messages.TaskChat, Stream: stream, Body: body}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func flush(t *testing.T, c *bus.Conn) {
	t.Helper()
	if err := c.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
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

// give and take are a send and a receive that the test does not wait for for ever.
func give[T any](t *testing.T, to chan<- T, v T) {
	t.Helper()
	select {
	case to <- v:
	case <-time.After(patience):
		t.Fatal("nobody takes it")
	}
}

func take[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatal("nothing comes")
	}
	return v
}

func wantCode(t *testing.T, what string, err error, want messages.Code) {
	t.Helper()
	if messages.CodeOf(err) != want {
		t.Errorf("%s: %v, want code %q", what, err, want)
	}
}

// slow is an engine whose load the test steps through: a value is progress, the channel's end the
// load's.
type slow struct {
	enginetest.Fake
	at      chan float64
	loading bool
}

func (s *slow) Load(ctx context.Context, progress func(float64)) error {
	s.loading = true // Close reads it without a lock: the race detector sees a Close during Load
	defer func() { s.loading = false }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f, more := <-s.at:
			if !more {
				return s.Fake.Load(ctx, func(float64) {})
			}
			progress(f)
		}
	}
}

func (s *slow) Close() error {
	if s.loading {
		panic("closed while it loads")
	}
	return s.Fake.Close()
}

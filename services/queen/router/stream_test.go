package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// route is one transport and a way to have a worker behind it.
type route struct {
	Transport
	worker func(t *testing.T, id string, do script) messages.WorkerInfo
}

func routes(t *testing.T) map[string]route {
	s := bustest.Start(t)
	d := NewDirect()
	t.Cleanup(d.Close)
	onBus := func(t *testing.T, id string, do script) messages.WorkerInfo { return busWorker(t, s, id, do) }
	return map[string]route{"bus": {Bus{s.Connect(t, bus.RoleQueen, "q")}, onBus}, "direct": {d, httpWorker}}
}

func request(stream bool) *messages.InferRequest {
	return &messages.InferRequest{ID: messages.NewID("r-"), Model: "m", Task: messages.TaskChat, Stream: stream, Body: []byte(`{"model":"m"}`)}
}

// seen tells the scripts that an object was read.
var seen = make(chan struct{}, 1000)

// drain opens req and reads to the end.
func drain(ctx context.Context, tr Transport, w *messages.WorkerInfo, req *messages.InferRequest) (got []string, u messages.Usage, err error) {
	s, err := tr.Open(ctx, w, req)
	if err != nil {
		return nil, u, err
	}
	defer s.Close()
	for {
		o, err := s.Next(ctx)
		if err != nil {
			_, again := s.Next(ctx)
			if again == nil {
				err = errors.New("an object after the end")
			}
			return got, s.Usage(), err
		}
		got = append(got, string(o))
		seen <- struct{}{}
	}
}

// TestTransports holds both routes to the same promises.
func TestTransports(t *testing.T) {
	full := messages.Errorf(messages.CodeContextFull, "infer", "too long").WithHint("shorten it")
	failing := func(n int, err error) script {
		return func(ctx context.Context, req *messages.InferRequest, s func(string)) error {
			_ = say(n)(ctx, req, s)
			for range n {
				<-seen // else a break could overtake what was said
			}
			return err
		}
	}
	for name, tc := range map[string]struct {
		do      script
		objects int
		code    messages.Code // "": complete
	}{
		"whole":                   {say(500), 500, ""},
		"empty":                   {say(0), 0, ""},
		"error before the first":  {failing(0, full), 0, messages.CodeContextFull},
		"busy":                    {failing(0, messages.Errorf(messages.CodeBusy, "infer", "full")), 0, messages.CodeBusy},
		"error after it":          {failing(3, full), 3, messages.CodeContextFull},
		"broken before the first": {failing(0, errDie), 0, "gone"},
		"broken after it":         {failing(3, errDie), 3, messages.CodeStreamBroken},
		"an object of half a message": {func(_ context.Context, _ *messages.InferRequest, s func(string)) error {
			s(strings.Repeat("x", 500_000))
			return nil
		}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for route, r := range routes(t) {
				for len(seen) > 0 {
					<-seen
				}
				w := r.worker(t, "w1", tc.do)
				got, u, err := drain(deadline(t), r, &w, request(true))
				code := messages.CodeOf(err)
				if tc.code == "gone" && (code == messages.CodeUnavailable || code == messages.CodeStreamBroken) {
					code = tc.code
				}
				switch {
				case len(got) != tc.objects:
					t.Errorf("%s: %d objects of %d, then %v", route, len(got), tc.objects, err)
				case tc.code == "" && (!errors.Is(err, io.EOF) || u != usage):
					t.Errorf("%s: ended with %v, usage %+v", route, err, u)
				case tc.code != "" && (code != tc.code || errors.Is(err, io.EOF)):
					t.Errorf("%s: ended with %v, want %s", route, err, tc.code)
				}
			}
		})
	}
}

func TestTransportsCancel(t *testing.T) {
	for name, r := range routes(t) {
		for _, silent := range []bool{true, false} {
			for _, byClose := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s silent %v close %v", name, silent, byClose), func(t *testing.T) {
					if silent && byClose && name == "direct" {
						return // nothing is open before the first token
					}
					told := make(chan struct{}, 1)
					w := r.worker(t, "w1", untilCancelled(silent, told))
					ctx, cancel := context.WithCancel(deadline(t))
					defer cancel()
					if silent && !byClose {
						time.AfterFunc(50*time.Millisecond, cancel)
					}
					s, err := r.Open(ctx, &w, request(true))
					if err == nil {
						defer s.Close()
						if !silent {
							if _, err := s.Next(ctx); err != nil {
								t.Fatal(err)
							}
						}
						if byClose {
							s.Close()
						} else {
							time.AfterFunc(50*time.Millisecond, cancel)
							_, err = s.Next(ctx)
						}
					}
					if !byClose && (err == nil || errors.Is(err, io.EOF)) {
						t.Errorf("ended with %v", err)
					}
					select {
					case <-told:
					case <-deadline(t).Done():
						t.Error("the worker never learned of it")
					}
				})
			}
		}
	}
}

func TestTransportsWithoutStream(t *testing.T) {
	const answer = `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}`
	for name, r := range routes(t) {
		w := r.worker(t, "w1", func(_ context.Context, req *messages.InferRequest, s func(string)) error {
			if req.Stream {
				t.Error("stream asked for")
			}
			s(answer)
			return nil
		})
		got, u, err := drain(deadline(t), r, &w, request(false))
		if len(got) != 1 || got[0] != answer || !errors.Is(err, io.EOF) || u != usage {
			t.Errorf("%s: %q, %+v, %v", name, got, u, err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	for name, r := range routes(t) {
		w := worker("nobody")
		w.Host, w.Port = "127.0.0.1", 1
		_, _, err := drain(deadline(t), r, &w, request(true))
		if messages.CodeOf(err) != messages.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRequestTooLargeForTheBus(t *testing.T) {
	r := routes(t)
	req := request(true)
	req.Body = []byte(`"` + strings.Repeat("x", messages.MaxPayload) + `"`)
	w := worker("w1")
	_, err := r["bus"].Open(deadline(t), &w, req)
	wantCode(t, err, messages.CodeBadRequest)
	w = r["direct"].worker(t, "w1", say(1))
	if got, _, err := drain(deadline(t), r["direct"], &w, req); len(got) != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("direct: %d, %v", len(got), err)
	}
}

// TestDirectForeignAnswers: what is not the contract is an error, never an end.
func TestDirectForeignAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"nothing": "", "no end": "data: {}\n\n", "half a line": "data: {}\n\ndata: {\"a\"", "bad end": "event: end\ndata: {{\n\n",
		"bad error": "event: error\ndata: boom\n\n", "unknown event": "event: party\ndata: {}\n\n", "html": "<html>",
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
			defer srv.Close()
			u, _ := url.Parse(srv.URL)
			w := worker("w1")
			w.Host = u.Hostname()
			w.Port, _ = strconv.Atoi(u.Port())
			d := NewDirect()
			defer d.Close()
			if _, _, err := drain(deadline(t), d, &w, request(true)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

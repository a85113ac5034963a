package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

var errDie = errors.New("the worker dies")

// script is what a fake worker does with a request: it says objects and ends, with an error or, with
// errDie, without a word.
type script func(ctx context.Context, req *messages.InferRequest, say func(string)) error

var usage = messages.Usage{PromptTokens: 3, CompletionTokens: 2}

// busWorker answers on the bus as a worker does, until the test ends.
func busWorker(t *testing.T, s *bustest.Server, id string, do script) messages.WorkerInfo {
	t.Helper()
	info := worker(id)
	c := s.Connect(t, bus.RoleWorker, id)
	ctx, cancel := context.WithCancel(context.Background())
	var ctls bus.Controls
	subject := func(op string) string { return messages.WorkerSubject(info.ID, info.Incarnation, op) }
	_, err := c.Subscribe(subject(messages.OpCtl)+".*", func(m bus.Msg) { ctls.Deliver(messages.SubjectToken(m.Subject, 5), m) })
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 64)
	running := 0
	_, err = c.Subscribe(subject(messages.OpInfer), func(m bus.Msg) {
		running++
		go func() {
			defer func() { done <- struct{}{} }()
			answerOnBus(ctx, t, c, &ctls, subject(messages.OpCtl), m, do)
		}()
	})
	if err == nil {
		err = c.Flush(deadline(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		c.Close()
		for range running {
			<-done
		}
	})
	return info
}

func answerOnBus(ctx context.Context, t *testing.T, c *bus.Conn, ctls *bus.Controls, ctl string, m bus.Msg, do script) {
	var req messages.InferRequest
	if err := messages.Decode(m.Data, &req); err != nil {
		t.Error(err)
		return
	}
	ctx, done, err := ctls.Add(ctx, req.ID)
	if err != nil {
		t.Error(err)
		return
	}
	defer done()
	s := c.NewSender(m.Reply, ctl+"."+req.ID)
	err = do(ctx, &req, func(o string) { _ = s.Data([]byte(o)) })
	switch {
	case errors.Is(err, errDie):
		_ = c.Flush(ctx)
		c.Close()
		s.Fail(err)
	case err != nil:
		s.Fail(err)
	default:
		s.End(usage)
	}
}

// httpWorker answers over HTTP as a worker does: no status before the first object.
func httpWorker(t *testing.T, id string, do script) messages.WorkerInfo {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &messages.InferRequest{}
		if err := json.NewDecoder(r.Body).Decode(req); err != nil || r.URL.Path != "/v1/infer" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		answerOverHTTP(w, r, req, do)
	}))
	t.Cleanup(srv.Close)
	u, _ := url.Parse(srv.URL)
	info := worker(id)
	info.Host = u.Hostname()
	info.Port, _ = strconv.Atoi(u.Port())
	return info
}

func answerOverHTTP(w http.ResponseWriter, r *http.Request, req *messages.InferRequest, do script) {
	said := 0
	err := do(r.Context(), req, func(o string) {
		said++
		if req.Stream {
			fmt.Fprintf(w, ": keep-alive\n\ndata: %s\n\n", o)
		} else {
			fmt.Fprint(w, o)
		}
		_ = http.NewResponseController(w).Flush()
	})
	switch {
	case errors.Is(err, errDie):
		panic(http.ErrAbortHandler)
	case err != nil && said == 0:
		e := messages.AsError(err, "infer")
		w.WriteHeader(e.Code.HTTPStatus())
		_ = json.NewEncoder(w).Encode(map[string]any{"error": e})
	case err != nil:
		e, _ := json.Marshal(messages.AsError(err, "infer"))
		fmt.Fprintf(w, "event: error\ndata: %s\n\n", e)
	case req.Stream:
		end, _ := json.Marshal(&messages.StreamEnd{Usage: usage})
		fmt.Fprintf(w, "event: end\ndata: %s\n\n", end)
	}
}

func say(n int) script {
	return func(_ context.Context, _ *messages.InferRequest, say func(string)) error {
		for i := range n {
			say(fmt.Sprintf(`{"n":%d}`, i))
		}
		return nil
	}
}

// untilCancelled says one object unless silent, then waits for the end of its context and tells.
func untilCancelled(silent bool, told chan<- struct{}) script {
	return func(ctx context.Context, _ *messages.InferRequest, say func(string)) error {
		if !silent {
			say(`{"n":0}`)
		}
		<-ctx.Done()
		told <- struct{}{}
		return ctx.Err()
	}
}

package router

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// What a frozen port has said before: the beginning of a stream, and of a whole answer.
const (
	streamBegins = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	firstToken   = streamBegins + "data: {\"n\":0}\n\n"
	wholeBegins  = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
)

// frozen is a port that takes connections, says words to who wants inference, and nothing more to anybody.
// healths counts who asks how it is.
func frozen(t *testing.T, w *messages.WorkerInfo, words string) (healths *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	healths = &atomic.Int32{}
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
			wg.Go(func() { hear(c, words, healths) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		for _, c := range conns {
			c.Close()
		}
		wg.Wait()
	})
	listens(w, ln.Addr())
	return healths
}

func hear(c net.Conn, words string, healths *atomic.Int32) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	switch {
	case err != nil:
	case r.URL.Path == "/health":
		healths.Add(1)
	default:
		_, _ = io.WriteString(c, words)
	}
}

// mute takes requests on the bus, says frames and then nothing more.
func mute(t *testing.T, s *bustest.Server, id string, frames ...messages.Frame) messages.WorkerInfo {
	t.Helper()
	info := worker(id)
	c := s.Connect(t, bus.RoleWorker, id)
	ctl := messages.WorkerSubject(info.ID, info.Incarnation, messages.OpCtl)
	_, err := c.Subscribe(ctl+".*", func(bus.Msg) {})
	if err == nil {
		_, err = c.Subscribe(messages.WorkerSubject(info.ID, info.Incarnation, messages.OpInfer), func(m bus.Msg) {
			for _, f := range frames {
				_ = c.PublishRaw(m.Reply, ctl+".x", messages.AppendFrame(nil, f))
			}
		})
	}
	if err == nil {
		err = c.Flush(deadline(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// slow is a port whose inference takes a while before and after the first token, or before the whole
// answer, without a keep-alive; health is what it says to who asks.
func slow(t *testing.T, w *messages.WorkerInfo, before, after time.Duration, health http.HandlerFunc) {
	t.Helper()
	wait := func(r *http.Request, d time.Duration) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
	}
	port(t, w, func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			health(out, r)
			return
		}
		req := &messages.InferRequest{}
		data, _ := io.ReadAll(r.Body)
		_ = messages.Decode(data, req)
		answerOverHTTP(out, r, req, func(_ context.Context, _ *messages.InferRequest, say func(string)) error {
			wait(r, before)
			say(`{"n":0}`)
			wait(r, after)
			return nil
		})
	})
}

package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// patience is how long a client may be kept waiting by a worker that is frozen; silence is how long one that
// is well may say nothing, in these tests.
const (
	patience = 5 * time.Second
	silence  = 6 * time.Second
)

func data(o string) messages.Frame {
	return messages.Frame{Kind: messages.FrameData, Seq: 1, Payload: messages.AppendObject(nil, []byte(o))}
}

// freeze is a case of TestFrozen.
type freeze struct {
	stream bool
	tokens int // before it freezes
	words  string
	frames []messages.Frame
}

// TestFrozen: a worker that took the request and says nothing to anybody ends it soon.
func TestFrozen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]freeze{
		"whole answer":             {},
		"half a whole answer":      {words: wholeBegins},
		"stream":                   {stream: true},
		"stream, after the status": {stream: true, words: streamBegins},
		"stream, half a line":      {stream: true, words: streamBegins + "data: {"},
		"stream, after a token":    {stream: true, words: firstToken, tokens: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, w := ports(t), worker("a")
			frozen(t, &w, tc.words)
			tc.check(t, c, w)
		})
	}
}

func TestFrozenOnTheBus(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t)
	for name, tc := range map[string]freeze{
		"whole-answer":  {},
		"stream":        {stream: true},
		"keep-alive":    {stream: true, frames: []messages.Frame{{Kind: messages.FrameKeepAlive}}},
		"after-a-token": {stream: true, frames: []messages.Frame{data("{}")}, tokens: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.check(t, startOn(t, s, RouteBus), mute(t, s, name, tc.frames...))
		})
	}
}

func (tc freeze) check(t *testing.T, c *cluster, w messages.WorkerInfo) {
	c.d.Changed(beats(w))
	began := time.Now()
	a, err := c.Infer(deadline(t), request(tc.stream))
	n := 0
	if (err == nil) != (tc.tokens > 0) {
		t.Fatalf("the first token: %v", err)
	} else if err == nil {
		n, err = readAnswer(deadline(t), a)
		if _, again := a.Next(deadline(t)); !errors.Is(again, err) {
			t.Errorf("then %v", again)
		}
	}
	wantCode(t, err, messages.CodeStalled)
	if took := time.Since(began); took >= patience || took < askAfter || n != tc.tokens {
		t.Errorf("%d tokens, after %v", n, took)
	}
	if c.fails(w) != 1 {
		t.Errorf("the breaker counts %d", c.fails(w))
	}
	c.wantTold(t, "suspect "+string(w.ID))
}

// TestFrozenIsInvisible: another worker answers, and the frozen one is not tried by its other way.
func TestFrozenIsInvisible(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{false, true} {
		t.Run(fmt.Sprintf("alone %v", alone), func(t *testing.T) {
			t.Parallel()
			c := start(t, RouteAuto)
			var buses atomic.Int32
			w := busWorker(t, c.s, "a", counted(&buses, say(1)))
			frozen(t, &w, "")
			c.d.Changed(beats(w))
			if !alone {
				c.d.Changed(beats(with(busWorker(t, c.s, "b", say(1)), messages.StatusReady, 1)))
			}
			began := time.Now()
			id, err := c.ask(deadline(t))
			switch took := time.Since(began); {
			case took >= patience || buses.Load() != 0:
				t.Errorf("after %v; asked %d times on the bus", took, buses.Load())
			case alone:
				wantCode(t, err, messages.CodeStalled)
			case id != "b" || !errors.Is(err, io.EOF) || c.Retries.Load() != 1:
				t.Errorf("%q answers, %v", id, err)
			}
			c.wantTold(t, "suspect a")
		})
	}
}

// TestSilentButWell: it says nothing for long, and its port does answer.
func TestSilentButWell(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		stream        bool
		before, after time.Duration
		status        int
	}{
		"whole answer":              {false, silence, 0, 200},
		"whole answer, it is busy":  {false, silence, 0, 503},
		"before the first token":    {true, silence, 0, 200},
		"after the first token":     {true, 0, silence, 200},
		"half before and half then": {true, silence / 2, silence / 2, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := ports(t)
			var healths atomic.Int32
			w := worker("a")
			slow(t, &w, tc.before, tc.after, func(out http.ResponseWriter, _ *http.Request) {
				healths.Add(1)
				out.WriteHeader(tc.status)
			})
			c.d.Changed(beats(w))
			a, err := c.Infer(deadline(t), request(tc.stream))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := readAnswer(deadline(t), a); n != 1 || !errors.Is(err, io.EOF) || healths.Load() < 2 || c.fails(w) != 0 {
				t.Errorf("%d tokens, %v, asked %d times", n, err, healths.Load())
			}
			c.wantTold(t)
		})
	}
}

// TestSilentOnTheBusButWell: a prefill takes its time, and the sender says that it lives.
func TestSilentOnTheBusButWell(t *testing.T) {
	t.Parallel()
	c := start(t, RouteBus)
	c.bus(t, "a", func(ctx context.Context, _ *messages.InferRequest, say func(string)) error {
		select {
		case <-time.After(silence):
		case <-ctx.Done():
		}
		say("{}")
		return nil
	})
	if id, err := c.ask(deadline(t)); id != "a" || !errors.Is(err, io.EOF) {
		t.Errorf("%q answers, %v", id, err)
	}
	c.wantTold(t)
}

// TestPortClosedButWell: who drains has closed his port, and finishes what he has.
func TestPortClosedButWell(t *testing.T) {
	t.Parallel()
	c := ports(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := ln.Accept()
		if ln.Close(); err != nil {
			return
		}
		defer conn.Close()
		<-time.After(askAfter + askFor + time.Second)
		hear(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", nil)
	})
	t.Cleanup(wg.Wait)
	w := worker("a")
	listens(&w, ln.Addr())
	c.d.Changed(beats(w))
	a, err := c.Infer(deadline(t), request(false))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := readAnswer(deadline(t), a); n != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v", n, err)
	}
	c.wantTold(t)
}

// TestManyAskOnce: all requests at one worker share one question.
func TestManyAskOnce(t *testing.T) {
	t.Parallel()
	c := ports(t)
	w := slots(worker("a"), 32)
	healths := frozen(t, &w, "")
	c.d.Changed(beats(w))
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			_, err := c.Infer(deadline(t), request(true))
			wantCode(t, err, messages.CodeStalled)
		})
	}
	if wg.Wait(); healths.Load() != 1 {
		t.Errorf("asked %d times", healths.Load())
	}
}

// TestNoQuestionAfterTheEnd: a request that ends while its worker is being asked asks no more.
func TestNoQuestionAfterTheEnd(t *testing.T) {
	t.Parallel()
	c := ports(t)
	asked, answer := make(chan struct{}, 16), make(chan struct{})
	w := worker("a")
	slow(t, &w, askAfter+askFor/3, 0, func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-answer
	})
	c.d.Changed(beats(w))
	if _, err := c.ask(deadline(t)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	<-asked
	close(answer)
	select {
	case <-asked:
		t.Error("it asks, and will for as long as the worker lives")
	case <-time.After(askAfter + time.Second):
	}
}

package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

const (
	inferSubject = "rbee.worker.w1.i1.infer"
	ctlSubject   = "rbee.worker.w1.i1.ctl.r1"
)

// streamer answers requests as a worker does: answer runs for each one.
func streamer(t *testing.T, c *bus.Conn, answer func(ctx context.Context, s *bus.Sender) error) {
	t.Helper()
	var ctls bus.Controls
	stopCtl, err := c.Subscribe("rbee.worker.w1.i1.ctl.>", func(m bus.Msg) { ctls.Deliver(messages.SubjectToken(m.Subject, 5), m) })
	if err != nil {
		t.Fatal(err)
	}
	stop, err := c.Subscribe(inferSubject, func(m bus.Msg) {
		go func() {
			ctx, done, err := ctls.Add(context.Background(), "r1")
			if err != nil {
				return
			}
			defer done()
			s := c.NewSender(m.Reply, ctlSubject)
			if err := answer(ctx, s); err != nil {
				s.Fail(err)
			} else {
				s.End(messages.Usage{PromptTokens: 3, CompletionTokens: 4})
			}
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); stopCtl() })
	if err := c.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, q *bus.Conn) *bus.Reader {
	t.Helper()
	r, err := q.OpenStream(inferSubject, messages.ReplySubject(string(q.Caller), "w1", messages.NewID("n")), ctlSubject, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func readAll(ctx context.Context, r *bus.Reader) (n int, err error) {
	for {
		o, err := r.Next(ctx)
		if err != nil {
			return n, err
		}
		if want := fmt.Sprintf(`{"n":%d}`, n); string(o) != want {
			return n, fmt.Errorf("object %d is %s", n, o)
		}
		n++
	}
}

func TestStreamArrivesWholeAndInOrder(t *testing.T) {
	s := bustest.Start(t)
	w, q := s.Connect(t, bus.RoleWorker, "w1"), s.Connect(t, bus.RoleQueen, "q")
	const objects = 5000
	streamer(t, w, func(_ context.Context, s *bus.Sender) error {
		for i := range objects {
			if err := s.Data(fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
				return err
			}
		}
		return nil
	})
	r := open(t, q)
	n, err := readAll(deadline(t), r)
	if n != objects || !errors.Is(err, io.EOF) {
		t.Errorf("%d of %d objects, then %v", n, objects, err)
	}
	if got := r.Usage(); got != (messages.Usage{PromptTokens: 3, CompletionTokens: 4}) {
		t.Errorf("usage %+v", got)
	}
}

func TestStreamEndsWithTheSendersError(t *testing.T) {
	s := bustest.Start(t)
	w, q := s.Connect(t, bus.RoleWorker, "w1"), s.Connect(t, bus.RoleQueen, "q")
	streamer(t, w, func(_ context.Context, s *bus.Sender) error {
		_ = s.Data([]byte(`{"n":0}`))
		return messages.Errorf(messages.CodeBusy, "infer", "no free slot").WithHint("wait")
	})
	n, err := readAll(deadline(t), open(t, q))
	if n != 1 || messages.CodeOf(err) != messages.CodeBusy {
		t.Errorf("%d objects, then %v", n, err)
	}
}

func TestStreamToNobodyFailsAtOnce(t *testing.T) {
	s := bustest.Start(t)
	q := s.Connect(t, bus.RoleQueen, "q")
	if _, err := readAll(deadline(t), open(t, q)); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

// endless sends until its context ends, and says why it did.
func endless(stopped chan<- error) func(context.Context, *bus.Sender) error {
	return func(ctx context.Context, s *bus.Sender) error {
		for i := 0; ctx.Err() == nil; i++ {
			if err := s.Data([]byte(`{"n":0}`)); err != nil {
				break
			}
		}
		stopped <- context.Cause(ctx)
		return context.Cause(ctx)
	}
}

func TestReaderThatLeavesStopsTheSender(t *testing.T) {
	for name, leave := range map[string]func(ctx context.Context, r *bus.Reader, q *bus.Conn, cancel func()){
		"closes":           func(_ context.Context, r *bus.Reader, _ *bus.Conn, _ func()) { r.Close() },
		"context ends":     func(ctx context.Context, r *bus.Reader, _ *bus.Conn, cancel func()) { cancel(); _, _ = r.Next(ctx) },
		"connection drops": func(_ context.Context, _ *bus.Reader, q *bus.Conn, _ func()) { q.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := bustest.Start(t)
			w, q := s.Connect(t, bus.RoleWorker, "w1"), s.ConnectLoose(t, bus.RoleQueen, "q")
			stopped := make(chan error, 1)
			streamer(t, w, endless(stopped))
			r := open(t, q)
			ctx, cancel := context.WithCancel(deadline(t))
			defer cancel()
			if _, err := r.Next(ctx); err != nil {
				t.Fatal(err)
			}
			leave(ctx, r, q, cancel)
			select {
			case why := <-stopped:
				if messages.CodeOf(why) != messages.CodeCancelled {
					t.Errorf("it stopped because of %v", why)
				}
			case <-deadline(t).Done():
				t.Fatal("the sender goes on")
			}
		})
	}
}

func TestSenderThatVanishesEndsTheStream(t *testing.T) {
	s := bustest.Start(t)
	w, q := s.ConnectLoose(t, bus.RoleWorker, "w1"), s.Connect(t, bus.RoleQueen, "q")
	hold := make(chan struct{})
	defer close(hold)
	streamer(t, w, func(_ context.Context, s *bus.Sender) error {
		_ = s.Data([]byte(`{"n":0}`))
		<-hold
		return nil
	})
	r := open(t, q)
	if _, err := r.Next(deadline(t)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Next(deadline(t)); messages.CodeOf(err) != messages.CodeStreamBroken {
		t.Errorf("got %v", err)
	}
}

// raw publishes frames of the test's choice as answers.
func raw(t *testing.T, w *bus.Conn, frames ...messages.Frame) {
	t.Helper()
	stop, err := w.Subscribe(inferSubject, func(m bus.Msg) {
		for _, f := range frames {
			_ = w.PublishRaw(m.Reply, ctlSubject, messages.AppendFrame(nil, f))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := w.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenStreamsAreNeverSilent(t *testing.T) {
	data := func(seq uint64) messages.Frame {
		return messages.Frame{Kind: messages.FrameData, Seq: seq, Payload: messages.AppendObject(nil, []byte(`{"n":0}`))}
	}
	end := func(seq uint64) messages.Frame {
		return messages.Frame{Kind: messages.FrameEnd, Seq: seq, Payload: messages.MustEncode(&messages.StreamEnd{Frames: seq})}
	}
	for name, frames := range map[string][]messages.Frame{
		"a frame is missing":    {data(1), data(3), end(3)},
		"the last is missing":   {data(1), end(2)},
		"a frame came twice":    {data(1), data(1), end(1)},
		"an object beyond its ": {{Kind: messages.FrameData, Seq: 1, Payload: []byte{200, 1, 'x'}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := bustest.Start(t)
			w, q := s.ConnectLoose(t, bus.RoleWorker, "w1"), s.Connect(t, bus.RoleQueen, "q")
			raw(t, w, frames...)
			r := open(t, q)
			var err error
			for err == nil {
				_, err = r.Next(deadline(t))
			}
			if errors.Is(err, io.EOF) {
				t.Error("it ended as if it were complete")
			}
		})
	}
}

func TestAnObjectTooLargeIsRefused(t *testing.T) {
	s := bustest.Start(t)
	w, q := s.Connect(t, bus.RoleWorker, "w1"), s.Connect(t, bus.RoleQueen, "q")
	streamer(t, w, func(_ context.Context, s *bus.Sender) error {
		return s.Data(bytes.Repeat([]byte("x"), messages.MaxPayload))
	})
	if _, err := readAll(deadline(t), open(t, q)); messages.CodeOf(err) != messages.CodeBadRequest {
		t.Errorf("got %v", err)
	}
}

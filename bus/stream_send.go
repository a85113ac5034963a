package bus

import (
	"context"
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// Times of a token stream.
const (
	keepAliveEvery = time.Second     // the sender says that it lives
	stalledAfter   = 4 * time.Second // the reader gives a silent sender up
)

// Sender answers one request with a stream of frames. Data may be called from one goroutine at a
// time; a goroutine of the Sender publishes, so that whatever is ready goes into one frame.
type Sender struct {
	conn       *Conn
	reply, ctl string

	mu      sync.Mutex
	batch   []byte // objects that wait, as a data frame's payload
	seq     uint64
	prefill messages.Prefill
	err     error
	wake    chan struct{}
	quit    chan struct{}
	done    chan struct{}
}

// NewSender starts a stream to reply. Every frame names ctl, a subject that the caller subscribes,
// as its own reply: when the reader is gone the server answers there with no responders.
func (c *Conn) NewSender(reply, ctl string) *Sender {
	s := &Sender{conn: c, reply: reply, ctl: ctl, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

// Data queues one OpenAI-shaped object. The error says that the bus is gone or the object too large.
func (s *Sender) Data(object []byte) error {
	const room = messages.MaxPayload - 64
	if len(object) > room {
		return messages.Errorf(messages.CodeBadRequest, "stream", "an answer of %d bytes does not fit a message of %d", len(object), messages.MaxPayload).
			WithHint("ask for it as a stream, or over HTTP")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.batch)+len(object) > room {
		s.flush()
	}
	s.batch = messages.AppendObject(s.batch, object)
	s.poke()
	return s.err
}

// Prefill is what the next keep-alives say.
func (s *Sender) Prefill(done, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prefill = messages.Prefill{Done: done, Total: total}
}

// End says that the answer is complete.
func (s *Sender) End(usage messages.Usage) {
	s.finish(func() messages.Frame {
		end := messages.MustEncode(&messages.StreamEnd{Frames: s.seq, Usage: usage})
		return messages.Frame{Kind: messages.FrameEnd, Seq: s.seq, Payload: end}
	})
}

// Fail says that the answer is over and not complete. What was queued is sent first.
func (s *Sender) Fail(err error) {
	s.finish(func() messages.Frame {
		return messages.Frame{Kind: messages.FrameError, Seq: s.seq, Payload: messages.MustEncode(messages.AsError(err, "infer"))}
	})
}

func (s *Sender) finish(last func() messages.Frame) {
	close(s.quit)
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	s.send(last())
}

func (s *Sender) run() {
	defer close(s.done)
	tick := time.NewTicker(keepAliveEvery)
	defer tick.Stop()
	s.keepAlive() // the reader learns at once that somebody works on it
	for {
		select {
		case <-s.quit:
			return
		case <-s.wake:
			s.mu.Lock()
			s.flush()
			s.mu.Unlock()
		case <-tick.C:
			s.keepAlive()
		}
	}
}

func (s *Sender) keepAlive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p []byte
	if s.prefill.Total > 0 {
		p = messages.MustEncode(&s.prefill)
	}
	s.send(messages.Frame{Kind: messages.FrameKeepAlive, Seq: s.seq, Payload: p})
}

func (s *Sender) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Sender) flush() {
	if len(s.batch) == 0 {
		return
	}
	s.seq++
	s.send(messages.Frame{Kind: messages.FrameData, Seq: s.seq, Payload: s.batch})
	s.batch = s.batch[:0]
}

func (s *Sender) send(f messages.Frame) {
	if err := s.conn.PublishRaw(s.reply, s.ctl, messages.AppendFrame(nil, f)); err != nil {
		s.err = err
	}
}

// Controls hands what readers send back, and the server's word that one is gone, to the request it
// is for. Its owner subscribes the control subjects and calls Deliver.
type Controls struct {
	mu      sync.Mutex
	cancels map[string]context.CancelCauseFunc
}

// Add makes ctx end when the reader of request id cancels or is gone. Two running requests of one id
// are refused with [messages.CodeConflict].
func (c *Controls) Add(ctx context.Context, id string) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancels == nil {
		c.cancels = map[string]context.CancelCauseFunc{}
	}
	if _, running := c.cancels[id]; running {
		cancel(nil)
		return nil, nil, messages.Errorf(messages.CodeConflict, "infer", "request %q already runs", id)
	}
	c.cancels[id] = cancel
	return ctx, func() {
		c.mu.Lock()
		delete(c.cancels, id)
		c.mu.Unlock()
		cancel(nil)
	}, nil
}

// Deliver takes a message on the control subject of request id. A ping, an empty message, needs
// nothing: that it arrived is the answer.
func (c *Controls) Deliver(id string, m Msg) {
	if !m.NoResponders && string(m.Data) != cancelWord {
		return
	}
	why := "the reader cancelled"
	if m.NoResponders {
		why = "the reader is gone"
	}
	c.Cancel(id, why)
}

// Cancel ends the context of request id; it says whether there was one.
func (c *Controls) Cancel(id, why string) bool {
	c.mu.Lock()
	cancel, ok := c.cancels[id]
	c.mu.Unlock()
	if ok {
		cancel(messages.Errorf(messages.CodeCancelled, "infer", "%s", why))
	}
	return ok
}

const cancelWord = "cancel"

package bus

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rbee-project/rbee/messages"
)

// maxUnread is how many bytes of frames a reader holds before its stream is cancelled.
const maxUnread = 16 << 20

// pingAfter is the silence after which the reader asks whether the sender is still there. A wait that
// ends lateWait late means that this process was stopped: then the silence is its own.
const (
	pingAfter = 2 * keepAliveEvery
	lateWait  = time.Second
)

// Reader reads the stream that answers one request. One goroutine uses it.
type Reader struct {
	conn  *Conn
	sub   *nats.Subscription
	reply string
	ctl   string

	want    uint64 // number of the next data frame
	objects [][]byte
	usage   messages.Usage
	over    error // what Next answers from now on
	heard   time.Time
	pinged  bool
	// OnPrefill, if set, is told what the keep-alives say.
	OnPrefill func(messages.Prefill)
}

// OpenStream sends data to subject and reads the answer on reply, a subject of its own that begins
// with the connection's inbox or [messages.ReplySubject]. ctl is where the sender listens, if it is
// known before its first frame. Close it.
func (c *Conn) OpenStream(subject, reply, ctl string, data []byte) (*Reader, error) {
	sub, err := c.nc.SubscribeSync(reply)
	if err != nil {
		return nil, messages.Errorf(messages.CodeUnavailable, "stream", "subscribe: %w", err)
	}
	r := &Reader{conn: c, sub: sub, reply: reply, ctl: ctl, want: 1, heard: time.Now()}
	if err = sub.SetPendingLimits(-1, maxUnread); err == nil {
		err = c.PublishRaw(subject, reply, data)
	}
	if err != nil {
		_ = sub.Unsubscribe()
		return nil, messages.AsError(err, "stream")
	}
	return r, nil
}

// NewInbox is a subject under the connection's own inbox prefix.
func (c *Conn) NewInbox() string { return c.nc.NewInbox() }

// Next is the next object. At the end of a complete answer it is io.EOF. Other errors are the
// sender's own, [messages.CodeUnavailable] when nobody took the request, and
// [messages.CodeStreamBroken] for a gap or a sender that vanished, [messages.CodeStalled] for one that
// fell silent for 4 s.
func (r *Reader) Next(ctx context.Context) ([]byte, error) {
	for r.over == nil && (len(r.objects) == 0 || ctx.Err() != nil) {
		m, err := r.receive(ctx)
		switch {
		case ctx.Err() != nil:
			r.cancel()
			r.objects, r.over = nil, context.Cause(ctx)
		case err != nil:
			r.cancel()
			r.over = err
		case m != nil:
			r.take(m)
		}
	}
	if len(r.objects) > 0 {
		o := r.objects[0]
		r.objects = r.objects[1:]
		return o, nil
	}
	return nil, r.over
}

// Usage is what the sender counted; it is there once Next has returned io.EOF.
func (r *Reader) Usage() messages.Usage { return r.usage }

// Close cancels what is not complete and frees the subscription.
func (r *Reader) Close() {
	if r.over == nil {
		r.cancel()
		r.over = messages.Errorf(messages.CodeCancelled, "stream", "closed")
	}
	_ = r.sub.Unsubscribe()
}

// receive waits for a message. It returns nil, nil when it is time to look at the clock again.
func (r *Reader) receive(ctx context.Context) (*nats.Msg, error) {
	until := r.heard.Add(pingAfter)
	if r.pinged || r.ctl == "" {
		until = r.heard.Add(stalledAfter)
	}
	wait, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	m, err := r.sub.NextMsgWithContext(wait)
	now := time.Now()
	switch {
	case err == nil:
		r.heard, r.pinged = now, false
		return m, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nil, r.gone()
	case errors.Is(err, nats.ErrSlowConsumer):
		return nil, messages.Errorf(messages.CodeSlowConsumer, "stream", "the reader fell more than %d bytes behind", maxUnread)
	case !errors.Is(err, context.DeadlineExceeded):
		return nil, messages.Errorf(messages.CodeStreamBroken, "stream", "%w", err)
	case now.Sub(until) > lateWait:
		r.heard, r.pinged = now, false
	case now.Sub(r.heard) >= stalledAfter:
		return nil, messages.Errorf(messages.CodeStalled, "stream", "nothing from the sender for %s", now.Sub(r.heard).Round(time.Second))
	case !r.pinged:
		r.pinged = true // an answer of no responders comes to our reply
		_ = r.conn.PublishRaw(r.ctl, r.reply, nil)
	}
	return nil, nil
}

// ErrNobody is the cause of errors that say that nobody listens where we published: it is the server's
// word, not the other side's.
var ErrNobody = errors.New("no responders")

// gone is the server's word that nobody listens where we published: the request or a ping.
func (r *Reader) gone() error {
	e := messages.Errorf(messages.CodeUnavailable, "stream", "nobody takes the request")
	if r.want > 1 {
		e = messages.Errorf(messages.CodeStreamBroken, "stream", "the sender is gone")
	}
	e.Err = ErrNobody
	return e
}

func (r *Reader) take(m *nats.Msg) {
	if err := answerError(m); err != nil {
		r.over = err
		return
	}
	f, err := messages.DecodeFrame(m.Data)
	if err != nil {
		r.broken(err)
		return
	}
	if r.ctl == "" {
		r.ctl = m.Reply
	}
	switch f.Kind {
	case messages.FrameData:
		r.data(f)
	case messages.FrameKeepAlive:
		var p messages.Prefill
		if r.OnPrefill != nil && len(f.Payload) > 0 && messages.Decode(f.Payload, &p) == nil {
			r.OnPrefill(p)
		}
	case messages.FrameEnd:
		var end messages.StreamEnd
		if err := messages.Decode(f.Payload, &end); err != nil || f.Seq != r.want-1 {
			r.broken(messages.Errorf(messages.CodeStreamBroken, "stream", "ended after frame %d, %d arrived", f.Seq, r.want-1))
			return
		}
		r.usage, r.over = end.Usage, io.EOF
	case messages.FrameError:
		e := &messages.Error{}
		if messages.Decode(f.Payload, e) != nil || e.Code == "" {
			e = messages.Errorf(messages.CodeInternal, "stream", "the sender failed and did not say why")
		}
		r.over = e
	}
}

func (r *Reader) data(f messages.Frame) {
	if f.Seq != r.want {
		r.broken(messages.Errorf(messages.CodeStreamBroken, "stream", "gap: frame %d came, %d was due", f.Seq, r.want))
		return
	}
	r.want++
	if err := messages.Objects(f.Payload, func(o []byte) error { r.objects = append(r.objects, o); return nil }); err != nil {
		r.broken(err)
	}
}

func (r *Reader) broken(err error) {
	r.cancel()
	r.over = err
}

func (r *Reader) cancel() {
	if r.ctl != "" {
		_ = r.conn.PublishRaw(r.ctl, "", []byte(cancelWord))
	}
}

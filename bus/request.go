package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rbee-project/rbee/messages"
)

// RequestTimeout bounds a request whose context has no deadline.
const RequestTimeout = 10 * time.Second

// Publish sends v, a pointer to a payload, as msgpack and forgets it. While the connection is down
// the error is [messages.CodeUnavailable].
func (c *Conn) Publish(subject string, v any) error {
	return c.publish(messages.Msgpack, subject, v)
}

// PublishJSON is Publish for what people read: events.
func (c *Conn) PublishJSON(subject string, v any) error { return c.publish(messages.JSON, subject, v) }

func (c *Conn) publish(f messages.Format, subject string, v any) error {
	data, err := messages.Encode(f, v)
	if err != nil {
		return err
	}
	return c.PublishRaw(subject, "", data)
}

// PublishRaw sends data; reply may be empty.
func (c *Conn) PublishRaw(subject, reply string, data []byte) error {
	if !c.up.Load() {
		return messages.Errorf(messages.CodeUnavailable, "publish", "the bus is not reachable")
	}
	err := c.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: data})
	if err != nil {
		return messages.Errorf(messages.CodeUnavailable, "publish", "the bus is not reachable: %w", err)
	}
	return nil
}

// Request sends req and reads the answer into reply, both pointers to payloads; reply may be nil.
// Errors are the other side's own, [messages.CodeUnavailable] when nobody listens,
// [messages.CodeDenied] when the server refuses, [messages.CodeTimeout] at ctx's deadline.
func (c *Conn) Request(ctx context.Context, subject string, req, reply any) error {
	data, err := messages.Encode(messages.Msgpack, req)
	if err != nil {
		return err
	}
	answer, err := c.RequestRaw(ctx, subject, data)
	if err != nil || reply == nil {
		return err
	}
	return messages.Decode(answer, reply)
}

// RequestRaw is Request on bytes.
func (c *Conn) RequestRaw(ctx context.Context, subject string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLeft(ctx))
	defer cancel()
	denied, stop := c.watchDenied(subject)
	defer stop()
	refused := false
	go func() {
		select {
		case <-denied:
			cancel()
		case <-ctx.Done():
		}
	}()
	m, err := c.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Data: data})
	select {
	case <-denied:
		refused = true
	default:
	}
	switch {
	case refused:
		return nil, messages.Errorf(messages.CodeDenied, "request", "%s may not publish to %s", c.Caller, subject)
	case errors.Is(err, nats.ErrNoResponders):
		return nil, messages.Errorf(messages.CodeUnavailable, "request", "nobody answers on %s", subject)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil, messages.Errorf(messages.CodeTimeout, "request", "no answer on %s in time", subject)
	case errors.Is(err, context.Canceled):
		return nil, messages.Errorf(messages.CodeCancelled, "request", "cancelled")
	case err != nil:
		return nil, messages.Errorf(messages.CodeUnavailable, "request", "%s: %w", subject, err)
	}
	return m.Data, answerError(m)
}

// RequestAt is Request with a reply subject of its own, for those who may answer only there: a worker
// on [messages.ReplySubject].
func (c *Conn) RequestAt(ctx context.Context, subject, reply string, req, answer any) error {
	data, err := messages.Encode(messages.Msgpack, req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeLeft(ctx))
	defer cancel()
	sub, err := c.nc.SubscribeSync(reply)
	if err != nil {
		return messages.Errorf(messages.CodeUnavailable, "request", "subscribe: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.PublishRaw(subject, reply, data); err != nil {
		return err
	}
	m, err := sub.NextMsgWithContext(ctx)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return messages.Errorf(messages.CodeUnavailable, "request", "nobody answers on %s: %w", subject, ErrNobody)
	case errors.Is(err, context.DeadlineExceeded):
		return messages.Errorf(messages.CodeTimeout, "request", "no answer on %s in time", subject)
	case err != nil:
		return messages.Errorf(messages.CodeUnavailable, "request", "%s: %w", subject, err)
	}
	if err := answerError(m); err != nil || answer == nil {
		return err
	}
	return messages.Decode(m.Data, answer)
}

func timeLeft(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return time.Until(d)
	}
	return RequestTimeout
}

// answerError reads the error of a micro service: a header that names it, the body that is it.
func answerError(m *nats.Msg) error {
	if m.Header.Get(micro.ErrorCodeHeader) == "" {
		return nil
	}
	e := &messages.Error{}
	if messages.Decode(m.Data, e) != nil || e.Code == "" {
		e = messages.Errorf(messages.CodeInternal, "request", "%s", m.Header.Get(micro.ErrorHeader))
	}
	return e
}

// Msg is a message that came in.
type Msg struct {
	Subject, Reply string
	Data           []byte
	// NoResponders is the server's word that nobody listened to something we published with this
	// subject as its reply.
	NoResponders bool
}

// Subscribe calls fn with each message on subject, one after another. Messages that carry no reply
// where none belongs are fn's to check. The returned function ends it.
func (c *Conn) Subscribe(subject string, fn func(Msg)) (stop func(), err error) {
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		fn(Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data, NoResponders: m.Header.Get("Status") == "503"})
	})
	if err != nil {
		return nil, messages.Errorf(messages.CodeUnavailable, "subscribe", "%s: %w", subject, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

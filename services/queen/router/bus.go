package router

import (
	"context"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// Bus is the route over NATS.
type Bus struct{ Conn *bus.Conn }

// Name is "bus".
func (Bus) Name() string { return "bus" }

// Open sends req to the worker. A request larger than a message is refused.
func (b Bus) Open(_ context.Context, w *messages.WorkerInfo, req *messages.InferRequest) (Stream, error) {
	data, err := messages.Encode(messages.Msgpack, req)
	if err != nil {
		return nil, err
	}
	if len(data) > messages.MaxPayload {
		return nil, messages.Errorf(messages.CodeBadRequest, messages.OpInfer, "a request of %d bytes does not fit a message of %d", len(data), messages.MaxPayload).
			WithHint("it can go to a worker whose HTTP port is reachable: --route auto")
	}
	ctl := messages.WorkerSubject(w.ID, w.Incarnation, messages.OpCtl+"."+req.ID)
	reply := messages.ReplySubject(string(b.Conn.Caller), w.ID, messages.NewID(""))
	r, err := b.Conn.OpenStream(messages.WorkerSubject(w.ID, w.Incarnation, messages.OpInfer), reply, ctl, data)
	if err != nil {
		return nil, err
	}
	return r, nil
}

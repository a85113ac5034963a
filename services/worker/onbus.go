package worker

import (
	"context"
	"strings"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// listen takes the worker's subjects: one plain subscription of this incarnation. A dead one has no
// subscription, so that the server answers for it at once.
func (w *Worker) listen(ctx context.Context) (leave func(), err error) {
	var ctls bus.Controls
	prefix := messages.WorkerSubject(w.cfg.ID, w.incarnation, "")
	stop, err := w.bulk.Subscribe(prefix+">", func(m bus.Msg) {
		op := strings.TrimPrefix(m.Subject, prefix)
		request, isCtl := strings.CutPrefix(op, messages.OpCtl+".")
		switch {
		case isCtl:
			ctls.Deliver(request, m)
		case op == messages.OpInfer:
			go w.inferOnBus(ctx, &ctls, m)
		case op == messages.OpInfo && w.mayAnswer(m.Reply):
			info := w.Info()
			if data, err := messages.Encode(messages.FormatOf(m.Data), &info); err == nil {
				_ = w.bulk.PublishRaw(m.Reply, "", data)
			}
		case op == messages.OpDrain:
			w.setStatus(messages.StatusDraining)
		case op == messages.OpWorkerStop:
			w.Stop()
		}
	})
	if err != nil {
		return nil, err
	}
	return stop, w.bulk.Flush(ctx)
}

// mayAnswer holds answers to the one grant the worker has.
func (w *Worker) mayAnswer(reply string) bool {
	return messages.SubjectToken(reply, 1) == "reply" && messages.SubjectToken(reply, 3) == string(w.cfg.ID)
}

func (w *Worker) inferOnBus(ctx context.Context, ctls *bus.Controls, m bus.Msg) {
	if !w.mayAnswer(m.Reply) {
		w.log.Warn("request refused: its reply subject is not ours", "reply", m.Reply)
		return
	}
	var req messages.InferRequest
	err := messages.Decode(m.Data, &req)
	if err == nil {
		err = req.Check()
	}
	s := w.bulk.NewSender(m.Reply, messages.WorkerSubject(w.cfg.ID, w.incarnation, messages.OpCtl+"."+req.ID))
	if err != nil {
		s.Fail(err)
		return
	}
	ctx, done, err := ctls.Add(ctx, req.ID)
	if err != nil {
		s.Fail(err)
		return
	}
	defer done()
	usage, err := w.Infer(ctx, &req, s.Prefill, s.Data)
	if err != nil {
		s.Fail(err)
		return
	}
	s.End(usage)
}

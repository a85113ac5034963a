package worker

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// listen takes the worker's subjects: one plain subscription of this incarnation. A dead one has no
// subscription, so that the server answers for it at once. leave ends it and returns when what was
// answered on the bus has left, the last frames too; ctx must have ended, or requests run on.
func (w *Worker) listen(ctx context.Context) (leave func(), err error) {
	var ctls bus.Controls
	var calls calls
	prefix := messages.WorkerSubject(w.cfg.ID, w.incarnation, "")
	stop, err := w.bulk.Subscribe(prefix+">", func(m bus.Msg) {
		op := strings.TrimPrefix(m.Subject, prefix)
		request, isCtl := strings.CutPrefix(op, messages.OpCtl+".")
		switch {
		case isCtl:
			ctls.Deliver(request, m)
		case op == messages.OpInfer:
			calls.begin(func() { w.inferOnBus(ctx, &ctls, m) })
		default:
			w.command(op, m)
		}
	})
	if err != nil {
		return nil, err
	}
	leave = func() {
		stop()
		calls.end()
		w.flushBulk(context.WithoutCancel(ctx))
	}
	if w.bulk.Connected() { // else the subscription is made when the server comes
		if err := w.bulk.Flush(ctx); err != nil && w.bulk.Connected() {
			leave()
			return nil, err
		}
	}
	return leave, nil
}

// command does what is done at once, and answers with what the worker is then.
func (w *Worker) command(op string, m bus.Msg) {
	switch op {
	case messages.OpInfo:
	case messages.OpDrain:
		w.Drain()
	case messages.OpUndrain:
		w.Undrain()
	case messages.OpWorkerStop:
		w.Stop()
	default:
		return
	}
	if !w.mayAnswer(m.Reply) {
		return
	}
	info := w.Info()
	if data, err := messages.Encode(messages.FormatOf(m.Data), &info); err == nil {
		_ = w.bulk.PublishRaw(m.Reply, "", data)
	}
}

// calls are goroutines that work on requests. After end none begins.
type calls struct {
	mu    sync.Mutex
	ended bool
	wg    sync.WaitGroup
}

func (c *calls) begin(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.wg.Go(fn)
	}
}

func (c *calls) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.wg.Wait()
}

func (w *Worker) flushBulk(ctx context.Context) {
	if w.bulk.Connected() {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = w.bulk.Flush(ctx)
	}
}

// mayAnswer holds answers to the one grant the worker has: rbee.reply.<requester>.<worker>.<nonce>.
func (w *Worker) mayAnswer(reply string) bool {
	t := strings.Split(reply, ".")
	return len(t) >= 5 && t[0] == "rbee" && t[1] == "reply" && t[3] == string(w.cfg.ID) &&
		!slices.Contains(t, "") && !strings.ContainsAny(reply, "*>")
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
	done := func() {}
	if err == nil {
		ctx, done, err = ctls.Add(ctx, req.ID)
	}
	if err != nil {
		// Not under the id it names: that may be no token, or another request that runs.
		w.sender(m, messages.NewID("refused-")).Fail(err)
		return
	}
	defer done()
	s := w.sender(m, req.ID)
	usage, err := w.Infer(ctx, &req, s.Prefill, s.Data)
	if err != nil {
		s.Fail(err)
		return
	}
	s.End(usage)
}

func (w *Worker) sender(m bus.Msg, id string) *bus.Sender {
	return w.bulk.NewSender(m.Reply, messages.WorkerSubject(w.cfg.ID, w.incarnation, messages.OpCtl+"."+id))
}

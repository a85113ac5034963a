package queen

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// relay knows the answers that go to NATS clients.
type relay struct{ ctls bus.Controls }

// key is unique among callers: two may use the same request id.
func key(caller messages.Caller, id string) string { return string(caller) + "." + id }

// control takes what a reader sends back on rbee.do.<caller>.infer.ctl.<id>.
func (r *relay) control(m bus.Msg) {
	r.ctls.Deliver(key(messages.Caller(messages.SubjectToken(m.Subject, 2)), messages.SubjectToken(m.Subject, 5)), m)
}

// doInfer answers a NATS client with the frames of a worker's answer, as HTTP does with events.
func (q *Queen) doInfer(ctx context.Context, call *bus.Call) (any, error) {
	var req messages.InferRequest
	if err := call.Decode(&req); err != nil {
		return nil, err
	}
	if err := req.Check(); err != nil {
		return nil, err
	}
	ctx, done, err := q.relay.ctls.Add(ctx, key(call.Caller, req.ID))
	if err != nil {
		return nil, err
	}
	defer done()
	s := q.conn.NewSender(call.Reply, messages.DoSubject(call.Caller, messages.OpInferCtl)+"."+req.ID)
	usage, err := q.pass(ctx, &req, s)
	q.metrics.Request("bus", req.Task, err)
	if err != nil {
		s.Fail(err)
	} else {
		s.End(usage)
	}
	return bus.Streamed, nil
}

func (q *Queen) pass(ctx context.Context, req *messages.InferRequest, s *bus.Sender) (messages.Usage, error) {
	a, err := named{q}.Infer(ctx, req)
	if err != nil {
		return messages.Usage{}, err
	}
	defer a.Close()
	for {
		o, err := a.Next(ctx)
		if errors.Is(err, io.EOF) {
			return a.Usage(), nil
		}
		if err == nil {
			err = s.Data(o)
		}
		if err != nil {
			return messages.Usage{}, err
		}
	}
}

// models is what can be asked for over HTTP: what workers serve and what hives have.
func (q *Queen) models() []string {
	seen := map[string]bool{}
	var out []string
	add := func(id string) {
		if id != "" && !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	for _, w := range q.registry.Workers() {
		for i := range w.Models {
			add(w.Models[i].ID)
		}
	}
	for _, h := range q.registry.Hives() {
		for _, m := range h.Models {
			add(m)
		}
	}
	return out
}

// counts is what /metrics shows of the queen now.
func (q *Queen) counts() map[string]float64 {
	running, waiting, broken := q.dispatcher.Counts()
	by := map[string]float64{}
	for _, w := range q.registry.Workers() {
		switch {
		case w.Suspect != "":
			by["suspect"]++
		default:
			by[string(w.Status)]++
		}
	}
	out := map[string]float64{
		"rbee_hives": float64(len(q.registry.Hives())), "rbee_jobs_open": float64(q.keeper.Open()), "rbee_breakers_open": float64(broken),
		"rbee_requests_running": float64(running), "rbee_requests_waiting": float64(waiting),
		"rbee_messages_dropped": float64(q.dropped.Load() + q.conn.Refused()), "rbee_uptime_seconds": time.Since(q.began).Seconds(),
	}
	total := 0.0
	for _, s := range []string{"starting", "ready", "busy", "draining", "suspect"} {
		out["rbee_workers_"+s] = by[s]
		total += by[s]
	}
	out["rbee_workers"] = total
	return out
}

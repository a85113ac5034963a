package queen

import (
	"context"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

const (
	defaultGrace = 30 * time.Second
	maxGrace     = 10 * time.Minute
	peersFor     = time.Second // for other queens to say that they cancelled something
)

func (q *Queen) doStop(ctx context.Context, _ *bus.Call, req *messages.StopRequest) (*messages.StopReply, error) {
	w, ok := q.registry.Worker(req.ID)
	if !ok {
		// It may be on its way, before its first beat: then its spawn is called off.
		if job, starting := q.spawns.jobOf(req.ID); starting && q.jobs.Cancel(job) {
			return &messages.StopReply{ID: req.ID}, nil
		}
		return nil, noWorker(req.ID)
	}
	grace := defaultGrace
	if req.GraceMillis > 0 {
		grace = min(time.Duration(min(req.GraceMillis, maxGrace.Milliseconds()))*time.Millisecond, maxGrace)
	}
	if err := q.stopWorker(ctx, &w.WorkerInfo, grace); err != nil {
		return nil, err
	}
	return &messages.StopReply{ID: w.ID, PID: w.PID}, nil
}

// stopWorker has the worker's hive signal its process, wait and kill.
func (q *Queen) stopWorker(ctx context.Context, w *messages.WorkerInfo, grace time.Duration) error {
	if w.Hive == "" { // started by hand: it is asked, nobody can kill it
		return q.askWorker(ctx, w.ID, w.Incarnation, messages.OpWorkerStop, nil)
	}
	q.log.Info("stopping worker", "worker", w.ID, "pid", w.PID)
	return q.kill(ctx, w.Hive, &messages.KillRequest{Worker: w.ID, PID: w.PID, StartTime: w.StartTime, GraceMillis: grace.Milliseconds()})
}

// toWorker has a living worker do op, and gives what it says of itself then.
func (q *Queen) toWorker(op string) func(context.Context, *bus.Call, *messages.WorkerRef) (*messages.WorkerInfo, error) {
	return func(ctx context.Context, _ *bus.Call, ref *messages.WorkerRef) (*messages.WorkerInfo, error) {
		w, ok := q.registry.Worker(ref.ID)
		if !ok {
			return nil, noWorker(ref.ID)
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		info := &messages.WorkerInfo{}
		if err := q.askWorker(ctx, w.ID, w.Incarnation, op, info); err != nil {
			return nil, err
		}
		return info, nil
	}
}

// doJobCancel ends a job wherever it runs.
func (q *Queen) doJobCancel(ctx context.Context, _ *bus.Call, ref *messages.JobRef) (*messages.Done, error) {
	if err := messages.CheckID("job id", string(ref.Job)); err != nil {
		return nil, err
	}
	if q.jobs.Cancel(ref.Job) {
		return &messages.Done{OK: true}, nil
	}
	job, ok := q.keeper.Get(ref.Job)
	switch {
	case ok && job.State.Terminal():
		return nil, messages.Errorf(messages.CodeConflict, messages.OpJobCancel, "job %s has ended already: %s", ref.Job, job.State)
	case ok && job.Executor.Role() == string(bus.RoleHive):
		done := &messages.Done{}
		err := q.conn.Request(ctx, messages.HiveSubject(messages.HiveID(job.Executor.Name()), messages.OpJobCancel), ref, done)
		return done, err
	case q.askPeers(ctx, &messages.PeerCancel{Job: ref.Job}):
		return &messages.Done{OK: true}, nil
	}
	return nil, messages.Errorf(messages.CodeNotFound, messages.OpJobCancel, "no job %q runs", ref.Job).WithHint("rbee job list")
}

func (q *Queen) doCancel(ctx context.Context, call *bus.Call, req *messages.CancelRequest) (*messages.Done, error) {
	ok := q.relay.ctls.Cancel(key(call.Caller, req.ID), cancelled) ||
		q.askPeers(ctx, &messages.PeerCancel{Caller: call.Caller, Request: req.ID})
	return &messages.Done{OK: ok}, nil
}

const cancelled = "cancelled by its caller"

// askPeers has the other queens cancel what is not ours: of several, any may have been asked.
func (q *Queen) askPeers(ctx context.Context, c *messages.PeerCancel) bool {
	ctx, cancel := context.WithTimeout(ctx, peersFor)
	defer cancel()
	c.From = q.id
	var done messages.Done
	return q.conn.RequestAt(ctx, messages.PeerCancelSubject, q.conn.NewInbox(), c, &done) == nil && done.OK
}

// hearPeerCancel answers only when there was something to cancel.
func (q *Queen) hearPeerCancel(m bus.Msg) {
	var c messages.PeerCancel
	if messages.Decode(m.Data, &c) != nil || c.From == q.id || !messages.ReplyAllowed(m.Reply) {
		return
	}
	if c.Job != "" && q.jobs.Cancel(c.Job) || c.Request != "" && q.relay.ctls.Cancel(key(c.Caller, c.Request), cancelled) {
		_ = q.conn.PublishRaw(m.Reply, "", messages.MustEncode(&messages.Done{OK: true}))
	}
}

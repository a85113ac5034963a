package queen

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

func (q *Queen) endpoints() []bus.Endpoint {
	read := func(name, op string, req, reply any, fn func(context.Context, *bus.Call) (any, error)) bus.Endpoint {
		return bus.Endpoint{Name: name, Subject: messages.QueenSubject(op), Queue: messages.QueenQueue, Request: req, Reply: reply, Handle: fn}
	}
	do := func(name, op string, req, reply any, fn func(context.Context, *bus.Call) (any, error)) bus.Endpoint {
		return bus.Endpoint{Name: name, Subject: messages.DoSubject("*", op), Queue: messages.QueenQueue, Request: req, Reply: reply, Handle: fn}
	}
	return []bus.Endpoint{
		read("status", messages.OpStatus, nil, messages.StatusReply{}, bus.Handle(q.status)),
		read("worker-list", messages.OpWorkerList, nil, messages.WorkerListReply{}, bus.Handle(q.workerList)),
		read("worker-get", messages.OpWorkerGet, messages.WorkerRef{}, messages.WorkerInfo{}, bus.Handle(q.workerGet)),
		read("hive-list", messages.OpHiveList, nil, messages.HiveListReply{}, bus.Handle(q.hiveList)),
		read("hive-get", messages.OpHiveGet, messages.HiveRef{}, messages.HiveInfo{}, bus.Handle(q.hiveGet)),
		read("model-list", messages.OpModelList, nil, messages.ModelListReply{}, bus.Handle(q.modelList)),
		read("job-events", messages.OpJobEvents, messages.JobRef{}, messages.JobEventsReply{}, bus.Handle(q.jobEvents)),
		do("worker-spawn", messages.OpSpawn, messages.SpawnRequest{}, messages.Accepted{}, bus.Handle(q.doSpawn)),
		do("model-ensure", messages.OpEnsure, messages.EnsureRequest{}, messages.Accepted{}, bus.Handle(q.doEnsure)),
		do("worker-stop", messages.OpStop, messages.StopRequest{}, messages.StopReply{}, bus.Handle(q.doStop)),
		do("worker-delete", messages.OpDelete, messages.StopRequest{}, messages.StopReply{}, bus.Handle(q.doStop)),
		do("worker-logs", messages.OpLogs, messages.LogsRequest{}, messages.LogsReply{}, bus.Handle(q.doLogs)),
		do("worker-sign", messages.OpSign, messages.SignRequest{}, messages.SignReply{}, bus.Handle(q.doSign)),
		do("worker-renew", messages.OpRenew, messages.SignRequest{}, messages.SignReply{}, bus.Handle(q.doRenew)),
		do("job-cancel", messages.OpJobCancel, messages.JobRef{}, messages.Done{}, bus.Handle(q.doJobCancel)),
		do("infer-cancel", messages.OpCancel, messages.CancelRequest{}, messages.Done{}, bus.Handle(q.doCancel)),
		do("infer", messages.OpInfer, messages.InferRequest{}, nil, q.doInfer),
	}
}

func (q *Queen) status(context.Context, *bus.Call, *messages.Versioned) (*messages.StatusReply, error) {
	running, waiting := q.dispatcher.Counts()
	r := &messages.StatusReply{Queen: q.cfg.Name, Version: q.cfg.Version, HTTP: q.HTTPAddr(), UptimeMs: time.Since(q.began).Milliseconds(),
		Hives: len(q.registry.Hives()), Workers: len(q.registry.Workers()), Running: running, Waiting: waiting,
		Health: "ok", Dropped: q.dropped.Load() + q.conn.Refused()}
	if err := q.health(); err != nil {
		r.Health = err.Error()
	}
	return r, nil
}

func (q *Queen) workerList(context.Context, *bus.Call, *messages.Versioned) (*messages.WorkerListReply, error) {
	r := &messages.WorkerListReply{Workers: []messages.WorkerInfo{}}
	for _, w := range q.registry.Workers() {
		r.Workers = append(r.Workers, w.WorkerInfo)
	}
	return r, nil
}

func (q *Queen) workerGet(_ context.Context, _ *bus.Call, ref *messages.WorkerRef) (*messages.WorkerInfo, error) {
	w, ok := q.registry.Worker(ref.ID)
	if !ok {
		return nil, noWorker(ref.ID)
	}
	return &w.WorkerInfo, nil
}

func noWorker(id messages.WorkerID) error {
	return messages.Errorf(messages.CodeNotFound, "worker", "no worker %q", id).WithHint("rbee worker list")
}

func (q *Queen) hiveList(context.Context, *bus.Call, *messages.Versioned) (*messages.HiveListReply, error) {
	return &messages.HiveListReply{Hives: q.registry.Hives()}, nil
}

func (q *Queen) hiveGet(_ context.Context, _ *bus.Call, ref *messages.HiveRef) (*messages.HiveInfo, error) {
	for _, h := range q.registry.Hives() {
		if h.ID == ref.ID {
			return &h, nil
		}
	}
	return nil, messages.Errorf(messages.CodeNotFound, "hive", "no hive %q", ref.ID).WithHint("rbee hive list")
}

// modelList asks every hive, 5 s at most; one that does not answer is left out.
func (q *Queen) modelList(ctx context.Context, _ *bus.Call, _ *messages.Versioned) (*messages.ModelListReply, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r := &messages.ModelListReply{Models: []messages.Model{}}
	for _, h := range q.registry.Hives() {
		var one messages.ModelListReply
		if err := q.conn.Request(ctx, messages.HiveSubject(h.ID, messages.OpModelList), &messages.Done{}, &one); err != nil {
			q.log.Warn("models of a hive", "hive", h.ID, "error", err)
			continue
		}
		for _, m := range one.Models {
			m.Hive = h.ID
			r.Models = append(r.Models, m)
		}
	}
	return r, nil
}

// jobEvents replays a job's history from the stream.
func (q *Queen) jobEvents(ctx context.Context, _ *bus.Call, ref *messages.JobRef) (*messages.JobEventsReply, error) {
	if err := messages.CheckID("job id", string(ref.Job)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := q.conn.JetStream().OrderedConsumer(ctx, messages.JobsStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"rbee.job.*." + string(ref.Job)}, DeliverPolicy: jetstream.DeliverAllPolicy, InactiveThreshold: 10 * time.Second})
	if err != nil {
		return nil, messages.Errorf(messages.CodeUnavailable, messages.OpJobEvents, "%w", err)
	}
	r := &messages.JobEventsReply{Events: []messages.JobEvent{}}
	batch, err := c.FetchNoWait(1000)
	if err != nil {
		return nil, messages.Errorf(messages.CodeUnavailable, messages.OpJobEvents, "%w", err)
	}
	for m := range batch.Messages() {
		var e messages.JobEvent
		if messages.Decode(m.Data(), &e) == nil {
			r.Events = append(r.Events, e)
		}
	}
	if err := batch.Error(); err != nil && !errors.Is(err, jetstream.ErrNoMessages) {
		return nil, messages.Errorf(messages.CodeUnavailable, messages.OpJobEvents, "%w", err)
	}
	return r, nil
}

func (q *Queen) doSpawn(_ context.Context, _ *bus.Call, req *messages.SpawnRequest) (*messages.Accepted, error) {
	if err := req.Check(); err != nil {
		return nil, err
	}
	return q.jobs.Start(req.Job, messages.OpSpawn, func(ctx context.Context, job *bus.Job) (any, error) {
		return q.spawn(ctx, job, *req)
	})
}

func (q *Queen) doEnsure(_ context.Context, _ *bus.Call, req *messages.EnsureRequest) (*messages.Accepted, error) {
	if err := req.Check(); err != nil {
		return nil, err
	}
	return q.jobs.Start(req.Job, messages.OpEnsure, func(ctx context.Context, job *bus.Job) (any, error) {
		return q.ensure(ctx, job, req.SpawnRequest)
	})
}

func (q *Queen) doJobCancel(_ context.Context, _ *bus.Call, ref *messages.JobRef) (*messages.Done, error) {
	return &messages.Done{OK: q.jobs.Cancel(ref.Job)}, nil
}

func (q *Queen) doStop(ctx context.Context, _ *bus.Call, req *messages.StopRequest) (*messages.StopReply, error) {
	w, ok := q.registry.Worker(req.ID)
	if !ok {
		// It may be on its way, before its first beat: then its spawn is called off.
		if job, starting := q.spawns.jobOf(req.ID); starting && q.jobs.Cancel(job) {
			return &messages.StopReply{ID: req.ID}, nil
		}
		return nil, noWorker(req.ID)
	}
	grace := 30 * time.Second
	if req.GraceMillis > 0 {
		grace = time.Duration(min(req.GraceMillis, 600_000)) * time.Millisecond
	}
	if err := q.stopWorker(ctx, &w.WorkerInfo, grace); err != nil {
		return nil, err
	}
	return &messages.StopReply{ID: w.ID, PID: w.PID}, nil
}

// doLogs asks the worker's hive; of a worker that is gone, every hive.
func (q *Queen) doLogs(ctx context.Context, _ *bus.Call, req *messages.LogsRequest) (*messages.LogsReply, error) {
	if err := messages.CheckID("worker id", string(req.ID)); err != nil {
		return nil, err
	}
	var hives []messages.HiveID
	if w, ok := q.registry.Worker(req.ID); ok && w.Hive != "" {
		hives = append(hives, w.Hive)
	} else {
		for _, h := range q.registry.Hives() {
			hives = append(hives, h.ID)
		}
	}
	for _, h := range hives {
		var r messages.LogsReply
		err := q.conn.Request(ctx, messages.HiveSubject(h, messages.OpLogs), req, &r)
		if err == nil || messages.CodeOf(err) != messages.CodeNotFound {
			return &r, err
		}
	}
	return nil, noWorker(req.ID)
}

// doSign signs a worker's key for the hive that was told to spawn it.
func (q *Queen) doSign(_ context.Context, call *bus.Call, req *messages.SignRequest) (*messages.SignReply, error) {
	if call.Caller.Role() != string(bus.RoleHive) || !q.spawns.maySign(req.Worker, call.Caller.Name()) {
		return nil, messages.Errorf(messages.CodeDenied, messages.OpSign, "%s was not told to spawn worker %q", call.Caller, req.Worker)
	}
	return q.sign(req)
}

// doRenew signs a worker's key again for the worker itself.
func (q *Queen) doRenew(_ context.Context, call *bus.Call, req *messages.SignRequest) (*messages.SignReply, error) {
	if call.Caller != bus.RoleWorker.Caller(string(req.Worker)) {
		return nil, messages.Errorf(messages.CodeDenied, messages.OpRenew, "%s is not worker %q", call.Caller, req.Worker)
	}
	return q.sign(req)
}

func (q *Queen) sign(req *messages.SignRequest) (*messages.SignReply, error) {
	token, expires, err := q.realm.Mint(bus.RoleWorker, string(req.Worker), req.PublicKey, bus.WorkerTTL)
	if err != nil {
		return nil, err
	}
	return &messages.SignReply{JWT: token, ExpiresAt: expires}, nil
}

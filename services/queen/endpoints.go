package queen

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/gateway"
	"github.com/rbee-project/rbee/services/queen/registry"
)

// handlers is what the queen does for each of its operations in [messages.Operations].
func (q *Queen) handlers() map[string]func(context.Context, *bus.Call) (any, error) {
	return map[string]func(context.Context, *bus.Call) (any, error){
		messages.OpStatus:     bus.Handle(q.status),
		messages.OpWorkerList: bus.Handle(q.workerList),
		messages.OpWorkerGet:  bus.Handle(q.workerGet),
		messages.OpHiveList:   bus.Handle(q.hiveList),
		messages.OpHiveGet:    bus.Handle(q.hiveGet),
		messages.OpModelList:  bus.Handle(q.modelList),
		messages.OpModelGet:   bus.Handle(q.modelGet),
		messages.OpJobList:    bus.Handle(q.jobList),
		messages.OpJobGet:     bus.Handle(q.jobGet),
		messages.OpJobEvents:  bus.Handle(q.jobEvents),
		messages.OpEventList:  bus.Handle(q.eventList),
		messages.OpSpawn:      bus.Handle(q.doSpawn),
		messages.OpEnsure:     bus.Handle(q.doEnsure),
		messages.OpStop:       bus.Handle(q.doStop),
		messages.OpDelete:     bus.Handle(q.doStop),
		messages.OpDrainAt:    bus.Handle(q.toWorker(messages.OpDrain)),
		messages.OpUndrainAt:  bus.Handle(q.toWorker(messages.OpUndrain)),
		messages.OpModelPull:  bus.Handle(q.doPull),
		messages.OpModelRm:    bus.Handle(q.doRemove),
		messages.OpModelCheck: bus.Handle(q.doVerify),
		messages.OpModelGC:    bus.Handle(q.doGC),
		messages.OpModelFind:  bus.Handle(q.doImport),
		messages.OpModelPlan:  bus.Handle(q.doPlan),
		messages.OpLocate:     bus.Handle(q.doLocate),
		messages.OpLogs:       bus.Handle(q.doLogs),
		messages.OpSign:       bus.Handle(q.doSign),
		messages.OpRenew:      bus.Handle(q.doRenew),
		messages.OpJobCancel:  bus.Handle(q.doJobCancel),
		messages.OpCancel:     bus.Handle(q.doCancel),
		messages.OpInfer:      q.doInfer,
	}
}

func (q *Queen) endpoints() []bus.Endpoint {
	var out []bus.Endpoint
	handlers := q.handlers()
	for _, op := range messages.Operations() {
		e := bus.Endpoint{Name: strings.ReplaceAll(op.Op, ".", "-"), Queue: messages.QueenQueue, Request: op.Request, Reply: op.Reply, Handle: handlers[op.Op]}
		switch op.Party {
		case messages.QueenReads:
			e.Subject = messages.QueenSubject(op.Op)
		case messages.QueenDoes:
			e.Subject = messages.DoSubject("*", op.Op)
		default:
			continue
		}
		out = append(out, e)
	}
	return out
}

func (q *Queen) status(context.Context, *bus.Call, *messages.Versioned) (*messages.StatusReply, error) {
	running, waiting, _ := q.dispatcher.Counts()
	r := &messages.StatusReply{Queen: q.cfg.Name, Version: q.cfg.Version, HTTP: q.HTTPAddr(), UptimeMs: time.Since(q.began).Milliseconds(),
		Hives: len(q.registry.Hives()), Workers: q.registry.Count(), Running: running, Waiting: waiting, Jobs: q.keeper.Open(),
		Dropped: q.dropped.Load() + q.conn.Refused()}
	h := q.health()
	if r.Health = h.Status; h.Status != gateway.OK {
		r.Health += ": " + h.Reason
	}
	return r, nil
}

func (q *Queen) workerList(_ context.Context, call *bus.Call, req *messages.WorkerListRequest) (*messages.WorkerListReply, error) {
	r := &messages.WorkerListReply{Workers: []messages.WorkerView{}}
	page, after := messages.Page{Format: messages.FormatOf(call.Data)}, req.After
	for {
		part := q.registry.Page(after, 500)
		for i := range part {
			v := view(&part[i])
			switch fits, err := page.Takes(&v); {
			case err != nil:
				return nil, fmt.Errorf("worker %s: %w", v.ID, err)
			case !fits:
				r.Next = after
				return r, nil
			}
			r.Workers = append(r.Workers, v)
			after = v.ID
		}
		if len(part) == 0 {
			return r, nil
		}
	}
}

func view(w *registry.View) messages.WorkerView {
	word := [...]string{registry.RouteUnknown: "unknown", registry.RouteUp: "up", registry.RouteDown: "down"}
	return messages.WorkerView{WorkerInfo: w.WorkerInfo, Suspect: w.Suspect, Bus: word[w.Bus], Direct: word[w.Direct]}
}

func (q *Queen) workerGet(_ context.Context, _ *bus.Call, ref *messages.WorkerRef) (*messages.WorkerView, error) {
	w, ok := q.registry.Worker(ref.ID)
	if !ok {
		return nil, noWorker(ref.ID)
	}
	v := view(&w)
	return &v, nil
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

// modelGet asks the named hive, or all: the first of them that has the model counts.
func (q *Queen) modelGet(ctx context.Context, _ *bus.Call, r *messages.ModelRef) (*messages.Model, error) {
	var failed error = messages.Errorf(messages.CodeModelUnknown, messages.OpModelGet, "no hive has %q", r.Model).WithHint("rbee model list")
	if r.Hive != "" {
		if !q.knowsHive(r.Hive) {
			return nil, messages.Errorf(messages.CodeNotFound, messages.OpModelGet, "no hive %q", r.Hive).WithHint("rbee hive list")
		}
		failed = messages.Errorf(messages.CodeModelUnknown, messages.OpModelGet, "hive %s has no %q", r.Hive, r.Model).WithHint("rbee model list")
	}
	var hives []messages.HiveID
	for _, h := range q.registry.Hives() {
		if r.Hive == "" || h.ID == r.Hive {
			hives = append(hives, h.ID)
		}
	}
	for some := range slices.Chunk(hives, listAtOnce) {
		answers := askHives[messages.Model](ctx, q, some, messages.OpModelGet, func(messages.HiveID) any { return r })
		for i := range answers {
			switch err := answers[i].err; {
			case err == nil:
				return &answers[i].reply, nil
			case messages.CodeOf(err) != messages.CodeModelUnknown:
				failed = err
			}
		}
	}
	return nil, failed
}

func (q *Queen) doSpawn(_ context.Context, _ *bus.Call, req *messages.SpawnRequest) (*messages.Accepted, error) {
	if err := req.Check(); err != nil {
		return nil, err
	}
	return q.jobs.Start(req.Job, messages.OpSpawn, req.Model, func(ctx context.Context, job *bus.Job) (any, error) {
		return q.spawn(ctx, job, *req)
	})
}

func (q *Queen) doEnsure(_ context.Context, _ *bus.Call, req *messages.EnsureRequest) (*messages.Accepted, error) {
	if err := req.Check(); err != nil {
		return nil, err
	}
	return q.jobs.Start(req.Job, messages.OpEnsure, req.Model, func(ctx context.Context, job *bus.Job) (any, error) {
		return q.ensure(ctx, job, req.SpawnRequest)
	})
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

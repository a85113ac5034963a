package queen

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// doPull has one hive pull a model: the named one, else one that has it, else the one with most room. The
// job is the hive's.
func (q *Queen) doPull(ctx context.Context, _ *bus.Call, r *messages.PullRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if err := q.awaitHive(ctx, r.Hive); err != nil {
		return nil, err
	}
	hive, err := q.chooseDisk(messages.OpModelPull, r.Hive, r.Model)
	if err != nil {
		return nil, err
	}
	req := *r
	req.Hive = hive.ID
	a := &messages.Accepted{}
	return a, q.conn.Request(ctx, messages.HiveSubject(hive.ID, messages.OpModelPull), &req, a)
}

// targets are the named hive, or all.
func (q *Queen) targets(ctx context.Context, op string, name messages.HiveID) ([]messages.HiveInfo, error) {
	if err := q.awaitHive(ctx, name); err != nil {
		return nil, err
	}
	one, err := q.choose(op, name, func(a, b *messages.HiveInfo) int { return cmp.Compare(b.ID, a.ID) })
	if err != nil {
		return nil, err
	}
	if name != "" {
		return []messages.HiveInfo{one}, nil
	}
	return q.registry.HivesHere(), nil
}

// onHives runs op as a job of each hive and waits for all. ask makes a hive's request; take, one at a time,
// is told what a hive's job gave. The error is the first that a hive gave, unless tolerate says that it does
// not count as long as another hive succeeds.
func onHives[Result any](ctx context.Context, q *Queen, job *bus.Job, op string, hives []messages.HiveInfo, ask func(messages.JobID, *messages.HiveInfo) any,
	tolerate messages.Code, take func(Result)) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed, tolerated error
	good := 0
	for i := range hives {
		h := &hives[i]
		wg.Go(func() {
			var res Result
			err := q.runOn(ctx, job, h.ID, op, len(hives) > 1, func(id messages.JobID) any { return ask(id, h) }, &res)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				good++
				take(res)
			case tolerate != "" && messages.CodeOf(err) == tolerate:
				tolerated = err
			default:
				failed = cmp.Or(failed, at(err, h.ID, len(hives) > 1))
			}
		})
	}
	wg.Wait()
	if failed == nil && good == 0 {
		return nowhere(tolerated, len(hives) > 1)
	}
	return failed
}

// nowhere is the error of one hive for what none has.
func nowhere(err error, several bool) error {
	if err == nil || !several {
		return err
	}
	e := *messages.AsError(err, "")
	e.Message = "no hive has it: " + e.Message
	return &e
}

// apart are models to ask several hives for, one at a time: a hive refuses what it has for what another has.
func apart(models []string, hives []messages.HiveInfo) [][]string {
	if len(models) < 2 || len(hives) < 2 {
		return [][]string{models}
	}
	return slices.Collect(slices.Chunk(models, 1))
}

// at says which hive an error is of.
func at(err error, hive messages.HiveID, several bool) error {
	if !several {
		return err
	}
	e := *messages.AsError(err, "")
	e.Message = fmt.Sprintf("hive %s: %s", hive, e.Message)
	return &e
}

// runOn runs op as a job of a hive, within ours: its steps and ticks are passed on, and it is called off when
// ours is.
func (q *Queen) runOn(ctx context.Context, job *bus.Job, hive messages.HiveID, op string, several bool, ask func(messages.JobID) any, result any) error {
	id := messages.JobID(messages.NewID(strings.ReplaceAll(op, ".", "-") + "-"))
	prefix := ""
	if several {
		prefix = string(hive) + ": "
	}
	w := bus.Watcher{
		Event: func(e messages.JobEvent) {
			if e.State == messages.JobStep {
				job.Step("%s%s", prefix, e.Text)
			}
		},
		Tick: func(t messages.JobTick) { job.Tick(prefix+t.Text, t.Done, t.Total, t.Unit) },
	}
	err := q.conn.RunJob(ctx, messages.HiveSubject(hive, op), id, ask(id), result, w)
	if ctx.Err() != nil {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = q.conn.Request(bye, messages.HiveSubject(hive, messages.OpJobCancel), &messages.JobRef{Job: id}, nil)
	}
	return err
}

// doRemove is a job: the model goes from the named hive, or from every hive that has it.
func (q *Queen) doRemove(_ context.Context, _ *bus.Call, r *messages.RemoveRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return q.jobs.Start(r.Job, messages.OpModelRm, r.Model, func(ctx context.Context, job *bus.Job) (any, error) {
		hives, err := q.targets(ctx, messages.OpModelRm, r.Hive)
		if err != nil {
			return nil, err
		}
		if err := q.clear(ctx, job, hives, r); err != nil {
			return nil, err
		}
		out := &messages.RemoveReply{Removed: []messages.Removed{}}
		err = onHives(ctx, q, job, messages.OpModelRm, hives, func(id messages.JobID, h *messages.HiveInfo) any {
			return &messages.RemoveRequest{Job: id, Model: r.Model, Hive: h.ID}
		}, messages.CodeModelUnknown, func(one messages.RemoveReply) {
			out.Removed = append(out.Removed, one.Removed...)
			out.FreedBytes += one.FreedBytes
		})
		return out, err
	})
}

// clear stops the workers of a model that is to go, or refuses because of them.
func (q *Queen) clear(ctx context.Context, job *bus.Job, hives []messages.HiveInfo, r *messages.RemoveRequest) error {
	var serving []messages.WorkerInfo
	for i := range hives {
		id, ok := has(&hives[i], r.Model)
		if !ok { // the hive knows more ways to write it
			var m messages.Model
			if q.conn.Request(ctx, messages.HiveSubject(hives[i].ID, messages.OpModelGet), &messages.ModelRef{Model: r.Model}, &m) != nil {
				continue
			}
			id = m.ID
		}
		for _, w := range q.registry.Workers() {
			if w.Hive == hives[i].ID && w.Serves(id) {
				serving = append(serving, w.WorkerInfo)
			}
		}
	}
	if len(serving) == 0 && !q.spawns.starts(r.Model) && !q.spawns.starts(q.alias(r.Model)) {
		return nil
	}
	if !r.Force {
		var ids []string
		for i := range serving {
			ids = append(ids, string(serving[i].ID))
		}
		return messages.Errorf(messages.CodeConflict, messages.OpModelRm, "%s is served by %s", r.Model, cmp.Or(strings.Join(ids, ", "), "a worker that starts")).
			WithHint("rbee worker stop, or --force, which stops them")
	}
	for i := range serving {
		job.Step("stopping worker %s", serving[i].ID)
		if err := q.stopWorker(ctx, &serving[i], defaultGrace); err != nil {
			return err
		}
	}
	return nil
}

// doVerify is a job over one hive or all.
func (q *Queen) doVerify(_ context.Context, _ *bus.Call, r *messages.VerifyRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return q.jobs.Start(r.Job, messages.OpModelCheck, strings.Join(r.Models, " "), func(ctx context.Context, job *bus.Job) (any, error) {
		hives, err := q.targets(ctx, messages.OpModelCheck, r.Hive)
		if err != nil {
			return nil, err
		}
		out := &messages.VerifyReply{Files: []messages.VerifiedFile{}}
		for _, models := range apart(r.Models, hives) {
			if err = onHives(ctx, q, job, messages.OpModelCheck, hives, func(id messages.JobID, h *messages.HiveInfo) any {
				return &messages.VerifyRequest{Job: id, Hive: h.ID, Models: models}
			}, messages.CodeModelUnknown, func(one messages.VerifyReply) {
				out.Files = append(out.Files, one.Files...)
				out.Damaged += one.Damaged
			}); err != nil {
				break
			}
		}
		return out, err
	})
}

// doGC is a job over one hive or all.
func (q *Queen) doGC(_ context.Context, _ *bus.Call, r *messages.GCRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return q.jobs.Start(r.Job, messages.OpModelGC, "", func(ctx context.Context, job *bus.Job) (any, error) {
		hives, err := q.targets(ctx, messages.OpModelGC, r.Hive)
		if err != nil {
			return nil, err
		}
		out := &messages.RemoveReply{Removed: []messages.Removed{}}
		err = onHives(ctx, q, job, messages.OpModelGC, hives, func(id messages.JobID, h *messages.HiveInfo) any {
			return &messages.GCRequest{Job: id, Hive: h.ID, DryRun: r.DryRun, Partial: r.Partial}
		}, "", func(one messages.RemoveReply) {
			out.Removed = append(out.Removed, one.Removed...)
			out.FreedBytes += one.FreedBytes
		})
		return out, err
	})
}

// doImport is a job over one hive or all.
func (q *Queen) doImport(_ context.Context, _ *bus.Call, r *messages.ImportRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return q.jobs.Start(r.Job, messages.OpModelFind, strings.Join(r.Models, " "), func(ctx context.Context, job *bus.Job) (any, error) {
		hives, err := q.targets(ctx, messages.OpModelFind, r.Hive)
		if err != nil {
			return nil, err
		}
		out := &messages.ImportReply{Models: []messages.ImportedModel{}}
		for _, models := range apart(r.Models, hives) {
			if err = onHives(ctx, q, job, messages.OpModelFind, hives, func(id messages.JobID, h *messages.HiveInfo) any {
				return &messages.ImportRequest{Job: id, Hive: h.ID, Stores: r.Stores, Models: models, DryRun: r.DryRun}
			}, messages.CodeModelUnknown, func(one messages.ImportReply) { out.Models = append(out.Models, one.Models...) }); err != nil {
				break
			}
		}
		slices.SortStableFunc(out.Models, func(a, b messages.ImportedModel) int { return cmp.Compare(a.Hive, b.Hive) })
		return out, err
	})
}

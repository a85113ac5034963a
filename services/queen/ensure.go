package queen

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

// ensure gives a worker that serves model: a living one, one that starts already, or a new one.
func (q *Queen) ensure(ctx context.Context, job *bus.Job, req messages.SpawnRequest) (*messages.WorkerInfo, error) {
	for {
		q.spawns.mu.Lock()
		e, running := q.spawns.models[req.Model]
		if !running {
			e = &ensured{done: make(chan struct{})}
			q.spawns.models[req.Model] = e
		}
		q.spawns.mu.Unlock()
		if !running {
			e.worker, e.err = q.ensureAlone(ctx, job, req)
			q.spawns.mu.Lock()
			delete(q.spawns.models, req.Model)
			q.spawns.mu.Unlock()
			close(e.done)
			return e.worker, e.err
		}
		job.Step("waiting for %s, which starts already", req.Model)
		select {
		case <-e.done:
			if messages.CodeOf(e.err) != messages.CodeCancelled {
				return e.worker, e.err
			} // whoever started it gave up; we did not
		case <-ctx.Done():
			return nil, messages.AsError(context.Cause(ctx), messages.OpEnsure)
		}
	}
}

// ensureAlone is ensure for the first who asks. A worker that starts for another reason is waited for.
func (q *Queen) ensureAlone(ctx context.Context, job *bus.Job, req messages.SpawnRequest) (*messages.WorkerInfo, error) {
	q.awaitFormer(ctx)
	name := q.publicName(ctx, req.Model)
	for said := false; ; said = true {
		changed := q.heard.wait()
		starts := q.spawns.starts(req.Model)
		for _, w := range q.registry.Workers() {
			if w.Serves(name) && (w.Status == messages.StatusReady || w.Status == messages.StatusBusy) {
				return &w.WorkerInfo, nil
			}
			starts = starts || w.ModelID == name && w.Status == messages.StatusStarting
		}
		if !starts {
			return q.spawn(ctx, job, req)
		}
		if !said {
			job.Step("waiting for %s, which starts already", req.Model)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, messages.AsError(context.Cause(ctx), messages.OpEnsure)
		}
	}
}

// publicName is what workers call the model of a reference: it is in a hive's catalog once it was pulled or
// used. A path may have been used since the hive's last beat.
func (q *Queen) publicName(ctx context.Context, ref string) string {
	if name := q.alias(ref); name != ref || !strings.HasPrefix(ref, "/") {
		return name
	}
	if m, err := q.modelGet(ctx, nil, &messages.ModelRef{Model: ref}); err == nil {
		return m.ID
	}
	return ref
}

// readyWait is how long a request waits for a queen that has no bus yet.
const readyWait = 10 * time.Second

// awaitReady is for requests that come by HTTP before the queen has joined the bus: what it does not know
// yet is not unknown.
func (q *Queen) awaitReady(ctx context.Context) error {
	limit := time.NewTimer(readyWait)
	defer limit.Stop()
	select {
	case <-q.ready:
		return nil
	case <-limit.C:
		return messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "the queen has no connection to the bus yet")
	case <-ctx.Done():
		return messages.AsError(context.Cause(ctx), messages.OpInfer)
	}
}

// awaitModel gives a queen that has just started one beat's time to hear who has a model: what it does
// not know yet is not unknown.
func (q *Queen) awaitModel(ctx context.Context, model string) {
	limit := time.NewTimer(time.Until(q.joined.Add(messages.HiveBeatEvery + time.Second)))
	defer limit.Stop()
	for {
		changed := q.heard.wait()
		if q.knowsModel(model) {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// ensureServed is what a request needs when nobody serves its model. Only a model that some hive
// has is started: a name out of a request never becomes a path.
func (q *Queen) ensureServed(ctx context.Context, model string) error {
	if err := q.awaitReady(ctx); err != nil {
		return err
	}
	q.awaitModel(ctx, model)
	q.awaitFormer(ctx)
	has := func(h messages.HiveInfo) bool { return slices.Contains(h.Models, model) }
	starts := func(w registry.View) bool { return w.ModelID == model && w.Status == messages.StatusStarting }
	serves := func(w registry.View) bool {
		return w.Serves(model) && (w.Status == messages.StatusReady || w.Status == messages.StatusBusy)
	}
	switch {
	case slices.ContainsFunc(q.registry.Workers(), serves):
		return nil // it has come meanwhile
	case q.life.Err() != nil:
		return messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "the queen is stopping")
	case !q.conn.Connected():
		return messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "no connection to the bus, and no worker serves %q", model)
	case slices.ContainsFunc(q.registry.Hives(), has), slices.ContainsFunc(q.registry.Workers(), starts):
	case q.dispatcher.Serves(model):
		return messages.Errorf(messages.CodeNoWorker, messages.OpInfer, "every worker of %q is stopping", model)
	default:
		return messages.Errorf(messages.CodeModelUnknown, messages.OpInfer, "no worker serves %q and no hive has it", model).
			WithHint("rbee model list shows what there is; rbee run MODEL starts one")
	}
	id := messages.JobID(messages.NewID("ensure-"))
	result := make(chan error, 1)
	// A job of its own: the request that asked first may go away while others wait for the same worker.
	_, err := q.jobs.Start(id, messages.OpEnsure, model, func(jctx context.Context, job *bus.Job) (any, error) {
		w, err := q.ensure(jctx, job, messages.SpawnRequest{Job: id, Model: model})
		result <- err
		return w, err
	})
	if err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return messages.AsError(context.Cause(ctx), messages.OpEnsure)
	}
}

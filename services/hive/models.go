package hive

import (
	"context"
	"os"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
	"github.com/rbee-project/rbee/services/hive/catalog/stores"
)

// modelList is a page of what can be served; its cursor is a model's id.
func (h *Hive) modelList(_ context.Context, call *bus.Call, r *messages.ModelListRequest) (*messages.ModelListReply, error) {
	out, page := &messages.ModelListReply{Models: []messages.Model{}}, messages.Page{Format: messages.FormatOf(call.Data)}
	for _, m := range h.catalog.Available() {
		if r.After != "" && m.ID <= r.After {
			continue
		}
		switch fits, err := page.Takes(&m); {
		case err != nil:
			return nil, err
		case !fits:
			out.Next = out.Models[len(out.Models)-1].ID
			return out, nil
		}
		out.Models = append(out.Models, m)
	}
	return out, nil
}

func (h *Hive) modelGet(_ context.Context, _ *bus.Call, r *messages.ModelRef) (*messages.Model, error) {
	m, err := h.catalog.Find(r.Model)
	if err != nil {
		return nil, err
	}
	m.Hive = h.cfg.ID
	return &m, nil
}

// watcher shows a job what the catalog does.
func watcher(job *bus.Job) catalog.Watcher {
	return catalog.Watcher{
		Say:  func(text string) { job.Step("%s", text) },
		Step: func(s catalog.Step) { job.Tick(s.Text, s.Done, s.Total, "B") },
	}
}

// modelPull is a job: the model is on this disk when it succeeds.
func (h *Hive) modelPull(_ context.Context, _ *bus.Call, r *messages.PullRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return h.jobs.Start(r.Job, messages.OpModelPull, r.Model, func(ctx context.Context, job *bus.Job) (any, error) {
		m, err := h.catalog.Pull(ctx, catalog.Pull{Ref: r.Model, Name: r.Name, Copy: r.Copy, Hash: !r.IfMissing, Offline: r.Offline,
			IfMissing: r.IfMissing, BytesPerSecond: r.BytesPerSecond}, watcher(job))
		if err != nil {
			return nil, err
		}
		h.wakeUp()
		m.Hive = h.cfg.ID
		return &m, nil
	})
}

func (h *Hive) modelRemove(_ context.Context, _ *bus.Call, r *messages.RemoveRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return h.jobs.Start(r.Job, messages.OpModelRm, r.Model, func(ctx context.Context, _ *bus.Job) (any, error) {
		out, err := h.catalog.Remove(ctx, r.Model)
		h.wakeUp()
		return h.removed(out), err
	})
}

func (h *Hive) removed(r messages.RemoveReply) *messages.RemoveReply {
	for i := range r.Removed {
		r.Removed[i].Hive = h.cfg.ID
	}
	return &r
}

func (h *Hive) modelVerify(_ context.Context, _ *bus.Call, r *messages.VerifyRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return h.jobs.Start(r.Job, messages.OpModelCheck, "", func(ctx context.Context, job *bus.Job) (any, error) {
		out, err := h.catalog.Verify(ctx, r.Models, watcher(job))
		for i := range out.Files {
			out.Files[i].Hive = h.cfg.ID
		}
		h.wakeUp()
		return &out, err
	})
}

func (h *Hive) modelGC(_ context.Context, _ *bus.Call, r *messages.GCRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return h.jobs.Start(r.Job, messages.OpModelGC, "", func(ctx context.Context, _ *bus.Job) (any, error) {
		out, err := h.catalog.GC(ctx, r.DryRun, r.Partial)
		return h.removed(out), err
	})
}

func (h *Hive) modelImport(_ context.Context, _ *bus.Call, r *messages.ImportRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return h.jobs.Start(r.Job, messages.OpModelFind, "", func(ctx context.Context, job *bus.Job) (any, error) {
		home, _ := os.UserHomeDir() // without one, only the system's stores are looked at
		out, err := h.catalog.Import(ctx, stores.All(os.Getenv, home), r.Stores, r.Models, r.DryRun, watcher(job))
		for i := range out.Models {
			out.Models[i].Hive = h.cfg.ID
		}
		h.wakeUp()
		return &out, err
	})
}

// modelPlan is a job: what a worker with the model takes. Where it fits, the queen says.
func (h *Hive) modelPlan(_ context.Context, _ *bus.Call, r *messages.PlanRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return h.jobs.Start(r.Job, messages.OpModelPlan, r.Model, func(ctx context.Context, job *bus.Job) (any, error) {
		return h.catalog.Plan(ctx, catalog.PlanFor{Ref: r.Model, ContextLength: r.ContextLength, Slots: r.Slots, Offline: r.Offline}, watcher(job))
	})
}

// wakeUp has the inventory told at once.
func (h *Hive) wakeUp() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

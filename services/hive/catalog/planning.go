package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/peaks"
	"github.com/rbee-project/rbee/services/hive/catalog/plan"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// CPU is the device that memory is learnt for: a process's own memory says nothing of a GPU's.
const CPU = "CPU"

// PlanFor is what is to be planned.
type PlanFor struct {
	Ref string
	// ContextLength in tokens a slot; 0: the trained length, at most 4096. Slots 0: [messages.DefaultSlots].
	ContextLength, Slots int
	Offline              bool
}

// Plan says what a worker with a model takes. A model that is not here is not downloaded: its header is read
// from its source. Errors are those of [Catalog.Pull].
func (c *Catalog) Plan(ctx context.Context, p PlanFor, w Watcher) (*messages.PlanReply, error) {
	out, err := c.plan(ctx, p, w)
	if err != nil {
		return nil, messages.AsError(err, messages.OpModelPlan)
	}
	return out, nil
}

func (c *Catalog) plan(ctx context.Context, p PlanFor, w Watcher) (*messages.PlanReply, error) {
	out := &messages.PlanReply{}
	var h *plan.Header
	digest := ""
	m, err := c.usable(p.Ref)
	if err == nil {
		h, err = plan.OfFile(m.Path)
		out.Model, out.License, out.Quantization, digest = m.ID, m.License, m.Quantization, m.Digest
	} else {
		var a *vendor.Artifact
		if h, a, err = c.remoteHeader(ctx, p, w, err); err == nil {
			c.fromSource(out, h, a)
			digest = bare(a).digest()
		}
	}
	if err != nil {
		return nil, err
	}
	sum, err := plan.Estimate(h, plan.Options{ContextLength: cmp.Or(p.ContextLength, WantedContext(&m)), Slots: p.Slots})
	if err != nil {
		return nil, err
	}
	out.Architecture = h.First.Architecture
	out.Quantization = cmp.Or(out.Quantization, h.First.Quantization)
	c.fill(out, digest, sum)
	if p.ContextLength > sum.ContextLength {
		out.Notes = append(out.Notes, fmt.Sprintf("the model was trained on %d tokens: a longer context is cut to that", sum.ContextLength))
	}
	return out, nil
}

// fill writes the sum into a reply, with what was learnt.
func (c *Catalog) fill(out *messages.PlanReply, digest string, s plan.Sum) {
	out.ContextLength, out.Slots = s.ContextLength, s.Slots
	out.WeightsBytes, out.CopiedBytes, out.KVBytes, out.ComputeBytes, out.BaseBytes = s.Weights, s.Copied, s.KVCache, s.Compute, s.Base
	out.TotalBytes, out.LeastBytes, out.GPUBytes = s.Total(), s.Least(), s.OnGPU()
	if over := c.learnt(digest, s); over > 0 {
		out.Learnt = true
		out.TotalBytes += over
		out.LeastBytes += over
	}
	if s.Rough {
		out.Notes = append(out.Notes, "an estimate: this architecture's needs are not known exactly")
	}
}

// learnt is how much more than the sum a worker with this model once took.
func (c *Catalog) learnt(digest string, s plan.Sum) uint64 {
	if digest == "" {
		return 0
	}
	got, ok := c.Peaks().Get(peaks.Key{Digest: digest, ContextLength: s.ContextLength, Slots: s.Slots, Device: CPU})
	if !ok || got <= s.Total() {
		return 0
	}
	return got - s.Total()
}

// Peaks is what workers took at most, as it was measured on this machine.
func (c *Catalog) Peaks() *peaks.Peaks { return c.peaks }

// Needed is how many bytes of memory a worker with this model takes at least, and the sum as a text for people.
// ctx and slots are as in [PlanFor]. It reads the files' headers; an error is [messages.CodeBadModel].
func (c *Catalog) Needed(m messages.Model, ctx, slots int) (bytes uint64, sum plan.Sum, err error) {
	h, err := plan.OfFile(m.Path)
	if err != nil {
		return 0, sum, err
	}
	if sum, err = plan.Estimate(h, plan.Options{ContextLength: ctx, Slots: slots}); err != nil {
		return 0, sum, err
	}
	return sum.Least() + c.learnt(m.Digest, sum), sum, nil
}

// remoteHeader reads the header of a model that is not here, for the reason why.
func (c *Catalog) remoteHeader(ctx context.Context, p PlanFor, w Watcher, why error) (*plan.Header, *vendor.Artifact, error) {
	v, known := c.pick(p.Ref)
	_, local := v.(vendor.Local)
	switch {
	case !known && messages.CodeOf(why) != messages.CodeModelUnknown:
		return nil, nil, why
	case !known:
		return nil, nil, c.unknown(p.Ref)
	case !local && (p.Offline || c.cfg.Offline):
		return nil, nil, messages.Errorf(messages.CodeUnavailable, messages.OpModelPlan, "model %q is not on this machine, and it is offline", p.Ref).WithHint("rbee model list shows what is there")
	}
	a, err := ask(ctx, v, p.Ref, w)
	if err != nil {
		return nil, nil, err
	}
	w.step(Step{Text: "reading the header of " + a.Name})
	h, err := plan.ReadHeader(ctx, a.Files, func(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
		if f.InPlace != "" {
			return openLocal(f.InPlace, r)
		}
		return v.Fetch(ctx, f, r)
	})
	return h, a, err
}

func (c *Catalog) fromSource(out *messages.PlanReply, h *plan.Header, a *vendor.Artifact) {
	out.Model, out.License, out.Quantization = a.Name, a.License, a.Quantization
	out.Notes = slices.Clone(a.Notes)
	for i := range a.Files {
		f := &a.Files[i]
		if f.InPlace != "" || f.Kind == vendor.Projector {
			continue
		}
		out.FetchedBytes = h.FetchedBytes
		if !c.has(f) {
			out.DownloadBytes += max(f.SizeBytes, 0)
		}
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
)

type modelCmd struct {
	List   modelListCmd   `cmd:"" help:"List the models: of every hive, or of this data dir when no queen runs." aliases:"ls"`
	Get    modelGetCmd    `cmd:"" help:"Show one model and its files."`
	Pull   modelPullCmd   `cmd:"" help:"Bring models to a hive's disk."`
	Rm     modelRmCmd     `cmd:"" help:"Remove models from the hives' disks." aliases:"remove,delete"`
	Verify modelVerifyCmd `cmd:"" help:"Read models again and compare them with their digests."`
	GC     modelGCCmd     `cmd:"" name:"gc" help:"Remove what no model needs: left files and old unfinished downloads."`
	Plan   modelPlanCmd   `cmd:"" help:"Show what a model takes and where it fits, without downloading it."`
	Import modelImportCmd `cmd:"" help:"Use models of Ollama, HuggingFace's cache and LM Studio where they lie; nothing is copied."`
}

type modelListCmd struct{}

// Run lists models; the builtin ones that were never used are in the list too.
func (modelListCmd) Run(a *app) error {
	models, err := a.models()
	if err != nil {
		return err
	}
	return a.print(rows(models), func(w *tabwriter.Writer) {
		columns(w, "ID", "HIVE", "SIZE", "ARCHITECTURE", "QUANTIZATION", "CONTEXT", "LICENSE", "PATH")
		for i := range models {
			m := &models[i]
			columns(w, m.ID, m.Hive, size(uint64(max(0, m.SizeBytes))), m.Architecture, m.Quantization, m.ContextLength, m.License, m.Path)
		}
	})
}

// models are those of every hive, or of this data dir when no queen runs.
func (a *app) models() ([]messages.Model, error) {
	c, err := a.connect(a.ctx)
	switch {
	case err == nil:
		defer c.Close()
		models, away, err := c.models(a.ctx)
		for _, h := range away {
			fmt.Fprintf(a.stderr, "hive %s does not answer: its models are not in the list\n", h)
		}
		return models, err
	case a.Server != "":
		return nil, err
	}
	return catalog.New(catalog.Config{DataDir: a.DataDir}).Available(), nil
}

// models is what every hive has, page by page, and which did not answer.
func (c *client) models(ctx context.Context) (all []messages.Model, away []messages.HiveID, err error) {
	for req := (messages.ModelListRequest{}); ; {
		var page messages.ModelListReply
		if err := c.Request(ctx, messages.QueenSubject(messages.OpModelList), &req, &page); err != nil {
			return nil, nil, err
		}
		all, away = append(all, page.Models...), append(away, page.Away...)
		if req.After = page.Next; req.After == "" {
			return all, away, nil
		}
	}
}

type modelGetCmd struct {
	Model string `arg:"" help:"Public name, or a reference that it was pulled by."`
	Hive  string `help:"Of this hive. Default: the first that has it."`
}

// Run shows one model.
func (g *modelGetCmd) Run(a *app) error {
	m, err := g.model(a)
	if err != nil {
		return err
	}
	return a.print([]any{m}, func(w *tabwriter.Writer) {
		columns(w, "id", m.ID)
		columns(w, "hive", m.Hive)
		for _, ref := range m.Refs {
			columns(w, "reference", ref)
		}
		columns(w, "full", m.Full)
		columns(w, "from", m.Vendor+" "+m.Revision)
		columns(w, "license", m.License)
		columns(w, "architecture", fmt.Sprintf("%s, %s, %d tokens", m.Architecture, m.Quantization, m.ContextLength))
		columns(w, "size", size(uint64(max(0, m.SizeBytes))))
		columns(w, "digest", m.Digest)
		for _, f := range m.Files {
			columns(w, f.Kind, fmt.Sprintf("%s, %s, %s", f.Name, size(uint64(max(0, f.SizeBytes))), f.Path))
		}
	})
}

func (g *modelGetCmd) model(a *app) (messages.Model, error) {
	c, err := a.connect(a.ctx)
	if err != nil {
		if a.Server != "" {
			return messages.Model{}, err
		}
		return catalog.New(catalog.Config{DataDir: a.DataDir}).Find(g.Model)
	}
	defer c.Close()
	var m messages.Model
	err = c.Request(a.ctx, messages.QueenSubject(messages.OpModelGet), &messages.ModelRef{Model: g.Model, Hive: messages.HiveID(g.Hive)}, &m)
	return m, err
}

type modelRmCmd struct {
	Models []string `arg:"" help:"Public names, or references that they were pulled by."`
	Hive   string   `help:"From this hive. Default: from every hive that has it."`
	Force  bool     `help:"Stop the workers that serve it."`
}

// Run removes each model, also when another of them cannot go; files that are used in place stay where they are.
func (r *modelRmCmd) Run(a *app) error {
	var failed []error
	for _, name := range r.Models {
		out, err := modelJob[messages.RemoveReply](a, messages.OpModelRm, func(ctx context.Context, c *client, id messages.JobID) any {
			ref := name
			if c.local(ctx, messages.HiveID(r.Hive)) {
				ref, _ = modelRef(name)
			}
			return &messages.RemoveRequest{Job: id, Model: ref, Hive: messages.HiveID(r.Hive), Force: r.Force}
		})
		switch {
		case err != nil:
			failed = append(failed, err)
		case out == nil: // Ctrl-C
			return errors.Join(failed...)
		default:
			failed = append(failed, a.printRemoved(out, "removed"))
		}
	}
	return errors.Join(failed...)
}

func (a *app) printRemoved(r *messages.RemoveReply, word string) error {
	return a.print([]any{r}, func(w *tabwriter.Writer) {
		for _, x := range r.Removed {
			columns(w, x.Hive, x.Kind, x.Name, size(uint64(max(0, x.SizeBytes))))
		}
		fmt.Fprintf(w, "%s %d, %s\n", word, len(r.Removed), size(uint64(max(0, r.FreedBytes))))
	})
}

type modelVerifyCmd struct {
	Models []string `arg:"" optional:"" help:"Public names or references. Default: all."`
	Hive   string   `help:"On this hive. Default: on all."`
}

// Run exits 1 if a file is damaged or missing.
func (v *modelVerifyCmd) Run(a *app) error {
	out, err := modelJob[messages.VerifyReply](a, messages.OpModelCheck, func(_ context.Context, _ *client, id messages.JobID) any {
		return &messages.VerifyRequest{Job: id, Hive: messages.HiveID(v.Hive), Models: v.Models}
	})
	if err != nil || out == nil {
		return err
	}
	if out.Damaged > 0 {
		a.exit = exitFailed
	}
	return a.print(rows(out.Files), func(w *tabwriter.Writer) {
		columns(w, "STATE", "MODEL", "HIVE", "FILE", "WHAT")
		for _, f := range out.Files {
			columns(w, f.State, f.Model, f.Hive, f.Name, f.Text)
		}
	})
}

type modelGCCmd struct {
	Hive    string `help:"On this hive. Default: on all."`
	DryRun  bool   `help:"Show what would be removed."`
	Partial bool   `help:"Also downloads that stopped less than a week ago, which a pull would go on with."`
}

// Run removes.
func (g *modelGCCmd) Run(a *app) error {
	out, err := modelJob[messages.RemoveReply](a, messages.OpModelGC, func(_ context.Context, _ *client, id messages.JobID) any {
		return &messages.GCRequest{Job: id, Hive: messages.HiveID(g.Hive), DryRun: g.DryRun, Partial: g.Partial}
	})
	if err != nil || out == nil {
		return err
	}
	word := "removed"
	if g.DryRun {
		word = "would remove"
	}
	return a.printRemoved(out, word)
}

type modelImportCmd struct {
	Models []string `arg:"" optional:"" help:"Names or references. Default: all that are found."`
	From   []string `help:"ollama, huggingface, lmstudio, llama.cpp. Default: all."`
	Hive   string   `help:"On this hive. Default: on all."`
	DryRun bool     `help:"Show what there is."`
}

// Run registers what other programs have.
func (i *modelImportCmd) Run(a *app) error {
	out, err := modelJob[messages.ImportReply](a, messages.OpModelFind, func(_ context.Context, _ *client, id messages.JobID) any {
		return &messages.ImportRequest{Job: id, Hive: messages.HiveID(i.Hive), Stores: i.From, Models: i.Models, DryRun: i.DryRun}
	})
	if err != nil || out == nil {
		return err
	}
	bad := func(m messages.ImportedModel) bool { return m.State == catalog.StateProblem }
	if len(i.Models) > 0 && slices.ContainsFunc(out.Models, bad) {
		a.exit = exitFailed
	}
	return a.print(rows(out.Models), func(w *tabwriter.Writer) {
		columns(w, "STATE", "STORE", "MODEL", "HIVE", "SIZE", "PATH", "WHAT")
		for _, m := range out.Models {
			columns(w, m.State, m.Store, m.Model, m.Hive, size(uint64(max(0, m.SizeBytes))), m.Path, m.Text)
		}
	})
}

type modelPlanCmd struct {
	Model   string `arg:"" help:"Reference, or the path of a .gguf."`
	Ctx     int    `help:"Tokens a slot; 0: the trained length, at most 4096." default:"0"`
	Slots   int    `help:"Requests at once." default:"4"`
	Hive    string `help:"For this hive. Default: for all."`
	Offline bool   `help:"Plan a model that is there; fetch nothing."`
}

// Run shows the sum and where it fits.
func (p *modelPlanCmd) Run(a *app) error {
	out, err := modelJob[messages.PlanReply](a, messages.OpModelPlan, func(ctx context.Context, c *client, id messages.JobID) any {
		ref := p.Model
		if c.local(ctx, messages.HiveID(p.Hive)) {
			ref, _ = modelRef(ref)
		}
		return &messages.PlanRequest{Job: id, Model: ref, Hive: messages.HiveID(p.Hive), ContextLength: p.Ctx, Slots: p.Slots, Offline: p.Offline}
	})
	if err != nil || out == nil {
		return err
	}
	return a.print([]any{out}, func(w *tabwriter.Writer) { planTable(w, out) })
}

func planTable(w *tabwriter.Writer, p *messages.PlanReply) {
	about := fmt.Sprintf("%s (%s, %s", p.Model, p.Architecture, p.Quantization)
	if p.License != "" {
		about += ", licence " + p.License
	}
	columns(w, "model", about+")")
	columns(w, "download", size(uint64(max(0, p.DownloadBytes))))
	columns(w, "weights", size(p.WeightsBytes))
	if p.CopiedBytes > 0 {
		columns(w, "weights in the CPU's order", size(p.CopiedBytes))
	}
	columns(w, "KV cache", fmt.Sprintf("%s for %d slots of %d tokens", size(p.KVBytes), p.Slots, p.ContextLength))
	columns(w, "compute", size(p.ComputeBytes))
	columns(w, "process", size(p.BaseBytes))
	total := size(p.TotalBytes)
	if p.Learnt {
		total += ", measured: more than the sum"
	}
	columns(w, "total", total)
	for _, n := range p.Notes {
		columns(w, "note", n)
	}
	columns(w)
	columns(w, "HIVE", "DEVICE", "FREE", "NEEDS", "FITS")
	for _, f := range p.Fits {
		fit := "yes"
		if !f.Fits {
			fit = "no: " + f.Why
		}
		columns(w, f.Hive, f.Device, size(f.FreeBytes), size(f.NeedBytes), fit)
	}
}

// modelJob runs op as a job and gives its result: of a queen that runs, or of one that is started for it. A nil
// result without an error was left to go on by Ctrl-C.
func modelJob[Result any](a *app, op string, request func(context.Context, *client, messages.JobID) any) (*Result, error) {
	ctx, stop := a.interruptible()
	defer stop()
	c, alone, err := a.queenOrLone(ctx, false)
	if err != nil {
		return nil, err
	}
	if alone != nil {
		defer alone()
	}
	defer c.Close()
	id := messages.JobID(messages.NewID("model-"))
	p := a.progress()
	out := new(Result)
	err = c.RunJob(ctx, c.do(op), id, request(ctx, c, id), out, p.watcher())
	p.done()
	if err != nil {
		return nil, a.left(ctx, c, alone != nil, id, err)
	}
	return out, nil
}

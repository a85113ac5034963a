package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"text/tabwriter"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive"
)

type modelPullCmd struct {
	Models    []string      `arg:"" help:"hf:ORG/REPO[:QUANT], ollama:NAME[:TAG], an address of a .gguf, a path, builtin:NAME."`
	Hive      []string      `help:"To these hives. Default: one that has it, else the one with most free disk."`
	AllHives  bool          `help:"To every hive."`
	Name      string        `help:"Public name, instead of the one that the reference gives."`
	Copy      bool          `help:"Copy a file of the hive's machine; else it is used where it lies."`
	LimitRate hive.ByteSize `help:"Most bytes a second, like 5MB." default:"0"`
	Offline   bool          `help:"Fetch nothing from a network."`
	Detach    bool          `help:"Do not wait; rbee job watch shows the job."`
}

// pull is one model that goes to one hive.
type pull struct {
	model string
	hive  messages.HiveID
	id    messages.JobID
}

// Run returns when every model is on every disk it was meant for. Ctrl-C leaves the jobs running.
func (p *modelPullCmd) Run(a *app) error {
	if p.Name != "" && len(p.Models) > 1 {
		return misused("--name is for one model")
	}
	if p.AllHives && len(p.Hive) > 0 {
		return misused("--hive and --all-hives exclude each other")
	}
	ctx, stop := a.interruptible()
	defer stop()
	c, alone, err := a.queenOrLone(ctx, p.Offline)
	if err != nil {
		return err
	}
	if alone != nil {
		defer alone()
	}
	defer c.Close()
	if alone != nil && p.Detach {
		return misused("--detach needs a queen that goes on: start one with rbee up")
	}
	pulls, err := p.pulls(ctx, c, alone != nil)
	if err != nil {
		return err
	}
	if p.Detach {
		return p.detach(ctx, a, c, pulls)
	}
	return p.watch(ctx, a, c, pulls, alone != nil)
}

// pulls is every model for every hive.
func (p *modelPullCmd) pulls(ctx context.Context, c *client, alone bool) ([]pull, error) {
	hives := []messages.HiveID{""}
	if len(p.Hive) > 0 {
		hives = nil
		for _, h := range p.Hive {
			hives = append(hives, messages.HiveID(h))
		}
	}
	if p.AllHives {
		var r messages.HiveListReply
		if err := c.Request(ctx, messages.QueenSubject(messages.OpHiveList), &messages.Done{}, &r); err != nil {
			return nil, err
		}
		if hives = nil; len(r.Hives) == 0 {
			return nil, messages.Errorf(messages.CodeUnavailable, messages.OpModelPull, "no hive is connected").WithHint("rbee hive list")
		}
		for _, h := range r.Hives {
			hives = append(hives, h.ID)
		}
	}
	slices.Sort(hives)
	var out []pull
	for _, h := range slices.Compact(hives) {
		for _, m := range p.Models {
			if alone || c.local(ctx, h) {
				var err error
				if m, err = modelRef(m); err != nil {
					return nil, err
				}
			}
			out = append(out, pull{m, h, messages.JobID(messages.NewID("pull-"))})
		}
	}
	return out, nil
}

func (p *modelPullCmd) request(one pull) *messages.PullRequest {
	return &messages.PullRequest{Job: one.id, Model: one.model, Hive: one.hive, Name: p.Name, Copy: p.Copy, Offline: p.Offline,
		BytesPerSecond: int64(p.LimitRate)}
}

func (p *modelPullCmd) detach(ctx context.Context, a *app, c *client, pulls []pull) error {
	var started []any
	for _, one := range pulls {
		var accepted messages.Accepted
		if err := c.Request(ctx, c.do(messages.OpModelPull), p.request(one), &accepted); err != nil {
			return err
		}
		started = append(started, map[string]any{"job": accepted.Job, "executor": accepted.Executor, "model": one.model})
	}
	return a.print(started, func(w *tabwriter.Writer) {
		for _, one := range pulls {
			columns(w, one.id)
		}
	})
}

// watch runs all pulls at once and shows them.
func (p *modelPullCmd) watch(ctx context.Context, a *app, c *client, pulls []pull, alone bool) error {
	show := a.progress()
	models, failed := make([]*messages.Model, len(pulls)), make([]error, len(pulls))
	var wg sync.WaitGroup
	for i, one := range pulls {
		prefix := ""
		if len(pulls) > 1 && one.hive != "" {
			prefix = string(one.hive) + ": "
		}
		w := show.track(prefix).watcher()
		wg.Go(func() {
			var m messages.Model
			if failed[i] = c.RunJob(ctx, c.do(messages.OpModelPull), one.id, p.request(one), &m, w); failed[i] == nil {
				models[i] = &m
			}
		})
	}
	wg.Wait()
	show.done()
	var got []any
	for i, m := range models {
		if m != nil {
			got = append(got, m)
		} else if failed[i] != nil {
			failed[i] = pulls[i].of(len(pulls), a.left(ctx, c, alone, pulls[i].id, failed[i]))
		}
	}
	err := a.print(got, func(w *tabwriter.Writer) {
		for _, m := range models {
			if m != nil {
				columns(w, m.ID, m.Hive, size(uint64(max(0, m.SizeBytes))), m.Digest, m.Path)
			}
		}
	})
	return errors.Join(append(failed, err)...)
}

// of says which of several pulls an error is of.
func (one pull) of(several int, err error) error {
	switch {
	case err == nil || several < 2:
		return err
	case one.hive != "":
		return fmt.Errorf("%s to %s: %w", one.model, one.hive, err)
	}
	return fmt.Errorf("%s: %w", one.model, err)
}

// left says what becomes of a job whose watching Ctrl-C ended: it goes on, unless its queen ends with this
// command. Else it is err.
func (a *app) left(ctx context.Context, c *client, alone bool, id messages.JobID, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if !alone {
		return a.detached(ctx, id, err)
	}
	c.callOff(ctx, id)
	fmt.Fprintln(a.stderr, "cancelled; what was fetched is kept, the same command goes on with it")
	a.exit = exitCancelled
	return nil
}

package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

type jobCmd struct {
	List   jobListCmd   `cmd:"" help:"List open jobs, then those that ended last."`
	Get    jobGetCmd    `cmd:"" help:"Show one job and its steps."`
	Watch  jobWatchCmd  `cmd:"" help:"Replay a job's steps and follow it to its end."`
	Cancel jobCancelCmd `cmd:"" help:"End a job."`
}

type jobListCmd struct {
	Open bool `help:"Only jobs that run."`
}

// Run lists them.
func (l *jobListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		var r messages.JobListReply
		if err := c.Request(ctx, messages.QueenSubject(messages.OpJobList), &messages.Versioned{}, &r); err != nil {
			return err
		}
		var jobs []messages.JobInfo
		for _, j := range r.Jobs {
			if !l.Open || !j.State.Terminal() {
				jobs = append(jobs, j)
			}
		}
		return a.print(rows(jobs), func(w *tabwriter.Writer) {
			columns(w, "JOB", "OPERATION", "STATE", "EXECUTOR", "STARTED", "PROGRESS", "TEXT")
			for i := range jobs {
				j := &jobs[i]
				columns(w, j.Job, j.Op, jobState(j.State), j.Executor, ago(j.StartedAt), jobProgress(j), cut(j.Text, 60))
			}
		})
	})
}

// jobState folds the first event and the steps: the job runs.
func jobState(s messages.JobState) string {
	if s.Terminal() {
		return string(s)
	}
	return "running"
}

func jobProgress(j *messages.JobInfo) string {
	if j.State.Terminal() || j.Total <= 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", 100*j.Done/j.Total)
}

func ago(t time.Time) string {
	return max(0, time.Since(t)).Round(time.Second).String() + " ago"
}

// cut is one line of text, at most n characters.
func cut(text string, n int) string {
	r := []rune(strings.Join(strings.Fields(text), " "))
	if len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return string(r)
}

type jobGetCmd struct {
	ID string `arg:"" help:"Job id."`
}

// Run shows one job.
func (g *jobGetCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		ref := &messages.JobRef{Job: messages.JobID(g.ID)}
		var j messages.JobInfo
		if err := c.Request(ctx, messages.QueenSubject(messages.OpJobGet), ref, &j); err != nil {
			return err
		}
		var past messages.JobEventsReply
		if err := c.Request(ctx, messages.QueenSubject(messages.OpJobEvents), ref, &past); err != nil {
			return err
		}
		one := struct {
			messages.JobInfo
			Events []messages.JobEvent `json:"events"`
		}{j, past.Events}
		return a.print([]any{one}, func(w *tabwriter.Writer) {
			columns(w, "job", j.Job)
			columns(w, "operation", j.Op)
			columns(w, "executor", j.Executor)
			columns(w, "state", jobState(j.State))
			for _, e := range past.Events {
				columns(w, e.At.Local().Format(clockFormat), cmp.Or(e.Text, string(e.State)))
			}
		})
	})
}

type jobWatchCmd struct {
	ID string `arg:"" help:"Job id."`
}

// Run returns when the job has ended, 0 only if it succeeded. Ctrl-C leaves it running.
func (g *jobWatchCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		p := a.progress()
		id := messages.JobID(g.ID)
		var end messages.JobEvent
		w := p.watcher()
		show := w.Event
		w.Event = func(e messages.JobEvent) { end = e; show(e) }
		err := c.WatchJob(ctx, id, nil, w)
		p.done()
		if err != nil {
			return a.detached(ctx, id, err)
		}
		return a.print([]any{end}, func(w *tabwriter.Writer) { columns(w, id, end.State) })
	})
}

type jobCancelCmd struct {
	ID string `arg:"" help:"Job id."`
}

// Run returns when the job has been told; job watch says when it has ended.
func (g *jobCancelCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		id := messages.JobID(g.ID)
		if err := c.Request(ctx, c.do(messages.OpJobCancel), &messages.JobRef{Job: id}, nil); err != nil {
			return err
		}
		ended, stop := context.WithTimeout(ctx, 10*time.Second)
		defer stop()
		end := messages.JobEvent{Job: id}
		err := c.WatchJob(ended, id, nil, bus.Watcher{Event: func(e messages.JobEvent) { end = e }})
		if !end.State.Terminal() {
			return err
		}
		return a.print([]any{end}, func(w *tabwriter.Writer) { columns(w, id, end.State) })
	})
}

// detached says that the job goes on, if it was Ctrl-C that ended the watching; else it is err.
func (a *app) detached(ctx context.Context, id messages.JobID, err error) error {
	if ctx.Err() == nil {
		return err
	}
	fmt.Fprintf(a.stderr, "detached; the job goes on: rbee job watch %s, rbee job cancel %s\n", id, id)
	a.exit = exitCancelled
	return nil
}

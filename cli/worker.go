package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rbee-project/rbee/messages"
)

type workerCmd struct {
	List  workerListCmd  `cmd:"" help:"List the workers."`
	Get   workerGetCmd   `cmd:"" help:"Show one worker."`
	Spawn workerSpawnCmd `cmd:"" help:"Start a worker and wait until it is ready."`
	Stop  workerStopCmd  `cmd:"" help:"Drain a worker and end it." aliases:"delete"`
	Logs  workerLogsCmd  `cmd:"" help:"Show a worker's log."`

	Drain   workerDrainCmd   `cmd:"" help:"Have a worker take nothing new; what it has goes on."`
	Undrain workerUndrainCmd `cmd:"" help:"Have a drained worker take requests again."`
}

type workerListCmd struct{}

// Run lists what the queen's registry holds.
func (workerListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		all, err := c.workers(ctx)
		if err != nil {
			return err
		}
		return a.print(rows(all), func(w *tabwriter.Writer) {
			columns(w, "ID", "MODEL", "STATUS", "HIVE", "DEVICE", "PID", "PORT", "SLOTS", "TOKENS/S")
			for i := range all {
				v := &all[i]
				columns(w, v.ID, v.ModelID, status(v), v.Hive, v.Device, v.PID, v.Port, fmt.Sprintf("%d/%d", v.SlotsUsed, v.SlotsTotal),
					fmt.Sprintf("%.1f", v.TokensPerSecond))
			}
		})
	})
}

// status is the worker's own word, unless the queen doubts it.
func status(v *messages.WorkerView) string {
	if v.Suspect != "" {
		return "suspect"
	}
	return string(v.Status)
}

// workers is the whole registry, page by page.
func (c *client) workers(ctx context.Context) ([]messages.WorkerView, error) {
	var all []messages.WorkerView
	for req := (messages.WorkerListRequest{}); ; {
		var page messages.WorkerListReply
		if err := c.Request(ctx, messages.QueenSubject(messages.OpWorkerList), &req, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Workers...)
		if req.After = page.Next; req.After == "" {
			return all, nil
		}
	}
}

type workerGetCmd struct {
	ID string `arg:"" help:"Worker id."`
}

// Run shows one.
func (g *workerGetCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		var v messages.WorkerView
		if err := c.Request(ctx, messages.QueenSubject(messages.OpWorkerGet), &messages.WorkerRef{ID: messages.WorkerID(g.ID)}, &v); err != nil {
			return err
		}
		return a.print([]any{v}, func(w *tabwriter.Writer) { workerTable(w, &v) })
	})
}

func workerTable(w *tabwriter.Writer, v *messages.WorkerView) {
	columns(w, "id", v.ID)
	columns(w, "model", v.ModelID)
	columns(w, "status", status(v))
	if v.Suspect != "" {
		columns(w, "suspect", v.Suspect)
	}
	columns(w, "routes", fmt.Sprintf("bus %s, direct %s", v.Bus, v.Direct))
	columns(w, "hive", v.Hive)
	columns(w, "device", v.Device)
	columns(w, "process", fmt.Sprintf("pid %d, started at %d, life %s", v.PID, v.StartTime, v.Incarnation))
	columns(w, "http", fmt.Sprintf("http://%s:%d", v.Host, v.Port))
	columns(w, "engine", v.Implementation+" "+v.Version)
	for _, m := range v.Models {
		columns(w, "can", strings.Join(m.Capabilities, ", "))
	}
	columns(w, "slots", fmt.Sprintf("%d of %d used, %d tokens each", v.SlotsUsed, v.SlotsTotal, v.ContextLength))
	columns(w, "tokens/s", fmt.Sprintf("%.1f", v.TokensPerSecond))
}

type workerSpawnCmd struct {
	Model   string `arg:"" help:"hf:ORG/REPO[:QUANT], ollama:NAME, builtin:NAME, an address, or the path of a .gguf. What is not there is pulled."`
	Hive    string `help:"Machine to start it on. Default: the queen chooses."`
	Device  string `help:"ggml's name of the device, or auto." default:"auto"`
	ID      string `help:"Id of the worker. Default: made up." name:"id"`
	Slots   int    `help:"Requests at once." default:"4"`
	Ctx     int    `help:"Tokens a slot; 0: the trained length, at most 4096." default:"0"`
	Force   bool   `help:"Skip the memory check."`
	Offline bool   `help:"Use a model that is there; fetch nothing."`
	engineFlags
	Detach bool `help:"Do not wait until it is ready."`
}

// Run returns when the worker is ready, or at once with --detach. Ctrl-C leaves the job running.
func (s *workerSpawnCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		ref := s.Model
		if c.local(ctx, messages.HiveID(s.Hive)) {
			var err error
			if ref, err = modelRef(ref); err != nil {
				return err
			}
			if err := s.onThisMachine(); err != nil {
				return err
			}
		}
		id := messages.JobID(messages.NewID("spawn-"))
		if s.ID == "" {
			s.ID = messages.NewID("w-")
		}
		req := &messages.SpawnRequest{Job: id, ID: messages.WorkerID(s.ID), Model: ref, Hive: messages.HiveID(s.Hive), Device: s.Device,
			Slots: s.Slots, ContextLength: s.Ctx, Force: s.Force, Offline: s.Offline, Engine: s.options()}
		if s.Detach {
			var accepted messages.Accepted
			if err := c.Request(ctx, c.do(messages.OpSpawn), req, &accepted); err != nil {
				return err
			}
			return a.print([]any{map[string]any{"id": s.ID, "job": accepted.Job}}, func(w *tabwriter.Writer) { columns(w, s.ID) })
		}
		p := a.progress()
		var v messages.WorkerInfo
		err := c.RunJob(ctx, c.do(messages.OpSpawn), id, req, &v, p.watcher())
		p.done()
		if err != nil {
			return a.detached(ctx, id, err)
		}
		return a.print([]any{v}, func(w *tabwriter.Writer) { columns(w, v.ID) })
	})
}

type workerStopCmd struct {
	ID      string        `arg:"" help:"Worker id."`
	Timeout time.Duration `help:"How long it may finish what it has, before it is killed." default:"30s"`
}

// Run returns when the process is gone.
func (s *workerStopCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		ctx, cancel := context.WithTimeout(ctx, s.Timeout+20*time.Second)
		defer cancel()
		var r messages.StopReply
		req := &messages.StopRequest{ID: messages.WorkerID(s.ID), GraceMillis: max(1, s.Timeout.Milliseconds())}
		if err := c.Request(ctx, c.do(messages.OpStop), req, &r); err != nil {
			return err
		}
		return a.print([]any{r}, func(w *tabwriter.Writer) { columns(w, fmt.Sprintf("%s stopped", r.ID)) })
	})
}

type workerDrainCmd struct {
	ID string `arg:"" help:"Worker id."`
}

// Run returns when the worker takes nothing new.
func (d *workerDrainCmd) Run(a *app) error { return a.tellWorker(messages.OpDrainAt, d.ID) }

type workerUndrainCmd struct {
	ID string `arg:"" help:"Worker id."`
}

// Run returns when the worker takes requests again.
func (d *workerUndrainCmd) Run(a *app) error { return a.tellWorker(messages.OpUndrainAt, d.ID) }

func (a *app) tellWorker(op, id string) error {
	return a.with(func(ctx context.Context, c *client) error {
		var info messages.WorkerInfo
		if err := c.Request(ctx, c.do(op), &messages.WorkerRef{ID: messages.WorkerID(id)}, &info); err != nil {
			return err
		}
		return a.print([]any{info}, func(w *tabwriter.Writer) {
			columns(w, fmt.Sprintf("%s is %s, %d requests run", info.ID, info.Status, info.SlotsUsed))
		})
	})
}

type workerLogsCmd struct {
	ID     string `arg:"" help:"Worker id."`
	Follow bool   `help:"Go on as it grows, until Ctrl-C." short:"f"`
}

// followEvery is how often a followed log is asked for more.
const followEvery = 300 * time.Millisecond

// Run prints the end of the log.
func (l *workerLogsCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		req := &messages.LogsRequest{ID: messages.WorkerID(l.ID), Offset: -1}
		for {
			var r messages.LogsReply
			if err := c.Request(ctx, c.do(messages.OpLogs), req, &r); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			if _, err := io.WriteString(a.stdout, r.Text); err != nil || (!l.Follow && r.Text == "") {
				return err
			}
			req.Offset = r.Next
			if !l.Follow {
				continue // until there is nothing more
			}
			if r.Text == "" && !c.lives(ctx, req.ID) {
				fmt.Fprintf(a.stderr, "worker %s has ended\n", req.ID)
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(followEvery):
			}
		}
	})
}

// lives says whether the queen knows the worker; one that is still starting may be unknown for a moment,
// but then its log is there.
func (c *client) lives(ctx context.Context, id messages.WorkerID) bool {
	err := c.Request(ctx, messages.QueenSubject(messages.OpWorkerGet), &messages.WorkerRef{ID: id}, nil)
	return messages.CodeOf(err) != messages.CodeNotFound
}

func list(ids []string) string { return strings.Join(ids, ", ") }

package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/engines"
)

type statusCmd struct{}

// Run shows the queen.
func (statusCmd) Run(a *app) error {
	return a.with(func(_ context.Context, c *client) error {
		s := c.status
		return a.print([]any{s}, func(w *tabwriter.Writer) {
			columns(w, "queen", s.Queen+" "+s.Version)
			columns(w, "health", s.Health)
			columns(w, "http", "http://"+s.HTTP+"/v1")
			columns(w, "bus", c.URL())
			columns(w, "up", (time.Duration(s.UptimeMs) * time.Millisecond).Round(time.Second))
			columns(w, "hives", s.Hives)
			columns(w, "workers", s.Workers)
			columns(w, "requests", fmt.Sprintf("%d running, %d waiting", s.Running, s.Waiting))
			columns(w, "jobs", fmt.Sprintf("%d running", s.Jobs))
			columns(w, "dropped", s.Dropped)
		})
	})
}

type hiveCmd struct {
	List hiveListCmd `cmd:"" help:"List the machines."`
	Get  hiveGetCmd  `cmd:"" help:"Show one machine."`
}

type hiveListCmd struct{}

// Run lists every hive that beats.
func (hiveListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		var r messages.HiveListReply
		if err := c.Request(ctx, messages.QueenSubject(messages.OpHiveList), &messages.Done{}, &r); err != nil {
			return err
		}
		return a.print(rows(r.Hives), func(w *tabwriter.Writer) {
			columns(w, "ID", "HOST", "SYSTEM", "CORES", "DEVICES", "MEMORY FREE", "DISK FREE", "ENGINES", "NOTE")
			for i := range r.Hives {
				h := &r.Hives[i]
				columns(w, h.ID, h.Host, h.OS, h.Cores, len(h.Devices), size(h.MemoryFreeBytes), size(h.DiskFreeBytes), len(h.Engines), h.Note)
			}
		})
	})
}

type hiveGetCmd struct {
	ID string `arg:"" help:"Hive id."`
}

// Run shows one hive.
func (g *hiveGetCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, c *client) error {
		var h messages.HiveInfo
		if err := c.Request(ctx, messages.QueenSubject(messages.OpHiveGet), &messages.HiveRef{ID: messages.HiveID(g.ID)}, &h); err != nil {
			return err
		}
		return a.print([]any{h}, func(w *tabwriter.Writer) {
			columns(w, "id", h.ID)
			columns(w, "host", h.Host+", "+h.OS)
			columns(w, "cpu", fmt.Sprintf("%s, %d cores", h.CPU, h.Cores))
			columns(w, "memory", size(h.MemoryFreeBytes)+" free of "+size(h.MemoryTotalBytes))
			columns(w, "disk", size(h.DiskFreeBytes)+" free of "+size(h.DiskTotalBytes))
			for _, d := range h.Devices {
				columns(w, "device", fmt.Sprintf("%s: %s, %s free of %s", d.ID, d.Name, size(d.MemoryFreeBytes), size(d.MemoryTotalBytes)))
			}
			for _, e := range h.Engines {
				columns(w, "engine", e.Name+" "+e.Version)
			}
			columns(w, "models", list(h.Models))
			if h.Note != "" {
				columns(w, "note", h.Note)
			}
		})
	})
}

type engineCmd struct {
	List    engineListCmd    `cmd:"" help:"List the engines in this data dir."`
	Install engineInstallCmd `cmd:"" help:"Install an engine into this data dir."`
}

type engineListCmd struct{}

// Run lists what is installed; it needs no queen.
func (engineListCmd) Run(a *app) error {
	all := engines.New(a.DataDir).List()
	return a.print(rows(all), func(w *tabwriter.Writer) {
		columns(w, "NAME", "VERSION", "SOURCE", "SIZE", "PATH")
		for i := range all {
			columns(w, all[i].Name, all[i].Version, all[i].Source, size(uint64(max(0, all[i].SizeBytes))), all[i].Path)
		}
	})
}

type engineInstallCmd struct {
	Name string `arg:"" help:"Engine: llama-cpp, llama-cpp-cuda, llama-cpp-cuda12 or llama-cpp-vulkan."`
}

// Run installs; it needs no queen.
func (e *engineInstallCmd) Run(a *app) error {
	ctx, stop := a.interruptible()
	defer stop()
	p := a.progress()
	shown, last := p.track(""), ""
	got, err := engines.New(a.DataDir).Install(ctx, e.Name, func(s engines.Step) {
		if s.Text != last {
			last = s.Text
			shown.step(s.Text)
		}
		shown.tick(messages.JobTick{Text: s.Text, Done: s.Done, Total: s.Total, Unit: "B"})
	})
	p.done()
	if err != nil {
		return err
	}
	return a.print([]any{got}, func(w *tabwriter.Writer) { columns(w, got.Name, got.Version, got.Path) })
}

type credsCmd struct {
	Create credsCreateCmd `cmd:"" help:"Make credentials from the keys in the data dir; needs no server."`
}

type credsCreateCmd struct {
	Role string `help:"hive, client or observer." enum:"hive,client,observer" required:""`
	Name string `help:"Who it is for: a hive's id, a client's name." required:""`
}

// Run prints a credentials file: keep it 0600.
func (c *credsCreateCmd) Run(a *app) error {
	realm, err := bus.OpenRealm(keysDir(a.DataDir))
	if err != nil {
		return err
	}
	file, err := realm.Creds(bus.Role(c.Role), c.Name, 0)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(file)
	return err
}

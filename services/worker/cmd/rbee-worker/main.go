// rbee-worker serves one model with one engine. A hive starts it; anybody may by hand.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker"
	"github.com/rbee-project/rbee/services/worker/chattemplate"
	"github.com/rbee-project/rbee/services/worker/llamacpp"
)

// exitBusyPort tells the hive to try another port.
const exitBusyPort = 98

type commands struct {
	Run     runCmd     `cmd:"" default:"withargs" help:"Serve a model."`
	Devices devicesCmd `cmd:"" help:"List the devices that the engine sees."`
}

type runCmd struct {
	WorkerID     string        `help:"Id on the bus." default:"worker"`
	Model        string        `help:"GGUF file." required:"" type:"path"`
	Name         string        `help:"Public name of the model. Default: the file's name without .gguf."`
	Device       string        `help:"ggml's name of the device, or auto." default:"auto"`
	Host         string        `help:"Address of the HTTP port." default:"127.0.0.1"`
	Port         int           `help:"HTTP port; 0 takes a free one." default:"0"`
	QueenURL     string        `help:"NATS server of the queen, nats://…; none: HTTP alone." name:"queen-url"`
	Creds        string        `help:"Credentials file of role worker." type:"path"`
	Hive         string        `help:"Hive that started it."`
	Lib          string        `help:"Folder of llama.cpp's libraries." required:"" env:"RBEE_LLAMA_LIB" type:"path"`
	Slots        int           `help:"Requests at once; 0: 4." default:"0"`
	Ctx          int           `help:"Tokens a slot; 0: the trained length, at most 4096." default:"0"`
	Threads      int           `help:"CPU threads; 0: physical cores minus one." default:"0"`
	ContextShift bool          `help:"Drop the oldest tokens when a slot is full, and go on."`
	CacheRAM     int           `help:"MiB of memory for chats that lost their slot; 0: none." name:"cache-ram" default:"1024"`
	GPULayers    string        `help:"Layers that a GPU computes: a number, or auto for as many as fit." name:"gpu-layers" default:"auto"`
	Force        bool          `help:"Load the model although it may not fit into memory."`
	ChatTemplate string        `help:"File with a Jinja chat template, instead of the model's own." type:"path"`
	GoTemplate   string        `help:"File with a chat template as Ollama has them, in Go's text/template, instead of the model's own." type:"path"`
	Params       string        `help:"File with defaults of requests: a JSON object with the names of Ollama's parameters." type:"path"`
	System       string        `help:"File with the system message of chats that have none." type:"path"`
	Lora         []string      `help:"LoRA adapter, a GGUF file; FILE=SCALE for another strength than 1. May be given several times." sep:"none" placeholder:"FILE"`
	Pooling      string        `help:"How embeddings are made: mean, cls, last, or rank for scores. Default: as the model says."`
	OrphanAfter  time.Duration `help:"How long to live without a bus; 0: for ever." default:"10m"`
	DrainTimeout time.Duration `help:"How long to finish what runs when asked to stop." default:"30s"`
}

type devicesCmd struct {
	JSON bool   `help:"One object a line." name:"json"`
	Lib  string `help:"Folder of llama.cpp's libraries." required:"" env:"RBEE_LLAMA_LIB" type:"path"`
}

func main() {
	chattemplate.Main()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 done, 1 failed, 2 misused, 98 the port is busy.
func run(args []string, stdout, stderr io.Writer) int {
	var c commands
	parser, err := kong.New(&c, kong.Name("rbee-worker"), kong.Description("Serves a model: the worker contract over HTTP and NATS."),
		kong.Writers(stdout, stderr), kong.BindTo(stdout, (*io.Writer)(nil)), kong.Bind(slog.New(slog.NewJSONHandler(stderr, nil))))
	var k *kong.Context
	if err == nil {
		k, err = parser.Parse(args)
	}
	if err != nil {
		fmt.Fprintln(stderr, "rbee-worker:", err)
		return 2
	}
	if err = k.Run(); err != nil {
		fmt.Fprintln(stderr, "rbee-worker:", err)
		if errors.Is(err, syscall.EADDRINUSE) {
			return exitBusyPort
		}
		return 1
	}
	return 0
}

// Run serves until TERM or Ctrl-C, then drains.
func (r *runCmd) Run(log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ln, err := net.Listen("tcp", net.JoinHostPort(r.Host, strconv.Itoa(r.Port)))
	if err != nil {
		return err
	}
	if r.Name == "" {
		r.Name = strings.TrimSuffix(filepath.Base(r.Model), ".gguf")
	}
	cfg, err := r.engineConfig(log)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	e, err := llamacpp.New(cfg)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	beats, bulk, err := r.connect(ctx, log)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	if beats != nil {
		defer beats.Close()
		defer bulk.Close()
	}
	w, err := worker.New(worker.Config{ID: messages.WorkerID(r.WorkerID), Hive: messages.HiveID(r.Hive), Model: r.Name, Device: r.Device,
		OrphanAfter: r.OrphanAfter, DrainTimeout: r.DrainTimeout}, e, ln, beats, bulk, log)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	log.Info("worker started", "id", r.WorkerID, "model", r.Name, "http", ln.Addr().String())
	return w.Run(ctx)
}

// engineConfig is what the flags say of the engine.
func (r *runCmd) engineConfig(log *slog.Logger) (llamacpp.Config, error) {
	cfg := llamacpp.Config{LibDir: r.Lib, ModelPath: r.Model, PublicName: r.Name, Device: r.Device, Slots: r.Slots,
		ContextLength: r.Ctx, Threads: r.Threads, ContextShift: r.ContextShift, TemplatePath: r.ChatTemplate, GoTemplatePath: r.GoTemplate, Pooling: r.Pooling,
		GPULayers: r.GPULayers, Force: r.Force, Log: log}
	cfg.CacheBytes = r.CacheRAM << 20
	if r.CacheRAM <= 0 {
		cfg.CacheBytes = -1
	}
	for _, l := range r.Lora {
		a := llamacpp.LoRA{Path: l, Scale: 1}
		if at := strings.LastIndexByte(l, '='); at > 0 {
			scale, err := strconv.ParseFloat(l[at+1:], 32)
			if err == nil { // else the = is part of the file's name
				a = llamacpp.LoRA{Path: l[:at], Scale: float32(scale)}
			}
		}
		cfg.LoRA = append(cfg.LoRA, a)
	}
	var err error
	cfg.Defaults, err = readDefaults(r.Params, r.System, log)
	return cfg, err
}

// connect makes the worker's two connections, or none without a queen. They come up when the server does.
func (r *runCmd) connect(ctx context.Context, log *slog.Logger) (beats, bulk *bus.Conn, err error) {
	if r.QueenURL == "" {
		return nil, nil, nil
	}
	creds, err := bus.ReadCredentials(r.Creds)
	if err != nil {
		return nil, nil, err
	}
	cfg := bus.Config{URL: r.QueenURL, Credentials: creds, Log: log, Wait: true}
	if beats, err = bus.Connect(ctx, cfg); err != nil {
		return nil, nil, err
	}
	if bulk, err = bus.Connect(ctx, cfg); err != nil {
		beats.Close()
		return nil, nil, err
	}
	return beats, bulk, nil
}

// Run prints ggml's own list, and says on stderr which libraries give no device.
func (d *devicesCmd) Run(out io.Writer) error {
	devices, err := llamacpp.Devices(d.Lib)
	if err != nil {
		return err
	}
	for _, why := range llamacpp.Unusable(d.Lib, devices) {
		fmt.Fprintln(os.Stderr, "rbee-worker:", why)
	}
	enc := json.NewEncoder(out)
	for _, v := range devices {
		if !d.JSON {
			fmt.Fprintf(out, "%-10s %-6s %6d MiB free of %6d  %s\n", v.Name, v.Kind, v.FreeBytes>>20, v.TotalBytes>>20, v.Description)
			continue
		}
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

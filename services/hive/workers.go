package hive

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
	"github.com/rbee-project/rbee/services/hive/catalog/plan"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
	"github.com/rbee-project/rbee/services/hive/devices"
	"github.com/rbee-project/rbee/services/hive/engines"
	"github.com/rbee-project/rbee/services/hive/spawn"
)

const (
	exitBusyPort = 98              // of rbee-worker
	portTries    = 3               // ports that are tried
	portWait     = 5 * time.Second // for a worker to open its port or to end
	watchPort    = 5 * time.Millisecond
	maxOrphan    = 365 * 24 * time.Hour
)

// spawn starts a worker and returns as soon as its process has its port; the model loads later.
// life is what the report of its end hangs on.
func (h *Hive) spawn(ctx, life context.Context, r *messages.SpawnRequest) (*messages.SpawnResult, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if err := messages.CheckID("worker id", string(r.ID)); err != nil {
		return nil, err
	}
	done, err := h.beginSpawn(r.ID)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.spawning, cancel)()
	bin, err := h.workerBin()
	if err != nil {
		return nil, err
	}
	engine, err := h.engines.Find(cmp.Or(r.Engine.Name, engines.LlamaCpp))
	if err != nil {
		return nil, err
	}
	model, err := h.catalog.Resolve(ctx, r.Model, catalog.Watcher{})
	if err != nil {
		e := *messages.AsError(err, messages.OpSpawn)
		e.Message = fmt.Sprintf("hive %s: %s", h.cfg.ID, e.Message)
		return nil, &e
	}
	if r.ContextLength == 0 {
		r.ContextLength = catalog.WantedContext(&model)
	}
	sum, err := h.checkMemory(ctx, r, &model)
	if err != nil {
		return nil, err
	}
	creds, err := h.workerCreds(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		res, exit, err := h.start(ctx, life, bin, &engine, &model, creds, r)
		if err == nil {
			h.learn(life, spawn.Process{PID: res.PID, StartTime: res.StartTime}, &model, sum)
			return res, nil
		}
		if exit != exitBusyPort || try == portTries {
			h.forget(r.ID)
			return nil, err
		}
		h.log.Info("port taken meanwhile, trying another", "worker", r.ID)
	}
}

// checkMemory compares what a worker takes with what the machine has free. Where a GPU may be used, its memory
// counts too: layers that do not fit there stay with the CPU.
func (h *Hive) checkMemory(ctx context.Context, r *messages.SpawnRequest, m *messages.Model) (plan.Sum, error) {
	need, sum, err := h.catalog.Needed(*m, r.ContextLength, r.Slots)
	if r.Force {
		return sum, nil
	}
	if err != nil {
		return sum, err
	}
	free := devices.Host(ctx, h.cfg.DataDir).MemoryFreeBytes
	if on := cmp.Or(r.Device, messages.DefaultDevice); free > 0 && !strings.EqualFold(on, catalog.CPU) {
		h.mu.Lock()
		for _, d := range h.devices {
			if d.Kind == "gpu" && (on == messages.DefaultDevice || on == d.ID) {
				free += d.MemoryFreeBytes
			}
		}
		h.mu.Unlock()
	}
	if free > 0 && need > free {
		return sum, messages.Errorf(messages.CodeNoMemory, messages.OpSpawn, "%s needs %s, hive %s has %d MiB free", m.ID, sum.Parts, h.cfg.ID, free>>20).
			WithHint("fewer --slots, a smaller --ctx, a smaller quantization, or --force")
	}
	return sum, nil
}

// workerCreds makes the worker's key here and has the queen sign it: the seed never crosses the bus.
func (h *Hive) workerCreds(ctx context.Context, id messages.WorkerID) (path string, err error) {
	seed, public, err := bus.NewUserKey()
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	var signed messages.SignReply
	if err := h.conn.Request(ctx, messages.DoSubject(h.conn.Caller, messages.OpSign), &messages.SignRequest{Worker: id, PublicKey: public}, &signed); err != nil {
		return "", err
	}
	file, err := bus.FormatCredentials(signed.JWT, seed)
	if err != nil {
		return "", fmt.Errorf("credentials: %w", err)
	}
	dir := h.credsDir(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", messages.Errorf(messages.CodeInternal, messages.OpSpawn, "%w", err)
	}
	path = filepath.Join(dir, "creds")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		h.forget(id)
		return "", messages.Errorf(messages.CodeInternal, messages.OpSpawn, "%w", err)
	}
	return path, nil
}

func (h *Hive) credsDir(id messages.WorkerID) string {
	return filepath.Join(h.cfg.DataDir, "workers", string(id))
}

// forget removes the credentials of a worker that has ended.
func (h *Hive) forget(id messages.WorkerID) { _ = os.RemoveAll(h.credsDir(id)) }

// start runs the process once. exit is its code when it ended before it had its port.
func (h *Hive) start(ctx, life context.Context, bin string, engine *engines.Installed, m *messages.Model, creds string, r *messages.SpawnRequest) (*messages.SpawnResult, int, error) {
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	spec := spawn.Spec{Path: bin, Args: h.args(engine, m, creds, port, r), LogPath: h.logPath(r.ID),
		Env: map[string]string{"GGML_NO_BACKTRACE": "1"}}
	p, exited, err := h.spawner.Start(ctx, spec)
	if err != nil {
		return nil, 0, err
	}
	early, placed := make(chan spawn.Exit), make(chan struct{})
	h.await(p, r.ID)
	h.watchers.Go(func() {
		e, ok := <-exited
		if !ok {
			return // the hive stops; the worker lives on, and needs its credentials
		}
		select {
		case early <- e: // the credentials are the spawn's, which may try another port
		case <-placed:
			h.forget(r.ID)
		}
		h.unawait(p)
		h.report(r.ID, "", &e)
	})
	e, err := waitPort(ctx, life, port, r.ID, early)
	close(placed)
	if err != nil {
		return nil, e.Code, messages.Errorf(messages.CodeSpawnFailed, messages.OpSpawn, "the worker ended at once, exit %d %s: %s", e.Code, e.Signal, e.StderrTail)
	}
	return &messages.SpawnResult{WorkerID: r.ID, PID: p.PID, Port: port, StartTime: p.StartTime, ModelID: m.ID}, 0, nil
}

func (h *Hive) args(e *engines.Installed, m *messages.Model, creds string, port int, r *messages.SpawnRequest) []string {
	device := r.Device
	if device == "" {
		device = messages.DefaultDevice
	}
	// A name or a device may begin with a dash, so these go behind an equals sign.
	args := []string{"--worker-id", string(r.ID), "--model", m.Path, "--name=" + m.ID, "--device=" + device, "--port", strconv.Itoa(port),
		"--queen-url", h.cfg.ServerURL, "--creds", creds, "--hive", string(h.cfg.ID), "--lib", e.Path,
		"--slots", strconv.Itoa(r.Slots), "--ctx", strconv.Itoa(r.ContextLength),
		"--drain-timeout", maxGrace.String()} // how long it may drain, the kill's grace says
	if r.OrphanAfterMillis > 0 {
		args = append(args, "--orphan-after", millis(r.OrphanAfterMillis, maxOrphan).String())
	}
	args = append(args, sidecars(m, r.Engine)...)
	args = append(args, engineArgs(r.Engine)...)
	if r.Force {
		args = append(args, "--force")
	}
	if m.ID == "builtin:"+bees.Endless && !r.Engine.ContextShift {
		args = append(args, "--context-shift") // its answers end by max_tokens or a cancel alone
	}
	return args
}

// sidecars are the worker's flags for the files that came with the model's weights: what is asked for wins.
func sidecars(m *messages.Model, o messages.EngineOptions) (args []string) {
	for _, f := range m.Files {
		switch kind := vendor.Kind(f.Kind); {
		case kind == vendor.Template && o.ChatTemplate == "":
			args = append(args, "--chat-template="+f.Path)
		case kind == vendor.GoTemplate && o.ChatTemplate == "":
			args = append(args, "--go-template="+f.Path)
		case kind == vendor.Params:
			args = append(args, "--params="+f.Path)
		case kind == vendor.System:
			args = append(args, "--system="+f.Path)
		}
	}
	return args
}

// engineArgs are the worker's flags for the options that are set.
func engineArgs(o messages.EngineOptions) (args []string) {
	for _, f := range []struct {
		flag, value string
		set         bool
	}{
		{"--threads=", strconv.Itoa(o.Threads), o.Threads > 0},
		{"--gpu-layers=", o.GPULayers, o.GPULayers != ""},
		{"--cache-ram=", strconv.Itoa(max(o.CacheMiB, 0)), o.CacheMiB != 0},
		{"--chat-template=", o.ChatTemplate, o.ChatTemplate != ""},
		{"--pooling=", o.Pooling, o.Pooling != ""},
	} {
		if f.set {
			args = append(args, f.flag+f.value)
		}
	}
	if o.ContextShift {
		args = append(args, "--context-shift")
	}
	for _, l := range o.LoRA {
		args = append(args, "--lora="+l)
	}
	return args
}

// waitPort returns nil once the worker answers on its port, or its exit if it ended before. A worker
// that takes long to do either is left to the spawn's own deadline.
func waitPort(ctx, life context.Context, port int, id messages.WorkerID, exited <-chan spawn.Exit) (spawn.Exit, error) {
	limited, cancel := context.WithTimeout(ctx, portWait)
	defer cancel()
	tick := time.NewTicker(watchPort)
	defer tick.Stop()
	up := make(chan struct{})
	go func() {
		for limited.Err() == nil && !answers(limited, port, id) {
			select {
			case <-limited.Done():
			case <-tick.C:
			}
		}
		close(up)
	}()
	defer func() { cancel(); <-up }()
	select {
	case e := <-exited:
		return e, fmt.Errorf("exit %d", e.Code)
	case <-life.Done():
	case <-up:
	}
	return spawn.Exit{}, nil
}

// asking keeps no connection: there is one request a spawn, more or less.
var asking = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// answers says whether it is worker id that listens on port: another program may have taken the port
// first, and then the worker is about to end.
func answers(ctx context.Context, port int, id messages.WorkerID) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(port))+"/info", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := asking.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var info messages.WorkerInfo
	return json.NewDecoder(io.LimitReader(resp.Body, messages.MaxPayload)).Decode(&info) == nil && info.ID == id
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, messages.Errorf(messages.CodeInternal, messages.OpSpawn, "no free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

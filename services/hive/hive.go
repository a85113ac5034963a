// Package hive is a stateless executor on one machine: it spawns and kills worker processes, keeps
// the model catalog on its disk and installs engines. It keeps no list of workers.
package hive

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/devices"
	"github.com/rbee-project/rbee/services/hive/engines"
	"github.com/rbee-project/rbee/services/hive/peers"
	"github.com/rbee-project/rbee/services/hive/spawn"
	"golang.org/x/sync/errgroup"
)

// Config of a hive.
type Config struct {
	ID      messages.HiveID
	Version string
	DataDir string
	// ServerURL is what its workers dial: nats://….
	ServerURL string
	// WorkerBin is rbee-worker; "" looks for it, see [FindWorker].
	WorkerBin string
	Provision
}

// Provision is how a hive comes by models, as flags and as fields.
type Provision struct {
	// Offline has models used that are here, and nothing fetched.
	Offline bool `help:"Fetch nothing: use the models that are here." env:"RBEE_OFFLINE"`
	// ModelsQuota is the most bytes that models may take on this disk; 0: what it has.
	ModelsQuota ByteSize `help:"Most bytes that models may take, like 200GB; 0: what the disk has." default:"0" env:"RBEE_MODELS_QUOTA"`
	// PeerListen is where other hives copy models from this one, with a ticket of the queen; "" opens no
	// port, and they copy over the bus. As a flag it is, unless set, a port for hives on the same machine.
	PeerListen string `help:"Where other hives copy models from this one, with a ticket of the queen. Without a port that they reach, they copy over the bus." default:"127.0.0.1:0" env:"RBEE_PEER_LISTEN"`
}

// Hive is a hive that may not have started.
type Hive struct {
	cfg     Config
	conn    *bus.Conn
	log     *slog.Logger
	catalog *catalog.Catalog
	engines *engines.Store
	spawner *spawn.Spawner
	jobs    *bus.Jobs
	peers   *peers.Peers
	ready   chan struct{}
	wake    chan struct{} // beat now: something was installed or added

	incarnation string
	spawning    context.Context // ends when spawns under way are called off
	callOff     context.CancelFunc

	mu       sync.Mutex
	devices  []messages.Device
	note     string
	watched  map[spawn.Process]messages.WorkerID // whose end is awaited; no more is known of them
	stopping bool                                // nothing is spawned any more
	starting sync.WaitGroup                      // spawns under way
	watchers sync.WaitGroup
}

// New checks cfg and returns a Hive that has not started.
func New(cfg Config, conn *bus.Conn, log *slog.Logger) (*Hive, error) {
	if err := messages.CheckID("hive id", string(cfg.ID)); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, messages.Errorf(messages.CodeInternal, "hive", "data dir: %w", err)
	}
	cfg.DataDir = dir
	if cfg.PeerListen != "" {
		_, port, err := net.SplitHostPort(cfg.PeerListen) // a name that is not known yet is no reason not to start
		if err == nil {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil {
			return nil, messages.Errorf(messages.CodeBadRequest, "hive", "--peer-listen %q is no address to listen on: %w", cfg.PeerListen, err).
				WithHint("write host:port, such as 0.0.0.0:7834")
		}
	}
	spawning, callOff := context.WithCancel(context.Background())
	h := &Hive{cfg: cfg, spawning: spawning, callOff: callOff, conn: conn, log: log, engines: engines.New(dir),
		spawner: spawn.New(), ready: make(chan struct{}), wake: make(chan struct{}, 1), incarnation: messages.NewID("h-"),
		watched: map[spawn.Process]messages.WorkerID{}}
	h.catalog = catalog.New(catalog.Config{DataDir: dir, Offline: cfg.Offline, QuotaBytes: int64(cfg.ModelsQuota), Around: h.around, Log: log})
	h.peers = peers.New(peers.Config{Hive: cfg.ID, Caller: bus.RoleHive.Caller(string(cfg.ID)), Bus: conn, Files: h.catalog, Log: log,
		Listen: cfg.PeerListen, Advertise: conn.ClientIP})
	return h, nil
}

// around has other hives asked for a file before its source.
func (h *Hive) around(ctx context.Context, f catalog.Wanted, outside download.Source) (download.Source, func(error) bool) {
	return h.peers.Around(ctx, f, outside)
}

// Ready is closed when the hive takes operations.
func (h *Hive) Ready() <-chan struct{} { return h.ready }

// Run works until ctx ends. Its workers live on.
func (h *Hive) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.spawner.Run(ctx) })
	g.Go(func() error { return h.peers.Run(ctx) })
	h.jobs = h.conn.NewJobs(ctx)
	svc, err := h.conn.Serve(ctx, "rbee-hive", h.cfg.Version, "spawns workers on "+string(h.cfg.ID), h.endpoints(ctx))
	if err == nil && ctx.Err() != nil {
		svc.Stop() // stopped before the bus was there
	} else if err == nil {
		h.probe(ctx)
		g.Go(func() error { h.beat(ctx); return nil })
		close(h.ready)
		h.log.Info("hive ready", "id", h.cfg.ID)
		<-ctx.Done()
		svc.Stop()
	} else {
		g.Go(func() error { return err })
	}
	h.jobs.Close()
	h.watchers.Wait()
	return g.Wait()
}

// probe asks the worker's binary for its devices; without an engine there is the CPU alone.
func (h *Hive) probe(ctx context.Context) {
	info := devices.Host(ctx, h.cfg.DataDir)
	found, note := []messages.Device{devices.CPU(info)}, ""
	bin, err := h.workerBin()
	if err != nil {
		note = err.Error()
	} else if e, err := h.engines.Find(engines.LlamaCpp); err == nil {
		d, err := devices.Probe(ctx, devices.Command{Path: bin, Args: []string{"--lib", e.Path}})
		if err != nil {
			note = "only the CPU is known: " + err.Error()
		} else {
			found = d
		}
	}
	h.mu.Lock()
	h.devices, h.note = found, note
	h.mu.Unlock()
	h.wakeUp()
}

// beat publishes the inventory every few seconds, when it changed, and at once after a reconnect.
func (h *Hive) beat(ctx context.Context) {
	defer h.conn.OnReconnect(h.wakeUp)()
	tick := time.NewTicker(messages.HiveBeatEvery)
	defer tick.Stop()
	for {
		// An error means that the bus is down; the beat after the reconnect says everything.
		_ = h.conn.Publish(messages.HiveBeatSubject(h.cfg.ID), &messages.HiveBeat{Hive: h.info(ctx), SentAt: time.Now().UTC()})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.wake:
		}
	}
}

func (h *Hive) info(ctx context.Context) messages.HiveInfo {
	info := devices.Host(ctx, h.cfg.DataDir)
	info.ID, info.Incarnation, info.Version = h.cfg.ID, h.incarnation, h.cfg.Version
	info.Models, info.Aliases = h.catalog.Names()
	info.Engines = []messages.Engine{}
	for _, e := range h.engines.List() {
		info.Engines = append(info.Engines, e.Engine)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	info.Devices = h.devices
	if h.note != "" {
		info.Note = h.note
	}
	return info
}

func (h *Hive) workerBin() (string, error) {
	if h.cfg.WorkerBin != "" {
		return h.cfg.WorkerBin, nil
	}
	return FindWorker()
}

// FindWorker finds rbee-worker: RBEE_WORKER_BIN, beside this binary, then on PATH.
func FindWorker() (string, error) {
	if p := os.Getenv("RBEE_WORKER_BIN"); p != "" {
		return p, nil
	}
	if self, err := os.Executable(); err == nil {
		p := filepath.Join(filepath.Dir(self), "rbee-worker")
		if st, err := os.Stat(p); err == nil && !st.IsDir() {
			return p, nil
		}
	}
	p, err := exec.LookPath("rbee-worker")
	if err != nil {
		return "", messages.Errorf(messages.CodeNoEngine, messages.OpSpawn, "rbee-worker is neither beside this program nor on PATH").
			WithHint("put it there, or set RBEE_WORKER_BIN to it")
	}
	return p, nil
}

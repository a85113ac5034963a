// Package solo runs bus, queen and hive in one process, over loopback TCP: the same code as apart.
package solo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/natsd"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive"
	"github.com/rbee-project/rbee/services/queen"
)

// The roles a process can play.
const (
	RoleBus   = "bus"
	RoleQueen = "queen"
	RoleHive  = "hive"
)

// Config says what to run.
type Config struct {
	DataDir string // models, engines, logs
	// StateDir holds keys, credentials, the NATS store and the address file; DataDir when empty. A
	// lone `rbee run` has a temporary one, so that no other command finds it.
	StateDir string
	HTTP     string // queen's HTTP address, loopback
	NATS     string // bus address; where it is dialled when bus is not among the roles
	Monitor  string // of NATS; "" for none
	Roles    []string
	Route    string
	// OrphanAfter is how long workers live without a bus; 0: 10 minutes.
	OrphanAfter  time.Duration
	DrainTimeout time.Duration // 0: 30 s
	hive.Provision
	Version string
	Log     *slog.Logger
}

// Address is what `rbee up` writes for the commands on the same machine.
type Address struct {
	NATS string `json:"nats"`
	HTTP string `json:"http"`
	PID  int    `json:"pid"`
}

// Running is a set of services that have started.
type Running struct {
	Address Address
	Realm   *bus.Realm

	cfg      Config
	hive     *hive.Hive        // nil without that role
	services map[string]func() // by role: stops it
	files    []func()          // address and locks
	failed   chan error
}

func (c *Config) has(role string) bool { return slices.Contains(c.Roles, role) }

// Start brings the roles up, in order, and returns when they serve. Stop the result, whatever happens.
func Start(ctx context.Context, cfg Config) (*Running, error) {
	if cfg.StateDir == "" {
		cfg.StateDir = cfg.DataDir
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 30 * time.Second
	}
	if len(cfg.Roles) == 0 {
		return nil, messages.Errorf(messages.CodeBadRequest, "up", "no role to run").WithHint("bus, queen, hive")
	}
	for _, r := range cfg.Roles {
		if r != RoleBus && r != RoleQueen && r != RoleHive {
			return nil, messages.Errorf(messages.CodeBadRequest, "up", "no role %q", r).WithHint("bus, queen, hive")
		}
	}
	for _, a := range []string{cfg.HTTP, cfg.NATS} {
		if err := queen.CheckLoopback(a); err != nil {
			return nil, err
		}
	}
	r := &Running{cfg: cfg, services: map[string]func(){}, failed: make(chan error, 4), Address: Address{NATS: "nats://" + cfg.NATS, PID: os.Getpid()}}
	for _, step := range []struct {
		role  string
		start func(context.Context) error
	}{{RoleBus, r.startBus}, {RoleQueen, r.startQueen}, {RoleHive, r.startHive}} {
		if !cfg.has(step.role) {
			continue
		}
		err := r.lock(step.role)
		if err == nil {
			err = step.start(ctx)
		}
		if err != nil {
			r.Stop(ctx)
			return nil, err
		}
	}
	return r, nil
}

func (r *Running) lock(role string) error {
	release, err := bus.LockRole(r.cfg.StateDir, role)
	if err != nil {
		return err
	}
	r.files = append(r.files, release)
	if r.Realm == nil {
		r.Realm, err = bus.OpenRealm(filepath.Join(r.cfg.StateDir, "keys"))
	}
	return err
}

// Failed gives the error of a service that ended by itself.
func (r *Running) Failed() <-chan error { return r.failed }

// Stop ends this machine's workers and then the services. Each worker finishes what it has, while queen
// and bus are still there, for DrainTimeout at most; when ctx ends they are killed at once. Workers of
// other machines, and those of a hive that is not ours, live on.
func (r *Running) Stop(ctx context.Context) {
	if r.hive != nil {
		r.hive.StopWorkers(ctx, r.cfg.DrainTimeout)
		r.hive = nil
	}
	for _, role := range []string{RoleQueen, RoleHive, RoleBus} {
		if stop := r.services[role]; stop != nil {
			stop()
		}
	}
	r.services = map[string]func(){}
	for _, stop := range slices.Backward(r.files) {
		stop()
	}
	r.files = nil
}

func (r *Running) startBus(context.Context) error {
	s, err := natsd.Start(natsd.Config{Listen: r.cfg.NATS, Monitor: r.cfg.Monitor, StoreDir: filepath.Join(r.cfg.StateDir, "nats"),
		Realm: r.Realm, Log: r.cfg.Log})
	if err != nil {
		return err
	}
	r.Address.NATS = s.URL()
	r.services[RoleBus] = s.Stop
	return nil
}

// connect is name in role on the bus.
func (r *Running) connect(ctx context.Context, role bus.Role, name string) (*bus.Conn, error) {
	file, err := r.Realm.Creds(role, name, 0)
	if err != nil {
		return nil, err
	}
	creds, err := bus.ParseCredentials(file)
	if err != nil {
		return nil, err
	}
	return bus.Connect(ctx, bus.Config{URL: r.Address.NATS, Credentials: creds, Log: r.cfg.Log, Wait: !r.cfg.has(RoleBus)})
}

// service is what queen and hive are to solo.
type service interface {
	Run(ctx context.Context) error
	Ready() <-chan struct{}
}

// run starts s and waits until it is ready. Its end by itself is told on Failed.
func (r *Running) run(ctx context.Context, name string, s service, conn *bus.Conn) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var err error // of s.Run; read after ended
	go func() {
		defer close(ended)
		if err = s.Run(life); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			r.failed <- err // has room for one of each role
		}
	}()
	r.services[name] = func() {
		cancel()
		<-ended
		conn.Close()
	}
	select {
	case <-s.Ready():
		return nil
	case <-ended:
		return err
	case <-ctx.Done():
		return messages.Errorf(messages.CodeCancelled, "up", "stopped before the %s was ready", name)
	}
}

func (r *Running) startHive(ctx context.Context) error {
	id := hive.DefaultName("")
	conn, err := r.connect(ctx, bus.RoleHive, id)
	if err != nil {
		return err
	}
	h, err := hive.New(hive.Config{ID: messages.HiveID(id), Version: r.cfg.Version, DataDir: r.cfg.DataDir, ServerURL: r.Address.NATS,
		Provision: r.cfg.Provision}, conn, r.cfg.Log)
	if err != nil {
		conn.Close()
		return err
	}
	r.hive = h
	return r.run(ctx, RoleHive, h, conn)
}

func (r *Running) startQueen(ctx context.Context) error {
	ln, err := queen.ListenLoopback(r.cfg.HTTP)
	if err != nil {
		return err
	}
	conn, err := r.connect(ctx, bus.RoleQueen, "queen")
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	q, err := queen.New(queen.Config{Name: "queen", Version: r.cfg.Version, Route: r.cfg.Route, OrphanAfter: r.cfg.OrphanAfter}, conn, r.Realm, ln, r.cfg.Log)
	if err != nil {
		conn.Close()
		return errors.Join(err, ln.Close())
	}
	r.Address.HTTP = ln.Addr().String()
	return r.run(ctx, RoleQueen, q, conn)
}

const addressFile = "server.json"

// WriteAddress lets the commands on this data dir find what runs; Stop removes it again. Of roles that
// run apart the bus writes it, or the queen when the bus is another's.
func (r *Running) WriteAddress() error {
	_, there := ReadAddress(r.cfg.StateDir)
	if !r.cfg.has(RoleBus) && (there || !r.cfg.has(RoleQueen)) {
		return nil
	}
	data, err := json.Marshal(r.Address)
	if err != nil {
		return err
	}
	path := filepath.Join(r.cfg.StateDir, addressFile)
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil {
		return fmt.Errorf("write address: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write address: %w", err)
	}
	r.files = append(r.files, func() {
		if a, ok := ReadAddress(r.cfg.StateDir); ok && a.PID == os.Getpid() {
			_ = os.Remove(path)
		}
	})
	return nil
}

// ReadAddress finds what `rbee up` runs on dataDir; ok is false if it says nothing.
func ReadAddress(dataDir string) (a Address, ok bool) {
	data, err := os.ReadFile(filepath.Join(dataDir, addressFile))
	if err != nil || json.Unmarshal(data, &a) != nil || a.NATS == "" {
		return Address{}, false
	}
	return a, true
}

// FreeAddr is host:port for a port that the system chooses when it is listened on.
var FreeAddr = net.JoinHostPort("127.0.0.1", "0")

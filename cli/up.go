package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/services/hive"
	"github.com/rbee-project/rbee/services/queen"
)

type upCmd struct {
	HTTP         string        `help:"Address of the OpenAI-compatible port; loopback only." default:"127.0.0.1:7833"`
	NATS         string        `help:"Address of the bus; loopback only." default:"127.0.0.1:4222" name:"nats"`
	Monitor      string        `help:"Address of NATS's monitoring pages; empty for none." default:"127.0.0.1:8222"`
	Roles        []string      `help:"What to run here." default:"bus,queen,hive"`
	Route        string        `help:"How requests reach workers: auto, bus or direct." enum:"auto,bus,direct" default:"auto"`
	OrphanAfter  time.Duration `help:"How long a worker lives without a bus." default:"10m"`
	DrainTimeout time.Duration `help:"How long Ctrl-C lets answers finish." default:"30s"`

	hive.Provision
}

// Run is in the foreground until Ctrl-C or TERM; a second one kills the workers, a third this process.
func (c *upCmd) Run(a *app) error {
	ctx, stop := signal.NotifyContext(a.ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	queen.Version, hive.Version = Version, Version
	r, err := solo.Start(ctx, solo.Config{DataDir: a.DataDir, HTTP: c.HTTP, NATS: c.NATS, Monitor: c.Monitor, Roles: c.Roles, Route: c.Route,
		OrphanAfter: c.OrphanAfter, DrainTimeout: c.DrainTimeout, Version: Version, Log: a.log,
		Provision: c.Provision})
	if err != nil {
		return err
	}
	err = c.introduce(a, r)
	if err == nil {
		select {
		case err = <-r.Failed():
		case <-ctx.Done():
			fmt.Fprintln(a.stderr, "stopping: workers finish what they have (Ctrl-C again kills them)")
		}
	}
	again, done := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
	stop()
	defer done()
	defer context.AfterFunc(again, func() { signal.Reset() })() // a third has its default effect
	r.Stop(again)
	return err
}

// introduce writes what other commands need to find this one, and says where it is.
func (c *upCmd) introduce(a *app, r *solo.Running) error {
	if err := r.WriteAddress(); err != nil {
		return err
	}
	for _, role := range []bus.Role{bus.RoleAdmin, bus.RoleObserver} {
		path := filepath.Join(a.DataDir, "creds", string(role)+".creds")
		if err := ensureCreds(r.Realm, role, path); err != nil {
			return err
		}
		if err := writeContext(role, r.Address.NATS, path); err != nil {
			a.log.Warn("nats context not written", "error", err)
		}
	}
	if r.Address.HTTP != "" {
		fmt.Fprintf(a.stderr, "rbee is up: http://%s/v1, bus %s, data in %s\n", r.Address.HTTP, r.Address.NATS, a.DataDir)
	} else {
		fmt.Fprintf(a.stderr, "rbee is up: bus %s, data in %s\n", r.Address.NATS, a.DataDir)
	}
	return nil
}

// localName is the name in the credentials that `rbee up` makes for this machine.
const localName = "local"

// ensureCreds makes a credentials file of the realm, 0600, anew: the keys may have changed.
func ensureCreds(realm *bus.Realm, role bus.Role, path string) error {
	file, err := realm.Creds(role, localName, 0)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, file, 0o600); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	return nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/services/hive"
)

// loneOrphanAfter is how long the workers of a lone run outlive it, should it be killed.
const loneOrphanAfter = 15 * time.Second

const lonePrefix = "rbee-run-"

// queenOrLone connects to a queen that runs, or starts one for the time of the command: only if no server
// was named and none answers. stop is nil for one that runs already.
func (a *app) queenOrLone(ctx context.Context, offline bool) (c *client, stop func(), err error) {
	if c, err = a.connect(ctx); err == nil || a.Server != "" {
		return c, nil, err
	}
	sweepLone()
	state, err := os.MkdirTemp("", lonePrefix) // 0700
	if err != nil {
		return nil, nil, fmt.Errorf("temporary folder: %w", err)
	}
	s, err := solo.Start(ctx, solo.Config{DataDir: a.DataDir, StateDir: state, HTTP: solo.FreeAddr, NATS: solo.FreeAddr,
		Roles: []string{solo.RoleBus, solo.RoleQueen, solo.RoleHive}, OrphanAfter: loneOrphanAfter, DrainTimeout: 5 * time.Second,
		Version: Version, Log: a.log, Provision: hive.Provision{Offline: offline}})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(state))
	}
	stop = func() { s.Stop(context.WithoutCancel(ctx)); _ = os.RemoveAll(state) }
	path := filepath.Join(state, "creds", "admin.creds")
	if err = ensureCreds(s.Realm, bus.RoleAdmin, path); err == nil {
		lone := *a
		lone.Server, lone.Creds = s.Address.NATS, path
		c, err = lone.connect(ctx)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return c, stop, nil
}

// sweepLone removes the folders of lone runs that were killed: nobody holds their lock, and they are
// not just being made.
func sweepLone() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), lonePrefix+"*"))
	for _, d := range dirs {
		if st, err := os.Stat(d); err != nil || time.Since(st.ModTime()) < time.Minute {
			continue
		}
		if release, err := bus.LockRole(d, solo.RoleBus); err == nil {
			_ = os.RemoveAll(d)
			release()
		}
	}
}

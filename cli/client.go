package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/messages"
)

const defaultServer = "nats://127.0.0.1:4222"

// client is a connection to a queen that answers.
type client struct {
	*bus.Conn
	status messages.StatusReply
}

// connect finds the queen: --server and --creds, else what `rbee up` left in the data dir.
func (a *app) connect(ctx context.Context) (*client, error) {
	server := a.Server
	if server == "" {
		server = defaultServer
		if addr, ok := solo.ReadAddress(a.DataDir); ok {
			server = addr.NATS
		}
	}
	path := a.Creds
	if path == "" {
		path = adminCreds(a.DataDir)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, messages.Errorf(messages.CodeUnavailable, "connect", "no queen runs on %s and no credentials are given", a.DataDir).
				WithHint("start one with: rbee up, or name another's with --server and --creds")
		}
	}
	creds, err := bus.ReadCredentials(path)
	if err != nil {
		return nil, err
	}
	conn, err := bus.Connect(ctx, bus.Config{URL: server, Credentials: creds, Log: a.log})
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn}
	ask, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := conn.Request(ask, messages.QueenSubject(messages.OpStatus), &messages.Done{}, &c.status); err != nil {
		conn.Close()
		return nil, messages.Errorf(messages.CodeUnavailable, "connect", "no queen answers on %s: %w", server, err).WithHint("start one with: rbee up")
	}
	return c, nil
}

func adminCreds(dataDir string) string { return filepath.Join(dataDir, "creds", "admin.creds") }

// with runs fn with a connection to the queen; an interrupt ends it.
func (a *app) with(fn func(ctx context.Context, c *client) error) error {
	ctx, stop := a.interruptible()
	defer stop()
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return fn(ctx, c)
}

// do is a subject on which this client asks for a change.
func (c *client) do(op string) string { return messages.DoSubject(c.Caller, op) }

// local says whether the hive is on this machine, so that a path here is a path there.
func (c *client) local(ctx context.Context, hive messages.HiveID) bool {
	host, err := os.Hostname()
	if err != nil {
		return false
	}
	var hives messages.HiveListReply
	if c.Request(ctx, messages.QueenSubject(messages.OpHiveList), &messages.Done{}, &hives) != nil {
		return false
	}
	for _, h := range hives.Hives {
		if (hive == "" || h.ID == hive) && h.Host == host {
			return true
		}
	}
	return false
}

// callOff cancels a job whose requester was interrupted.
func (c *client) callOff(ctx context.Context, id messages.JobID) {
	if ctx.Err() == nil {
		return
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	_ = c.Request(bye, c.do(messages.OpJobCancel), &messages.JobRef{Job: id}, nil)
}

package hive

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// Version is set when the binary is built.
var Version = "dev"

type flags struct {
	Server  string `help:"NATS server." default:"nats://127.0.0.1:4222" env:"RBEE_SERVER"`
	Creds   string `help:"Credentials file of role hive. Default: made from the keys in the data dir." env:"RBEE_CREDS" type:"path"`
	DataDir string `help:"Folder of models, engines and logs." required:"" env:"RBEE_DATA_DIR" type:"path"`
	Name    string `help:"Id of this hive. Default: its credentials' name, else the host's." env:"RBEE_NAME"`

	Provision

	StopWorkers  bool          `help:"On TERM, drain and end this machine's workers; else they live on." env:"RBEE_STOP_WORKERS"`
	DrainTimeout time.Duration `help:"How long they may finish what they have." default:"30s" env:"RBEE_DRAIN_TIMEOUT"`
}

// Main is the service binary: it returns the exit code, 0 done, 1 failed, 2 misused.
func Main(args []string, stderr io.Writer) int {
	var f flags
	parser, err := kong.New(&f, kong.Name("rbee-hive"), kong.Description("Spawns workers on this machine for a queen."), kong.Writers(stderr, stderr))
	if err == nil {
		_, err = parser.Parse(args)
	}
	if err != nil {
		fmt.Fprintln(stderr, "rbee-hive:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := f.run(ctx, slog.New(slog.NewJSONHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "rbee-hive:", err)
		return 1
	}
	return 0
}

func (f *flags) run(ctx context.Context, log *slog.Logger) error {
	release, err := bus.LockRole(f.DataDir, "hive")
	if err != nil {
		return err
	}
	defer release()
	creds, err := f.credentials()
	if err != nil {
		return err
	}
	conn, err := bus.Connect(ctx, bus.Config{URL: f.Server, Credentials: creds, Log: log, Wait: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	h, err := New(Config{ID: messages.HiveID(creds.Name), Version: Version, DataDir: f.DataDir, ServerURL: f.Server,
		Provision: f.Provision}, conn, log)
	if err != nil {
		return err
	}
	if !f.StopWorkers {
		return h.Run(ctx)
	}
	// The hive outlives the signal until its workers have ended; a second one kills them.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() {
		defer end()
		now, stop := signal.NotifyContext(life, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		h.StopWorkers(now, f.DrainTimeout)
	})()
	return h.Run(life)
}

// credentials of a hive carry its id: the server holds it to that name.
func (f *flags) credentials() (*bus.Credentials, error) {
	if f.Creds != "" {
		c, err := bus.ReadCredentials(f.Creds)
		if err == nil && f.Name != "" && f.Name != c.Name {
			err = messages.Errorf(messages.CodeBadRequest, "hive", "--name %s, but the credentials are for %s", f.Name, c.Name)
		}
		return c, err
	}
	realm, err := bus.OpenRealm(filepath.Join(f.DataDir, "keys"))
	if err != nil {
		return nil, err
	}
	file, err := realm.Creds(bus.RoleHive, DefaultName(f.Name), 0)
	if err != nil {
		return nil, err
	}
	return bus.ParseCredentials(file)
}

// DefaultName is name, or the host's name as an id.
func DefaultName(name string) string {
	if name != "" {
		return name
	}
	host, _ := os.Hostname()
	return messages.IDFrom(host, "hive")
}

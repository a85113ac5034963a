package queen

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	Server      string        `help:"NATS server." default:"nats://127.0.0.1:4222" env:"RBEE_SERVER"`
	Creds       string        `help:"Credentials file of role queen. Default: made from the keys in the data dir." env:"RBEE_CREDS" type:"path"`
	DataDir     string        `help:"Folder with the realm's keys." required:"" env:"RBEE_DATA_DIR" type:"path"`
	Name        string        `help:"Name of this queen." default:"queen" env:"RBEE_NAME"`
	HTTP        string        `help:"Address of the HTTP port; loopback only." default:"127.0.0.1:7833" env:"RBEE_HTTP"`
	Route       string        `help:"How requests reach workers: auto, bus or direct." enum:"auto,bus,direct" default:"auto" env:"RBEE_ROUTE"`
	OrphanAfter time.Duration `help:"How long a worker lives without a bus." default:"10m" env:"RBEE_ORPHAN_AFTER"`
}

// Main is the service binary: it returns the exit code, 0 done, 1 failed, 2 misused.
func Main(args []string, stderr io.Writer) int {
	var f flags
	parser, err := kong.New(&f, kong.Name("rbee-queen"), kong.Description("Orchestrates workers and hives over NATS."),
		kong.Writers(stderr, stderr), kong.Vars{"version": Version})
	if err == nil {
		_, err = parser.Parse(args)
	}
	if err != nil {
		fmt.Fprintln(stderr, "rbee-queen:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := f.run(ctx, slog.New(slog.NewJSONHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "rbee-queen:", err)
		return 1
	}
	return 0
}

func (f *flags) run(ctx context.Context, log *slog.Logger) error {
	release, err := bus.LockRole(f.DataDir, "queen")
	if err != nil {
		return err
	}
	defer release()
	realm, err := bus.OpenRealm(filepath.Join(f.DataDir, "keys"))
	if err != nil {
		return err
	}
	creds, err := f.credentials(realm)
	if err != nil {
		return err
	}
	ln, err := ListenLoopback(f.HTTP)
	if err != nil {
		return err
	}
	conn, err := bus.Connect(ctx, bus.Config{URL: f.Server, Credentials: creds, Log: log, Wait: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	q, err := New(Config{Name: creds.Name, Version: Version, Route: f.Route, OrphanAfter: f.OrphanAfter}, conn, realm, ln, log)
	if err != nil {
		return err
	}
	return q.Run(ctx)
}

func (f *flags) credentials(realm *bus.Realm) (*bus.Credentials, error) {
	if f.Creds != "" {
		return bus.ReadCredentials(f.Creds)
	}
	file, err := realm.Creds(bus.RoleQueen, f.Name, 0)
	if err != nil {
		return nil, err
	}
	return bus.ParseCredentials(file)
}

// ListenLoopback listens on addr, which must be this machine's loopback: until keys and TLS exist
// no other is allowed.
func ListenLoopback(addr string) (net.Listener, error) {
	if err := CheckLoopback(addr); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, messages.Errorf(messages.CodeConflict, "http", "cannot listen on %s: %w", addr, err).
			WithHint("something else runs there; stop it, or choose another address with --http")
	}
	return ln, nil
}

// CheckLoopback refuses an address that other machines could reach.
func CheckLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return messages.Errorf(messages.CodeBadRequest, "listen", "%q is not host:port", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return messages.Errorf(messages.CodeDenied, "listen", "%s is not loopback: other machines could use it without a key", addr).
			WithHint("use 127.0.0.1; keys and TLS are not there yet")
	}
	return nil
}

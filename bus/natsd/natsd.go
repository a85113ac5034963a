// Package natsd runs a NATS server inside this process, with JetStream on disk and the realm's
// accounts. Everything dials it over loopback TCP, as it would an external one.
package natsd

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// Config of the embedded server.
type Config struct {
	Listen string // host:port; port 0 takes a free one
	// Monitor is host:port of NATS's monitoring pages; "" for none.
	Monitor  string
	StoreDir string // JetStream's files
	Realm    *bus.Realm
	// NoDisconnects leaves the server's disconnect events out, as on a NATS system that others run.
	NoDisconnects bool
	Log           *slog.Logger
}

// Server is a running embedded server.
type Server struct {
	s      *server.Server
	log    *slog.Logger
	store  server.JetStreamConfig
	unlock func()
	broken atomic.Bool   // a stream's file could not be written
	quit   chan struct{} // closed by Stop
	done   chan struct{} // closed when nothing keeps the store any more
}

// Start runs the server and returns when it accepts connections, or says why it does not: a busy
// port is [messages.CodeConflict]. A store that cannot be used is no reason not to start: messages are
// carried without it, and it is tried again every 2 s.
func Start(cfg Config) (*Server, error) {
	if err := checkFree(cfg.Listen); err != nil {
		return nil, err
	}
	if cfg.Monitor != "" {
		if err := checkFree(cfg.Monitor); err != nil {
			return nil, err
		}
	}
	opts, err := options(cfg)
	if err != nil {
		return nil, err
	}
	// Beside the store, which may be a read-only disk.
	unlock, err := bus.LockRole(filepath.Dir(opts.StoreDir), "store")
	if err != nil {
		return nil, err
	}
	store := server.JetStreamConfig{StoreDir: opts.StoreDir, Domain: opts.JetStreamDomain, MaxMemory: opts.JetStreamMaxMemory}
	opts.JetStream, opts.JetStreamDomain = false, "" // it would not listen if the store were broken
	s, err := server.NewServer(opts)
	if err != nil {
		unlock()
		return nil, messages.Errorf(messages.CodeInternal, "bus", "NATS server: %w", err)
	}
	n := &Server{s: s, log: cfg.Log, store: store, unlock: unlock, quit: make(chan struct{}), done: make(chan struct{})}
	s.SetLoggerV2(&logger{log: cfg.Log, failed: n.storeFailed}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		close(n.done)
		n.Stop()
		return nil, messages.Errorf(messages.CodeInternal, "bus", "the NATS server did not come up within 20 s")
	}
	n.openStore()
	go n.keepStore()
	return n, nil
}

// URL is where clients connect.
func (s *Server) URL() string { return s.s.ClientURL() }

// Stop ends the server and returns when its files are closed. There is no lame-duck wait: our
// clients reconnect by themselves.
func (s *Server) Stop() {
	close(s.quit)
	<-s.done
	s.s.Shutdown()
	s.s.WaitForShutdown()
	s.unlock()
}

// ConfigText is the configuration as a nats-server reads it: embedded and external are the same.
func ConfigText(cfg Config) (string, error) {
	realm, err := cfg.Realm.ServerConfig(!cfg.NoDisconnects)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "listen: %q\nserver_name: rbee\nping_interval: \"5s\"\nping_max: 2\nwrite_deadline: \"10s\"\n", natsPort(cfg.Listen))
	if cfg.Monitor != "" {
		fmt.Fprintf(&b, "http: %q\n", natsPort(cfg.Monitor))
	}
	fmt.Fprintf(&b, "max_payload: %d\njetstream { store_dir: %q, domain: rbee, max_memory_store: 64MB }\n", messages.MaxPayload, cfg.StoreDir)
	b.WriteString(realm)
	return b.String(), nil
}

// natsPort writes "any free port" as NATS does.
func natsPort(addr string) string {
	if host, ok := strings.CutSuffix(addr, ":0"); ok {
		return host + ":-1"
	}
	return addr
}

func options(cfg Config) (*server.Options, error) {
	abs, err := filepath.Abs(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, messages.Errorf(messages.CodeInternal, "bus", "cannot make the store: %w", err)
	}
	cfg.StoreDir = abs
	text, err := ConfigText(cfg)
	if err != nil {
		return nil, err
	}
	o := &server.Options{}
	if err := o.ProcessConfigString(text); err != nil {
		return nil, fmt.Errorf("server configuration: %w", err)
	}
	o.NoSigs = true
	return o, nil
}

// checkFree finds a busy port before the server does, which would end the process.
func checkFree(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return messages.Errorf(messages.CodeConflict, "bus", "cannot listen on %s: %w", addr, err).
			WithHint("something else runs there; stop it, or choose another address with --nats")
	}
	return ln.Close()
}

// logger turns the server's log into slog; only what an operator must see is louder than debug.
type logger struct {
	log    *slog.Logger
	failed func(text string) // told of every error
}

func (l *logger) Noticef(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l *logger) Warnf(f string, v ...any)   { l.log.Warn("nats: " + fmt.Sprintf(f, v...)) }
func (l *logger) Fatalf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l *logger) Errorf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	l.failed(text)
	l.log.Error("nats: " + text)
}
func (l *logger) Debugf(string, ...any) {}
func (l *logger) Tracef(string, ...any) {}

// Package bustest gives a test a NATS server of its own, with real accounts and roles. Every
// connection fails the test when the server reports an error that nobody asked for.
package bustest

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/natsd"
)

// Server is a running server and the realm that it trusts.
type Server struct {
	Realm *bus.Realm
	URL   string

	cfg natsd.Config
	s   *natsd.Server
}

// Start runs a server on a free loopback port until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	realm, err := bus.OpenRealm(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Realm: realm, cfg: natsd.Config{Listen: "127.0.0.1:0", StoreDir: filepath.Join(dir, "nats"), Realm: realm,
		Log: slog.New(slog.DiscardHandler)}}
	s.start(t)
	t.Cleanup(func() { s.Stop() })
	return s
}

func (s *Server) start(t testing.TB) {
	t.Helper()
	var err error
	if s.s, err = natsd.Start(s.cfg); err != nil {
		t.Fatal(err)
	}
	s.URL = s.s.URL()
	s.cfg.Listen = s.URL[len("nats://"):]
}

// Stop ends the server; its files stay until the test ends.
func (s *Server) Stop() {
	if s.s != nil {
		s.s.Stop()
		s.s = nil
	}
}

// Restart ends the server and runs it again on the same port and files.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.start(t)
}

// Credentials are for name in role.
func (s *Server) Credentials(t testing.TB, role bus.Role, name string) *bus.Credentials {
	t.Helper()
	file, err := s.Realm.Creds(role, name, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bus.ParseCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Connect is name in role; the connection ends with the test. An error that the server reports
// fails the test.
func (s *Server) Connect(t testing.TB, role bus.Role, name string) *bus.Conn {
	t.Helper()
	c := s.ConnectLoose(t, role, name)
	c.OnError(func(err error) { t.Errorf("%s: the server reports: %v", c.Caller, err) })
	return c
}

// ConnectLoose is Connect for a test that expects such errors.
func (s *Server) ConnectLoose(t testing.TB, role bus.Role, name string) *bus.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := bus.Connect(ctx, bus.Config{URL: s.URL, Credentials: s.Credentials(t, role, name)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

package solo_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/messages"
)

func TestMain(m *testing.M) { bustest.VerifyNoLeaks(m) }

func config(dir string, roles ...string) solo.Config {
	return solo.Config{DataDir: dir, HTTP: solo.FreeAddr, NATS: solo.FreeAddr, Roles: roles, Version: "dev", Log: slog.New(slog.DiscardHandler)}
}

func start(t *testing.T, cfg solo.Config) *solo.Running {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := solo.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Stop(context.Background()) })
	return r
}

// admin is a client of r.
func admin(t *testing.T, r *solo.Running) *bus.Conn {
	t.Helper()
	file, err := r.Realm.Creds(bus.RoleAdmin, "test", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := bus.ParseCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bus.Connect(context.Background(), bus.Config{URL: r.Address.NATS, Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// hives asks the queen until it knows one.
func hives(t *testing.T, c *bus.Conn) messages.HiveListReply {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		var got messages.HiveListReply
		if err := c.Request(ctx, messages.QueenSubject(messages.OpHiveList), &messages.Done{}, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Hives) > 0 {
			return got
		}
	}
}

func TestAllRolesStartAndLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	r := start(t, config(dir, solo.RoleBus, solo.RoleQueen, solo.RoleHive))
	if err := r.WriteAddress(); err != nil {
		t.Fatal(err)
	}
	if a, ok := solo.ReadAddress(dir); !ok || a != r.Address {
		t.Errorf("address %+v, %v", a, ok)
	}
	resp, err := http.Get("http://" + r.Address.HTTP + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var health map[string]string
	if err := json.NewDecoder(resp.Body).Decode(&health); err != nil || resp.StatusCode != 200 || health["status"] != "ok" {
		t.Errorf("health: %d %v %v", resp.StatusCode, health, err)
	}
	http.DefaultClient.CloseIdleConnections()
	if h := hives(t, admin(t, r)); h.Hives[0].MemoryTotalBytes == 0 {
		t.Errorf("hives %+v", h)
	}
	r.Stop(context.Background())
	if _, ok := solo.ReadAddress(dir); ok {
		t.Error("the address file stays")
	}
	keys, err := filepath.Glob(filepath.Join(dir, "keys", "*"))
	if err != nil || len(keys) < 9 {
		t.Errorf("keys %q %v", keys, err)
	}
	for _, k := range keys {
		if st, err := os.Stat(k); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", k, st.Mode(), err)
		}
	}
}

// The roles run apart on one data dir, and each can be started again alone.
func TestRolesApart(t *testing.T) {
	dir := t.TempDir()
	b := start(t, config(dir, solo.RoleBus))
	at := config(dir)
	at.NATS = b.Address.NATS[len("nats://"):]
	at.Roles = []string{solo.RoleQueen}
	q := start(t, at)
	at.Roles = []string{solo.RoleHive}
	start(t, at)
	c := admin(t, b)
	hives(t, c)
	q.Stop(context.Background())
	at.Roles = []string{solo.RoleQueen}
	start(t, at)
	hives(t, c)
}

func TestStartFailsWhole(t *testing.T) {
	dir := t.TempDir()
	first := start(t, config(dir, solo.RoleBus))
	for name, cfg := range map[string]solo.Config{
		"the same role":   config(dir, solo.RoleBus, solo.RoleQueen),
		"an unknown role": config(t.TempDir(), "king"),
	} {
		if r, err := solo.Start(context.Background(), cfg); err == nil {
			r.Stop(context.Background())
			t.Errorf("%s: no error", name)
		}
	}
	open := config(t.TempDir(), solo.RoleBus)
	open.NATS = "0.0.0.0:0"
	if _, err := solo.Start(context.Background(), open); messages.CodeOf(err) != messages.CodeDenied {
		t.Errorf("an open address: %v", err)
	}
	busy := config(t.TempDir(), solo.RoleBus)
	busy.NATS = first.Address.NATS[len("nats://"):]
	if _, err := solo.Start(context.Background(), busy); messages.CodeOf(err) != messages.CodeConflict {
		t.Errorf("a busy port: %v", err)
	}
}

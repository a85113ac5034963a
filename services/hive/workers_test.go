package hive

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/spawn"
)

// TestMain is also the fake worker: it listens on its port and waits, or ends as its mode says.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "fake-kin" {
		os.Exit(fakeKin(os.Args[2], os.Args[3]))
	}
	if len(os.Args) > 2 && os.Args[1] == "fake-worker" {
		os.Exit(fakeWorker(os.Args[2], os.Args[3:]))
	}
	bustest.VerifyNoLeaks(m)
}

// fixture is a hive on a real bus, with a queen that signs.
type fixture struct {
	dir    string
	bus    *bustest.Server
	worker string // the fake's path
	stop   func() // ends the hive
	queen  *bus.Conn
	events chan messages.WorkerExited
	hive   *Hive
}

func start(t *testing.T, mode string, sign bool) *fixture {
	t.Helper()
	s := bustest.Start(t)
	f := &fixture{dir: t.TempDir(), bus: s, queen: s.Connect(t, bus.RoleQueen, "queen"), events: make(chan messages.WorkerExited, 16)}
	lib := t.TempDir()
	if err := os.WriteFile(filepath.Join(lib, "libllama.so"), []byte("a fake"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RBEE_LLAMA_LIB", lib)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f.worker = filepath.Join(f.dir, "fake-rbee-worker")
	if err := os.WriteFile(f.worker, []byte("#!/bin/sh\nexec "+self+" fake-worker "+mode+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	svc, err := f.queen.Serve(t.Context(), "rbee-queen", "dev", "fake", []bus.Endpoint{{Name: "sign", Subject: messages.DoSubject("*", messages.OpSign),
		Handle: bus.Handle(func(_ context.Context, _ *bus.Call, r *messages.SignRequest) (*messages.SignReply, error) {
			if !sign {
				return nil, messages.Errorf(messages.CodeDenied, messages.OpSign, "not told to")
			}
			token, expires, err := s.Realm.Mint(bus.RoleWorker, string(r.Worker), r.PublicKey, time.Hour)
			return &messages.SignReply{JWT: token, ExpiresAt: expires}, err
		})}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	stop, err := f.queen.Subscribe(messages.WorkerExitWildcard, func(m bus.Msg) {
		var e messages.WorkerExited
		if json.Unmarshal(m.Data, &e) == nil {
			f.events <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	f.run(t)
	return f
}

// run starts a hive on the fixture's data dir; an earlier one must have been stopped.
func (f *fixture) run(t *testing.T) {
	t.Helper()
	var err error
	f.hive, err = New(Config{ID: "h1", DataDir: f.dir, ServerURL: f.bus.URL, WorkerBin: f.worker}, f.bus.ConnectLoose(t, bus.RoleHive, "h1"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.hive.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("hive: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the hive does not stop")
		}
	})
	t.Cleanup(f.stop)
	select {
	case <-f.hive.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("the hive is not ready")
	}
}

// spawn starts a worker, which ends with the test at the latest.
func (f *fixture) spawn(t *testing.T, req messages.SpawnRequest) messages.SpawnResult {
	t.Helper()
	var r messages.SpawnResult
	if err := f.ask(t, messages.OpSpawn, &req, &r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = spawn.Kill(context.Background(), r.PID, r.StartTime, 0) }) // most often it is gone
	return r
}

func (f *fixture) ask(t *testing.T, op string, req, reply any) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return f.queen.Request(ctx, messages.HiveSubject("h1", op), req, reply)
}

func (f *fixture) exit(t *testing.T) messages.WorkerExited {
	t.Helper()
	select {
	case e := <-f.events:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no exit report")
		return messages.WorkerExited{}
	}
}

var request = messages.SpawnRequest{Job: "j", ID: "w1", Model: "builtin:bee-tiny"}

func TestSpawnAndKill(t *testing.T) {
	f := start(t, "serves", true)
	r := f.spawn(t, request)
	if r.WorkerID != "w1" || r.ModelID != "builtin:bee-tiny" || r.PID == 0 || r.Port == 0 || r.StartTime == 0 {
		t.Errorf("got %+v", r)
	}
	creds := filepath.Join(f.dir, "workers", "w1", "creds")
	for path, want := range map[string]os.FileMode{creds: 0o600, filepath.Dir(creds): 0o700} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", r.PID))
	if err != nil || strings.Contains(string(argv), "BEGIN") || !strings.Contains(string(argv), "--queen-url\x00nats://") {
		t.Errorf("argv %q %v", argv, err)
	}
	// Another start time is another process: nothing is signalled.
	kill := messages.KillRequest{Worker: "w1", PID: r.PID, StartTime: r.StartTime + 1}
	if err := f.ask(t, messages.OpKill, &kill, nil); messages.CodeOf(err) != messages.CodeConflict {
		t.Errorf("a reused pid: %v", err)
	}
	if st, err := spawn.StartTime(r.PID); err != nil || st != r.StartTime {
		t.Fatalf("it does not live: %v", err)
	}
	kill.StartTime = r.StartTime
	if err := f.ask(t, messages.OpKill, &kill, nil); err != nil {
		t.Fatal(err)
	}
	if e := f.exit(t); e.Worker != "w1" || e.Signal != "SIGKILL" || e.Code != -1 || e.PID != r.PID || e.StartTime != r.StartTime {
		t.Errorf("report %+v", e)
	}
	if _, err := os.Stat(filepath.Dir(creds)); err == nil {
		t.Error("the credentials stay")
	}
	if err := f.ask(t, messages.OpKill, &kill, nil); messages.CodeOf(err) != messages.CodeNotFound {
		t.Errorf("killing it again: %v", err)
	}
}

func TestSpawnFails(t *testing.T) {
	long := longModel(t)
	for name, tc := range map[string]struct {
		mode string
		sign bool
		edit func(*messages.SpawnRequest)
		want messages.Code
		says string
	}{
		"the port is always taken": {"busy", true, nil, messages.CodeSpawnFailed, "98"},
		"it ends at once":          {"fails", true, nil, messages.CodeSpawnFailed, "the last words"},
		"the queen does not sign":  {"serves", false, nil, messages.CodeDenied, "not told"},
		"no such model":            {"serves", true, func(r *messages.SpawnRequest) { r.Model = "/no/such.gguf" }, messages.CodeModelUnknown, "h1"},
		"too large": {"serves", true, func(r *messages.SpawnRequest) {
			r.Model, r.ContextLength, r.Slots = long, messages.MaxContext, messages.MaxSlots
		}, messages.CodeNoMemory, "--force"},
		"a bad id": {"serves", true, func(r *messages.SpawnRequest) { r.ID = "../x" }, messages.CodeBadRequest, "worker id"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, tc.mode, tc.sign)
			r := request
			if tc.edit != nil {
				tc.edit(&r)
			}
			err := f.ask(t, messages.OpSpawn, &r, nil)
			if messages.CodeOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(f.dir, "workers", "*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if tc.mode == "busy" {
				for range portTries {
					f.exit(t)
				}
			}
		})
	}
}

// What is watched already is not watched twice: one end is one report.
func TestWatchTwice(t *testing.T) {
	f := start(t, "serves", true)
	r := f.spawn(t, request)
	watch := messages.WatchRequest{Worker: "w1", Incarnation: "i1", PID: r.PID, StartTime: r.StartTime + 1}
	if err := f.ask(t, messages.OpWatch, &watch, nil); messages.CodeOf(err) != messages.CodeNotFound {
		t.Errorf("another start time: %v", err)
	}
	watch.StartTime = r.StartTime
	for range 2 {
		if err := f.ask(t, messages.OpWatch, &watch, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := f.exit(t); e.Signal != "SIGKILL" || e.PID != r.PID {
		t.Errorf("report %+v", e)
	}
	if err := f.ask(t, messages.OpWatch, &watch, nil); messages.CodeOf(err) != messages.CodeNotFound {
		t.Errorf("a process that is gone: %v", err)
	}
	if len(f.events) > 0 {
		t.Errorf("a second report: %+v", <-f.events)
	}
}

func TestMalformedPayloads(t *testing.T) {
	f := start(t, "serves", true)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, op := range []string{messages.OpSpawn, messages.OpKill, messages.OpWatch, messages.OpLogs, messages.OpModelPull, messages.OpEngineInst, messages.OpJobCancel} {
		for _, data := range []string{"\xdf\xff\xff\xff\xff", "\xc1", "{", `{"id":7,"job":7,"worker":7}`, `{"v":9}`, "\x91\x01"} {
			if _, err := f.queen.RequestRaw(ctx, messages.HiveSubject("h1", op), []byte(data)); err == nil {
				t.Errorf("%s takes %q", op, data)
			}
		}
	}
	for op, req := range map[string]any{
		messages.OpLogs: &messages.LogsRequest{ID: "../../etc/passwd"}, messages.OpWatch: &messages.WatchRequest{Worker: "a/b", PID: 1},
		messages.OpModelPull: &messages.PullRequest{Job: "a.b"}, messages.OpKill: &messages.KillRequest{Worker: "w", PID: -1},
	} {
		if err := f.ask(t, op, req, nil); err == nil {
			t.Errorf("%s takes %+v", op, req)
		}
	}
	if err := f.ask(t, messages.OpLogs, &messages.LogsRequest{ID: "nobody"}, nil); messages.CodeOf(err) != messages.CodeNotFound {
		t.Errorf("log of nobody: %v", err)
	}
}

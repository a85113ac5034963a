package hive

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
	"github.com/rbee-project/rbee/services/hive/spawn"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSpawnedWorkerListensAndGetsItsFlags(t *testing.T) {
	t.Setenv("RBEE_CREDS", "/nowhere") // of the hive; a worker must not read it as its own
	f := start(t, "serves", true)
	req := request
	req.Device, req.Slots, req.ContextLength, req.OrphanAfterMillis = "-odd", 2, 512, math.MaxInt64
	r := f.spawn(t, req)
	c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port)), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if at, err := spawn.StartTime(r.PID); err != nil || at != r.StartTime {
		t.Errorf("start time %d, %v; told %d", at, err, r.StartTime)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", r.PID))
	if err != nil {
		t.Fatal(err)
	}
	argv := strings.ReplaceAll(string(data), "\x00", " ")
	creds := filepath.Join(f.dir, "workers", "w1", "creds")
	for _, want := range []string{"--worker-id w1 ", "--model " + f.dir + "/models/", "--name=builtin:bee-tiny ", "--device=-odd ",
		fmt.Sprintf("--port %d ", r.Port), "--queen-url " + f.bus.URL + " ", "--creds " + creds + " ", "--hive h1 ",
		"--slots 2 ", "--ctx 512 ", "--orphan-after 8760h0m0s "} {
		if !strings.Contains(argv, want) {
			t.Errorf("argv %q lacks %q", argv, want)
		}
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", r.PID))
	if err != nil || strings.Contains(string(env), "RBEE_") {
		t.Errorf("environment %q, %v", env, err)
	}
	own, err := bus.ReadCredentials(creds)
	if err != nil || own.Role != bus.RoleWorker || own.Name != "w1" {
		t.Errorf("credentials %+v, %v", own, err)
	}
}

func TestExitIsReported(t *testing.T) {
	f := start(t, "serves", true)
	r := f.spawn(t, request)
	kill := messages.KillRequest{Worker: "w1", PID: r.PID, StartTime: r.StartTime, GraceMillis: math.MaxInt64}
	if err := f.ask(t, messages.OpKill, &kill, nil); err != nil {
		t.Fatal(err)
	}
	e := f.exit(t) // 3: it took TERM and was given time
	if e.Hive != "h1" || e.Code != 3 || e.Signal != "" || !strings.Contains(e.Stderr, "the last words") || e.At.IsZero() {
		t.Errorf("report %+v", e)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "workers", "w1")); err == nil {
		t.Error("the credentials stay")
	}
}

func TestBusyPortMovesOn(t *testing.T) {
	for mode, ok := range map[string]bool{"busy-twice": true, "busy": false} {
		t.Run(mode, func(t *testing.T) {
			f := start(t, mode, true)
			var r messages.SpawnResult
			err := f.ask(t, messages.OpSpawn, &request, &r)
			if ok != (err == nil) || !ok && messages.CodeOf(err) != messages.CodeSpawnFailed {
				t.Errorf("got %v", err)
			}
			if ok {
				defer func() { _ = spawn.Kill(context.Background(), r.PID, r.StartTime, 0) }()
			}
			data, _ := os.ReadFile(filepath.Join(f.dir, "tries"))
			ports := strings.Fields(string(data))
			slices.Sort(ports)
			if len(ports) != portTries || len(slices.Compact(ports)) < 2 {
				t.Errorf("tried %q", data)
			}
			if _, err := os.Stat(filepath.Join(f.dir, "workers", "w1", "creds")); ok != (err == nil) {
				t.Errorf("credentials: %v", err)
			}
		})
	}
}

// Whoever took the port first answers there, but is not the worker.
func TestAnotherProgramOnThePort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	exited := make(chan spawn.Exit, 1)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.0 200 OK\r\n\r\n{\"id\":\"another\"}"))
			_ = c.Close()
			select {
			case exited <- spawn.Exit{Code: exitBusyPort}:
			default:
			}
		}
	}()
	e, err := waitPort(within(t), t.Context(), ln.Addr().(*net.TCPAddr).Port, "w1", exited)
	if err == nil || e.Code != exitBusyPort {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestRefusedSpawnStartsNothing(t *testing.T) {
	f := start(t, "serves", false)
	if err := f.ask(t, messages.OpSpawn, &request, nil); messages.CodeOf(err) != messages.CodeDenied {
		t.Fatalf("got %v", err)
	}
	for _, name := range []string{"tries", "workers", "logs"} {
		if _, err := os.Stat(filepath.Join(f.dir, name)); err == nil {
			t.Errorf("%s is there: a process was started", name)
		}
	}
}

// longModel is a model that was trained for so long a context that no machine here has the memory.
func longModel(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "long.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := bees.WriteChanged(f, bees.Random, "llama.context_length", uint32(messages.MaxContext)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestForceSkipsTheMemoryCheck(t *testing.T) {
	f := start(t, "serves", true)
	req := request
	req.Model, req.ContextLength, req.Slots = longModel(t), messages.MaxContext, messages.MaxSlots
	if err := f.ask(t, messages.OpSpawn, &req, nil); messages.CodeOf(err) != messages.CodeNoMemory {
		t.Fatalf("got %v", err)
	}
	req.Force = true
	f.spawn(t, req)
}

func TestWorkersOutliveTheirHive(t *testing.T) {
	f := start(t, "serves", true)
	r := f.spawn(t, request)
	f.stop()
	creds := filepath.Join(f.dir, "workers", "w1", "creds")
	if _, err := os.Stat(creds); err != nil {
		t.Fatal(err)
	}
	if at, err := spawn.StartTime(r.PID); err != nil || at != r.StartTime {
		t.Fatalf("the worker is gone: %v", err)
	}
	f.run(t)
	watch := messages.WatchRequest{Worker: "w1", Incarnation: "i1", PID: r.PID, StartTime: r.StartTime}
	if err := f.ask(t, messages.OpWatch, &watch, nil); err != nil {
		t.Fatal(err)
	}
	kill := messages.KillRequest{Worker: "w1", PID: r.PID, StartTime: r.StartTime}
	if err := f.ask(t, messages.OpKill, &kill, nil); err != nil {
		t.Fatal(err)
	}
	if e := f.exit(t); e.Worker != "w1" || e.Incarnation != "i1" || e.PID != r.PID || e.StartTime != r.StartTime {
		t.Errorf("report %+v", e)
	}
	if _, err := os.Stat(filepath.Dir(creds)); err == nil {
		t.Error("the credentials stay")
	}
}

func TestLogs(t *testing.T) {
	f := start(t, "serves", true)
	if err := os.MkdirAll(filepath.Join(f.dir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 300<<10) + "0123456789"
	if err := os.WriteFile(filepath.Join(f.dir, "logs", "w1.log"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	size := int64(len(text))
	for name, tc := range map[string]struct {
		offset, tail int64
		from, to     int64
	}{
		"a short tail":          {-1, 4, size - 4, size},
		"the usual tail":        {-1, 0, size - 64<<10, size},
		"a tail too long":       {-1, math.MaxInt64, size - 64<<10, size},
		"the head":              {0, 0, 0, 256 << 10},
		"the rest":              {256 << 10, 0, 256 << 10, size},
		"nothing new":           {size, 0, size, size},
		"beyond: it was turned": {math.MaxInt64, 10, size - 10, size},
		"far below":             {math.MinInt64, 10, size - 10, size},
	} {
		t.Run(name, func(t *testing.T) {
			var r messages.LogsReply
			err := f.ask(t, messages.OpLogs, &messages.LogsRequest{ID: "w1", Offset: tc.offset, TailBytes: tc.tail}, &r)
			if err != nil || r.Text != text[tc.from:tc.to] || r.Next != tc.to {
				t.Errorf("%d bytes, next %d, %v", len(r.Text), r.Next, err)
			}
		})
	}
}

func TestModels(t *testing.T) {
	f := start(t, "serves", true)
	size := func() int64 {
		var r messages.ModelListReply
		if err := f.ask(t, messages.OpModelList, &messages.Versioned{}, &r); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.Models, func(m messages.Model) bool { return m.ID == "builtin:bee-tiny" })
		if i < 0 || len(r.Models) < 2 {
			t.Fatalf("got %+v", r.Models)
		}
		return r.Models[i].SizeBytes
	}
	if n := size(); n != 0 {
		t.Errorf("not pulled yet, but of %d bytes", n)
	}
	var m messages.Model
	pull := func(job messages.JobID, model string) error {
		return f.queen.RunJob(within(t), messages.HiveSubject("h1", messages.OpModelPull), job, &messages.PullRequest{Job: job, Model: model}, &m, bus.Watcher{})
	}
	if err := f.streams(t); err != nil {
		t.Fatal(err)
	}
	if err := pull("j1", "builtin:bee-tiny"); err != nil || m.Path == "" {
		t.Fatalf("got %+v, %v", m, err)
	}
	if n := size(); n != m.SizeBytes || n == 0 {
		t.Errorf("listed with %d bytes, pulled %d", n, m.SizeBytes)
	}
	if err := pull("j2", "nothing"); messages.CodeOf(err) != messages.CodeModelUnknown {
		t.Errorf("an unknown model: %v", err)
	}
}

func TestBeats(t *testing.T) {
	f := start(t, "serves", true)
	beats := make(chan messages.HiveBeat, 64)
	stop, err := f.queen.Subscribe(messages.HiveBeatWildcard, func(m bus.Msg) {
		var b messages.HiveBeat
		if messages.Decode(m.Data, &b) == nil {
			select {
			case beats <- b:
			default:
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := f.queen.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	next := func(what string) messages.HiveBeat {
		t.Helper()
		select {
		case b := <-beats:
			return b
		case <-within(t).Done():
			t.Fatal("no beat " + what)
			return messages.HiveBeat{}
		}
	}
	f.stop()
	for len(beats) > 0 {
		<-beats
	}
	f.run(t)
	b := next("at the start").Hive
	if b.ID != "h1" || len(b.Devices) == 0 || len(b.Engines) != 1 || !slices.Contains(b.Models, "builtin:bee-tiny") || b.MemoryTotalBytes == 0 {
		t.Errorf("got %+v", b)
	}
	f.bus.Restart(t)
	restarted := time.Now()
	for next("after the reconnect").SentAt.Before(restarted) {
	}
}

func TestServiceShowsItself(t *testing.T) {
	f := start(t, "serves", true)
	data, err := f.queen.RequestRaw(within(t), "$SRV.INFO.rbee-hive", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"name":"rbee-hive"`, `"spawns workers on h1"`, `"worker-spawn"`, `"rbee.hive.h1.worker.kill"`, `\"context_length\":{\"type\":\"integer\"}`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s lacks %s", data, want)
		}
	}
}

// streams makes what keeps the jobs' events, as the queen does.
func (f *fixture) streams(t *testing.T) error {
	t.Helper()
	_, err := f.queen.RequestRaw(within(t), "$JS.API.STREAM.CREATE."+messages.JobsStream,
		[]byte(`{"name":"`+messages.JobsStream+`","subjects":["`+messages.JobWildcard+`"],"retention":"limits","storage":"file","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"num_replicas":1}`))
	return err
}

// A hive with more models than a message holds lists them by pages.
func TestModelPages(t *testing.T) {
	f := start(t, "serves", true)
	long := f.dir
	for range 14 {
		long = filepath.Join(long, strings.Repeat("d", 250))
	}
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	bee := filepath.Join(f.dir, "bee.gguf")
	if err := bees.WriteFile(bee, bees.Tiny); err != nil {
		t.Fatal(err)
	}
	const n = 120 // of 7 KB or more each
	want := map[string]bool{}
	for i := range n {
		path := filepath.Join(long, fmt.Sprintf("m%03d.gguf", i))
		if err := os.Link(bee, path); err != nil {
			t.Fatal(err)
		}
		m, err := f.hive.catalog.Resolve(within(t), path, catalog.Watcher{})
		if err != nil {
			t.Fatal(err)
		}
		want[m.ID] = true
	}
	pages, last := 0, ""
	for req := (&messages.ModelListRequest{}); ; pages++ {
		var r messages.ModelListReply
		if err := f.ask(t, messages.OpModelList, req, &r); err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Models {
			if m.ID <= last {
				t.Errorf("%s after %s", m.ID, last)
			}
			last = m.ID
			delete(want, m.ID)
		}
		if req.After = r.Next; req.After == "" {
			break
		}
	}
	if len(want) > 0 || pages < 1 {
		t.Errorf("%d models are not on %d pages", len(want), pages+1)
	}
}

func TestBadPeerListen(t *testing.T) {
	s := bustest.Start(t)
	for _, addr := range []string{"nonsense", "127.0.0.1", "127.0.0.1:99999", ":x"} {
		_, err := New(Config{ID: "h1", DataDir: t.TempDir(), ServerURL: s.URL, Provision: Provision{PeerListen: addr}}, s.Connect(t, bus.RoleHive, "h1"), slog.New(slog.DiscardHandler))
		if messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(fmt.Sprint(err), "--peer-listen") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

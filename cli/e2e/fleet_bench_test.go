package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/messages"
)

// watchedFor is how long a fleet is measured once it is known.
const watchedFor = 30 * time.Second

// BenchmarkFleet has simulated workers beat every 5 s: what they cost the queen. Those with connections
// of their own have credentials of their own.
func BenchmarkFleet(b *testing.B) {
	for _, f := range []struct {
		workers int
		own     bool
	}{{1000, true}, {10_000, false}, {50_000, false}} {
		name := fmt.Sprintf("%d", f.workers)
		if f.own {
			name += "-own-connections"
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				fleet(b, f.workers, f.own)
			}
		})
	}
}

func fleet(b *testing.B, n int, own bool) {
	a := startApart(b)
	realm, err := bus.OpenRealm(filepath.Join(a.dir, "keys"))
	if err != nil {
		b.Fatal(err)
	}
	conns := 8
	if own {
		conns = n
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer func() { cancel(); wg.Wait() }()
	for c := range conns {
		ids := make([]messages.WorkerID, 0, n/conns)
		for i := c; i < n; i += conns {
			ids = append(ids, messages.WorkerID(fmt.Sprintf("sim-%05d", i)))
		}
		conn := simConn(b, a, realm, c, own, ids[0])
		wg.Go(func() { beatFor(ctx, conn, ids, time.Duration(c)*messages.HeartbeatEvery/time.Duration(conns)) })
	}
	await(b, "all are known", func() bool { return known(b, a) == n })
	queen := a.procs[solo.RoleQueen].cmd.Process.Pid
	server := a.procs[solo.RoleBus].cmd.Process.Pid
	writes := kvWrites(b, a)
	await(b, "the bucket is written", func() bool { w := kvWrites(b, a); same := w == writes; writes = w; return same })
	cpu, busCPU := cpuSeconds(b, queen), cpuSeconds(b, server)
	began := time.Now()
	time.Sleep(watchedFor)
	took := time.Since(began).Seconds()
	b.ReportMetric(100*(cpuSeconds(b, queen)-cpu)/took, "queen-%-of-a-core")
	b.ReportMetric(100*(cpuSeconds(b, server)-busCPU)/took, "nats-%-of-a-core")
	b.ReportMetric(rss(b, queen), "queen-MiB")
	b.ReportMetric(float64(kvWrites(b, a)-writes)/took, "kv-writes/s")
	asked := time.Now()
	if got := strings.Count(a.ok(b, "worker", "list"), "sim-"); got != n {
		b.Errorf("%d of %d workers listed", got, n)
	}
	b.ReportMetric(ms(time.Since(asked)), "list-ms")
	b.ReportMetric(0, "ns/op")
}

// simConn is one worker's own connection, or one that may beat for many.
func simConn(b *testing.B, a *apart, realm *bus.Realm, c int, own bool, id messages.WorkerID) *bus.Conn {
	b.Helper()
	role, name := bus.RoleQueen, fmt.Sprintf("sim-%d", c)
	if own {
		role, name = bus.RoleWorker, string(id)
	}
	file, err := realm.Creds(role, name, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	creds, err := bus.ParseCredentials(file)
	if err != nil {
		b.Fatal(err)
	}
	conn, err := bus.Connect(context.Background(), bus.Config{URL: a.addr.NATS, Credentials: creds})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	return conn
}

// beatFor beats for ids, spread over 5 s, until ctx ends.
func beatFor(ctx context.Context, conn *bus.Conn, ids []messages.WorkerID, wait time.Duration) {
	beats := make([]messages.Heartbeat, len(ids))
	for i, id := range ids {
		beats[i].Worker = messages.WorkerInfo{ID: id, Incarnation: messages.NewID("i-"), Models: []messages.ModelInfo{{ID: "sim", Loaded: true, ContextLength: 4096, Slots: 4}},
			ModelID: "sim", Device: "CPU", Host: "127.0.0.1", PID: 1, StartTime: 1, Status: messages.StatusReady, Implementation: "sim", Version: "1", SlotsTotal: 4, ContextLength: 4096}
	}
	const rounds = 50 // pieces of a period
	tick := time.NewTimer(wait)
	defer tick.Stop()
	for round := 0; ; round = (round + 1) % rounds {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			tick.Reset(messages.HeartbeatEvery / rounds)
		}
		for i := range beats {
			if i%rounds == round {
				beats[i].Seq++
				_ = conn.Publish(messages.HeartbeatSubject(beats[i].Worker.ID), &beats[i])
			}
		}
	}
}

func known(b *testing.B, a *apart) int {
	b.Helper()
	for _, line := range strings.Split(a.ok(b, "status"), "\n") {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "workers" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return -1
}

// kvWrites counts what was ever written into the workers' bucket.
func kvWrites(b *testing.B, a *apart) uint64 {
	b.Helper()
	creds, err := bus.ReadCredentials(filepath.Join(a.dir, "creds", "admin.creds"))
	if err != nil {
		b.Fatal(err)
	}
	conn, err := bus.Connect(context.Background(), bus.Config{URL: a.addr.NATS, Credentials: creds})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := conn.JetStream().Stream(ctx, "KV_"+messages.WorkersBucket)
	if err != nil {
		b.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// rss is a process's resident memory in MiB.
func rss(b *testing.B, pid int) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, _ := strconv.ParseFloat(strings.Fields(string(data))[1], 64)
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

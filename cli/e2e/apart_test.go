package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/cli/solo"
)

// apart is a cluster whose bus, queen and hive are processes of their own.
type apart struct {
	*cluster
	nats, http string
	procs      map[string]*proc
}

// startApart runs the roles; the test's end stops the hive, which stops its workers, then the others.
func startApart(t testing.TB) *apart {
	t.Helper()
	a := &apart{cluster: &cluster{dir: t.TempDir()}, nats: freeAddr(t), http: freeAddr(t), procs: map[string]*proc{}}
	t.Cleanup(func() { a.stopAll(t) })
	for _, role := range []string{solo.RoleBus, solo.RoleQueen, solo.RoleHive} {
		a.up(t, role)
	}
	a.addr = solo.Address{NATS: "nats://" + a.nats, HTTP: a.http}
	return a
}

func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// up runs one role.
func (a *apart) up(t testing.TB, role string) {
	t.Helper()
	a.procs[role] = launch(t, a.dir, role+".log", "--roles", role, "--nats", a.nats, "--http", a.http)
}

// end signals a role and waits until its process has ended.
func (a *apart) end(t testing.TB, role string, sig syscall.Signal) {
	t.Helper()
	p := a.procs[role]
	kill(t, p.cmd.Process.Pid, sig)
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Errorf("%s does not end\n%s", role, p.logs())
		_ = p.cmd.Process.Kill()
	}
	delete(a.procs, role)
}

func (a *apart) stopAll(t testing.TB) {
	for _, role := range []string{solo.RoleHive, solo.RoleQueen, solo.RoleBus} {
		if a.procs[role] != nil {
			a.end(t, role, syscall.SIGINT)
		}
	}
	if left := processes(a.dir); len(left) > 0 {
		t.Errorf("processes stayed: %q", left)
	}
}

func (a *apart) logsOf(role string) string {
	b, _ := os.ReadFile(filepath.Join(a.dir, role+".log"))
	return string(b)
}

// A hive that is killed leaves its workers; the next one is told to watch them, and reports their ends.
func TestHiveRestartKeepsItsWorkers(t *testing.T) {
	a := startApart(t)
	w := a.spawn(t, "builtin:bee-tiny", "--id", "w1")
	a.end(t, solo.RoleHive, syscall.SIGKILL)
	if out := a.ok(t, "run", "builtin:bee-tiny", "hi"); !strings.Contains(out, "The queen") {
		t.Errorf("without its hive: %q", out)
	}
	a.up(t, solo.RoleHive)
	await(t, "hive.up", func() bool {
		return strings.Contains(a.logsOf(solo.RoleQueen), "it was restarted") || strings.Count(a.logsOf(solo.RoleQueen), `"hive.up"`) > 1
	})
	kill(t, w.PID, syscall.SIGKILL)
	// The new hive reports the end, unless the worker died before it was told to watch; the refusal of its port
	// may be heard first.
	await(t, "its end is noticed", func() bool { return strings.Contains(a.logsOf(solo.RoleQueen), "worker.lost") })
	a.gone(t, "w1")
}

// gone waits until the queen knows the worker no more, and looks that nothing of it is left.
func (c *cluster) gone(t testing.TB, id string) {
	t.Helper()
	await(t, id+" is gone", func() bool { return c.rbee(t, "worker", "get", id).code == 1 })
	if left, _ := filepath.Glob(filepath.Join(c.dir, "workers", "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A worker that dies while no hive watches is found by the next hive, at once.
func TestWorkerThatDiesWithoutItsHive(t *testing.T) {
	a := startApart(t)
	w := a.spawn(t, "builtin:bee-tiny", "--id", "w1")
	a.end(t, solo.RoleHive, syscall.SIGKILL)
	kill(t, w.PID, syscall.SIGKILL)
	await(t, "it is lost", func() bool { return a.rbee(t, "worker", "get", "w1").code == 1 })
	if out := a.ok(t, "events", "--since", "1h", "--no-follow", "--kind", "worker.*"); !strings.Contains(out, "its port refuses") {
		t.Errorf("events: %s", out)
	}
}

// A queen that comes back knows its workers within one beat; none was restarted.
func TestQueenRestart(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			a := startApart(t)
			w := a.spawn(t, "builtin:bee-endless", "--id", "w1")
			ends := make(chan string, 1)
			go func() { ends <- a.streamEnd(t) }()
			await(t, "it decodes", func() bool { return info(t, &w).Steps > 50 })
			a.end(t, solo.RoleQueen, sig)
			if end := <-ends; end != map[string]string{"TERM": "error event", "KILL": "cut"}[name] {
				t.Errorf("the stream ended with %s", end)
			}
			began := time.Now()
			a.up(t, solo.RoleQueen)
			await(t, "the worker is back", func() bool {
				all := a.workers(t)
				return len(all) == 1 && all[0].PID == w.PID && all[0].Incarnation == w.Incarnation
			})
			if took := time.Since(began); took > 6*time.Second {
				t.Logf("slow machine? the registry took %s", took)
			}
		})
	}
}

//go:build chaos

package e2e

import (
	"context"
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
	"github.com/rbee-project/rbee/bus/natsd"
	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/messages"
)

const chaosModel = "builtin:bee-slow"

// ground is a topology with three workers of one model.
type ground struct {
	*cluster
	apart   *apart // nil for one process
	events  *watcher
	workers map[string]*messages.WorkerInfo
}

func newGround(t *testing.T, top string) *ground {
	t.Helper()
	g := &ground{workers: map[string]*messages.WorkerInfo{}}
	switch top {
	case "one process":
		g.cluster = start(t, "--nats", freeAddr(t), "--http", freeAddr(t))
	case "no disconnects":
		g.apart = apartOnQuietBus(t)
		g.cluster = g.apart.cluster
	default:
		g.apart = startApart(t)
		g.cluster = g.apart.cluster
	}
	for _, id := range []string{"w0", "w1", "w2"} {
		g.respawn(t, id)
	}
	if top == "hive restarted" {
		g.apart.end(t, solo.RoleHive, syscall.SIGKILL)
		g.apart.up(t, solo.RoleHive)
	}
	g.events = g.watch(t)
	g.settle(t)
	return g
}

// apartOnQuietBus has a server that tells nobody of lost connections, as one of another's cluster.
func apartOnQuietBus(t *testing.T) *apart {
	t.Helper()
	a := &apart{cluster: &cluster{dir: t.TempDir()}, nats: freeAddr(t), http: freeAddr(t), procs: map[string]*proc{}}
	realm, err := bus.OpenRealm(filepath.Join(a.dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := natsd.Start(natsd.Config{Listen: a.nats, StoreDir: filepath.Join(a.dir, "nats"), Realm: realm, NoDisconnects: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	t.Cleanup(func() { a.stopAll(t) })
	a.up(t, solo.RoleQueen)
	a.up(t, solo.RoleHive)
	a.addr = solo.Address{NATS: "nats://" + a.nats, HTTP: a.http}
	return a
}

func (g *ground) respawn(t *testing.T, id string) {
	t.Helper()
	w := g.spawn(t, chaosModel, "--id", id, "--slots", "11", "--ctx", "512")
	g.workers[id] = &w
}

// settle waits until three workers are ready and undoubted.
func (g *ground) settle(t *testing.T) {
	t.Helper()
	last := ""
	defer func() {
		if t.Failed() {
			t.Logf("at the end: %s\n%s", last, g.allLogs())
		}
	}()
	await(t, "full service", func() bool {
		r := g.rbee(t, "worker", "list")
		last = r.stdout + r.stderr
		n := 0
		for _, line := range strings.Split(r.stdout, "\n") {
			f := strings.Fields(line)
			if len(f) > 2 && g.workers[f[0]] != nil && (f[2] == "ready" || f[2] == "busy") {
				n++
			}
		}
		return n == len(g.workers)
	})
}

// allLogs is the end of what each process wrote.
func (g *ground) allLogs() (out string) {
	files, _ := filepath.Glob(filepath.Join(g.dir, "*.log"))
	for _, f := range files {
		data, _ := os.ReadFile(f)
		out += f + ":\n" + string(data[max(0, len(data)-6000):])
	}
	return out
}

// once makes one fault and waits until everything is as before.
func (g *ground) once(t *testing.T, f fault, i int, r *row) {
	t.Helper()
	victim := ""
	var pid int
	switch {
	case f.whom == "worker":
		victim = fmt.Sprintf("w%d", i%3)
		pid = g.workers[victim].PID
	case f.whom == "all":
		pid = g.up.Process.Pid
	default:
		pid = g.apart.procs[roleOf(f.whom)].cmd.Process.Pid
	}
	began := time.Now()
	kill(t, pid, f.sig)
	if f.whom == "worker" || f.whom == "hive" { // of the others nobody is left to tell
		if d, ok := g.events.first(began, noticeLimit, func(e *messages.Event) bool { return f.notices(e, victim) }); ok {
			r.notice = append(r.notice, d)
		}
	}
	back := began
	if f.sig == syscall.SIGSTOP {
		time.Sleep(time.Until(began.Add(frozen)))
		back = time.Now()
		kill(t, pid, syscall.SIGCONT)
	} else {
		g.replace(t, f, victim)
	}
	g.settle(t)
	r.full = append(r.full, time.Since(back))
	r.evicted += g.events.evictions(began, messages.WorkerID(victim))
}

// noticeLimit is how long an event may take.
const noticeLimit = 25 * time.Second

func (f fault) notices(e *messages.Event, victim string) bool {
	switch {
	case f.whom == "hive":
		return e.Kind == "hive.suspect" || e.Kind == "hive.lost"
	case string(e.Worker) != victim:
		return false
	case f.sig == syscall.SIGTERM:
		return e.Kind == "worker.draining" || e.Kind == "worker.stopped"
	}
	return e.Kind == "worker.lost" || e.Kind == "worker.suspect" || e.Kind == "worker.unreachable"
}

// replace starts again what has ended.
func (g *ground) replace(t *testing.T, f fault, victim string) {
	t.Helper()
	switch f.whom {
	case "worker":
		await(t, "its id is free", func() bool { return g.rbee(t, "worker", "get", victim).code == 1 })
		g.respawn(t, victim)
	case "all":
		<-g.done
		g.run(t, "--nats", strings.TrimPrefix(g.addr.NATS, "nats://"), "--http", g.addr.HTTP)
		if f.sig == syscall.SIGTERM { // it has stopped its workers, as asked
			for id := range g.workers {
				g.respawn(t, id)
			}
		}
	default:
		role := roleOf(f.whom)
		p := g.apart.procs[role]
		<-p.done
		g.apart.up(t, role)
		if f.whom == "hive" && f.sig == syscall.SIGTERM {
			for id := range g.workers {
				g.respawn(t, id)
			}
		}
	}
}

// load is 16 streams and 16 whole answers at any time.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	ends   map[string]int
}

const chaosBody = `{"model":"builtin:bee-slow","stream":%v,"max_tokens":24,"messages":[{"role":"user","content":"hi"}]}`

func (g *ground) load() *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, ends: map[string]int{}}
	for i := range 32 {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				end := g.ask(ctx, i%2 == 0)
				if ctx.Err() != nil {
					return
				}
				l.mu.Lock()
				l.ends[end]++
				l.mu.Unlock()
				if end == "before: no queen" {
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	return l
}

// ask is one request; the end of one that never had a token begins with "before: ".
func (g *ground) ask(ctx context.Context, asStream bool) string {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	var s streamed
	end := s.read(ctx, "http://"+g.addr.HTTP+"/v1/chat/completions", fmt.Sprintf(chaosBody, asStream))
	switch {
	case !asStream && end == "clean end": // a whole answer
		return "complete"
	case end == "complete":
		return end
	case s.tokens == 0:
		return "before: " + end
	}
	return end
}

// flows waits until every client may have had an answer.
func (l *load) flows(t *testing.T) {
	t.Helper()
	done := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.ends["complete"]
	}
	from := done()
	await(t, "answers flow", func() bool { return done() >= from+40 })
}

func (l *load) stop(r *row) {
	l.cancel()
	l.wg.Wait()
	for end, n := range l.ends {
		if end == "complete" {
			r.complete = n
		} else {
			r.ends[end] = n
		}
	}
}

// wrongKeys compares the bucket with the registry, after the time that it may take.
func (g *ground) wrongKeys(t *testing.T) int {
	t.Helper()
	realm, err := bus.OpenRealm(filepath.Join(g.dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := realm.Creds(bus.RoleQueen, "chaos", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := bus.ParseCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := bus.Connect(context.Background(), bus.Config{URL: g.addr.NATS, Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wrong := 0
	for end := time.Now().Add(25 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		kv, err := conn.JetStream().KeyValue(context.Background(), messages.WorkersBucket)
		if err != nil {
			continue
		}
		keys, _ := kv.Keys(context.Background())
		listed := g.rbee(t, "worker", "list").stdout
		wrong = strings.Count(listed, "\n") - 1 // workers, below the heading
		for _, k := range keys {
			if strings.Contains(listed, k+" ") {
				wrong--
			} else {
				wrong++
			}
		}
		if wrong == 0 {
			return 0
		}
	}
	return wrong
}

// finish stops everything and counts what stays.
func (g *ground) finish(t *testing.T, r *row) {
	t.Helper()
	if g.apart != nil {
		for _, role := range []string{solo.RoleHive, solo.RoleQueen, solo.RoleBus} {
			if g.apart.procs[role] != nil {
				g.apart.end(t, role, syscall.SIGINT)
			}
		}
	} else {
		kill(t, g.up.Process.Pid, syscall.SIGINT)
		<-g.done
		g.up = nil
	}
	r.orphans = len(processes(g.dir))
}

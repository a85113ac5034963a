//go:build slow

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/messages"
)

// away is how long a process is away in these tests.
const away = 30 * time.Second

// living is a streamed answer that goes on for as long as the test looks at it.
type living struct {
	mu     sync.Mutex
	tokens int
	end    string
}

// begin starts an endless answer by the worker's own port.
func (c *cluster) begin(t *testing.T) *living {
	t.Helper()
	l := &living{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := streamed{token: func() { l.mu.Lock(); l.tokens++; l.mu.Unlock() }}
		end := s.read(ctx, "http://"+c.addr.HTTP+"/v1/chat/completions",
			`{"model":"builtin:bee-endless","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.end = end
	}()
	t.Cleanup(func() { cancel(); <-done })
	await(t, "it streams", func() bool { n, _ := l.now(); return n > 10 })
	return l
}

func (l *living) now() (tokens int, end string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tokens, l.end
}

// goesOn fails unless more tokens come.
func (l *living) goesOn(t *testing.T) {
	t.Helper()
	from, _ := l.now()
	await(t, "the stream goes on", func() bool {
		n, end := l.now()
		if end != "" {
			t.Fatalf("the stream has ended: %s", end)
		}
		return n > from+10
	})
}

// same fails unless these very processes are all there, and none was lost meanwhile.
func (c *cluster) same(t *testing.T, before []messages.WorkerInfo, log string) {
	t.Helper()
	await(t, "all are ready", func() bool {
		out := c.rbee(t, "worker", "list").stdout // the queen may be on its way back
		return strings.Count(out, " ready ")+strings.Count(out, " busy ") == len(before)
	})
	now := map[messages.WorkerID]messages.WorkerInfo{}
	for _, w := range c.workers(t) {
		now[w.ID] = w
	}
	for _, w := range before {
		if now[w.ID].PID != w.PID || now[w.ID].Incarnation != w.Incarnation {
			t.Errorf("%s was process %d, is %d", w.ID, w.PID, now[w.ID].PID)
		}
	}
	if n := strings.Count(log, `"worker.lost"`); n > 0 {
		t.Errorf("%d were given up", n)
	}
}

func TestSlowBusIsAway(t *testing.T) {
	a := startApart(t)
	for i := range 3 {
		a.spawn(t, "builtin:bee-endless", "--id", fmt.Sprint("w", i))
	}
	before := a.workers(t)
	direct(t, a.cluster)
	l := a.begin(t)
	a.end(t, solo.RoleBus, syscall.SIGTERM)
	time.Sleep(away)
	l.goesOn(t)
	if code, body := a.post(t, context.Background(), "/v1/chat/completions", strings.Replace(endless, "%s", "3", 1)); code != http.StatusOK {
		t.Errorf("a new request by the workers' ports: %d %s", code, body)
	}
	a.up(t, solo.RoleBus)
	a.same(t, before, a.logsOf(solo.RoleQueen))
	l.goesOn(t)
}

// direct waits until every worker's port has answered.
func direct(t *testing.T, c *cluster) {
	t.Helper()
	await(t, "their ports are known", func() bool {
		return strings.Count(c.ok(t, "worker", "list", "--json"), `"direct":"up"`) == len(c.workers(t))
	})
}

func TestSlowAllIsFrozen(t *testing.T) {
	c := start(t)
	for i := range 3 {
		c.spawn(t, "builtin:bee-endless", "--id", fmt.Sprint("w", i))
	}
	before := c.workers(t)
	direct(t, c)
	l := c.begin(t)
	kill(t, c.up.Process.Pid, syscall.SIGSTOP)
	time.Sleep(away)
	kill(t, c.up.Process.Pid, syscall.SIGCONT)
	l.goesOn(t)
	c.same(t, before, c.logs())
	time.Sleep(messages.LostAfter + 2*time.Second) // who is counted wrongly is lost by now
	c.same(t, before, c.logs())
	l.goesOn(t)
}

// Fifty workers are all back within 15 s of a restart of the bus.
func TestSlowBusRestartWithFifty(t *testing.T) {
	a := startApart(t)
	a.spawn(t, "builtin:bee-tiny", "--id", "w0")
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := 1 + part; i < 50; i += 4 {
				a.ok(t, "worker", "spawn", "builtin:bee-tiny", "--id", fmt.Sprint("w", i), "--force")
			}
		})
	}
	wg.Wait()
	before := a.workers(t)
	if len(before) != 50 {
		t.Fatalf("%d workers", len(before))
	}
	a.end(t, solo.RoleBus, syscall.SIGTERM)
	a.up(t, solo.RoleBus)
	began := time.Now()
	await(t, "all are back by the bus", func() bool {
		out := a.rbee(t, "worker", "list", "--json").stdout
		return strings.Count(out, `"bus":"up"`) == 50 && !strings.Contains(out, `"suspect"`)
	})
	took := time.Since(began)
	t.Logf("back after %s", took.Round(10*time.Millisecond))
	if took > 15*time.Second {
		t.Errorf("they were back after %s", took)
	}
	a.same(t, before, a.logsOf(solo.RoleQueen))
}

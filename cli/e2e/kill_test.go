package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// A request that has no token yet is answered by another worker when its own is killed.
func TestKilledWorkerIsReplacedBeforeTheFirstToken(t *testing.T) {
	c := start(t)
	c.spawn(t, "builtin:bee-slow", "--id", "w1", "--slots", "1")
	c.spawn(t, "builtin:bee-slow", "--id", "w2", "--slots", "1")
	type answer struct {
		code int
		body string
	}
	got := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		// Not streamed: nothing is sent before the end, so until then it may move.
		code, body := c.post(t, ctx, "/v1/chat/completions", `{"model":"builtin:bee-slow","max_tokens":150,"messages":[{"role":"user","content":"hi"}]}`)
		got <- answer{code, body}
	}()
	var victim messages.WorkerInfo
	await(t, "a worker decodes", func() bool {
		for _, w := range c.workers(t) {
			if i := info(t, &w); i.Steps > 3 && i.SlotsUsed > 0 {
				victim = w
				return true
			}
		}
		return false
	})
	kill(t, victim.PID, syscall.SIGKILL)
	await(t, "the victim is gone from the list", func() bool {
		ws := c.workers(t)
		return len(ws) == 1 && ws[0].ID != victim.ID
	})
	if a := <-got; a.code != 200 || !strings.Contains(a.body, `"completion_tokens":150`) {
		t.Errorf("%d %s", a.code, a.body)
	}
	if r := c.rbee(t, "worker", "get", string(victim.ID)); r.code != 1 || !strings.Contains(r.stderr, "no worker") {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
}

// BenchmarkKill9 reports from kill -9 to the event worker.lost, on the watcher's clock.
func BenchmarkKill9(b *testing.B) {
	c := start(b)
	conn := c.connect(b)
	lost := make(chan string, 16)
	stop, err := conn.Subscribe(messages.EventSubject("queen", "*", "worker.lost"), func(m bus.Msg) {
		var e struct{ Worker string }
		_ = json.Unmarshal(m.Data, &e)
		lost <- e.Worker
	})
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	var worst time.Duration
	for b.Loop() {
		b.StopTimer()
		w := c.spawn(b, "builtin:bee-tiny")
		b.StartTimer()
		began := time.Now()
		kill(b, w.PID, syscall.SIGKILL)
		select {
		case <-lost:
		case <-time.After(patience):
			b.Fatal("nobody noticed")
		}
		worst = max(worst, time.Since(began))
	}
	b.ReportMetric(float64(worst.Microseconds())/1000, "max-ms")
}

// After kill -9 of the whole rbee up, the next one on the data dir has its workers back.
func TestWorkersSurviveRbeeUp(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-tiny")
	nats := strings.TrimPrefix(c.addr.NATS, "nats://")
	kill(t, c.up.Process.Pid, syscall.SIGKILL)
	<-c.done
	c.run(t, "--nats", nats)
	await(t, "the worker is back", func() bool {
		ws := c.workers(t)
		return len(ws) == 1 && ws[0].PID == w.PID && ws[0].Incarnation == w.Incarnation
	})
	if out := c.ok(t, "run", "builtin:bee-tiny", "hi"); !strings.Contains(out, "The queen") {
		t.Errorf("it does not answer: %q", out)
	}
}

// A stop whose pid belongs to another process by now signals nothing.
func TestReusedPidIsNotSignalled(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-tiny")
	queen, err := bus.OpenRealm(c.dir + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	file, err := queen.Creds(bus.RoleQueen, "test", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := bus.ParseCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := bus.Connect(context.Background(), bus.Config{URL: c.addr.NATS, Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = conn.Request(ctx, messages.HiveSubject(w.Hive, messages.OpKill), &messages.KillRequest{Worker: w.ID, PID: w.PID, StartTime: w.StartTime + 1}, nil)
	if messages.CodeOf(err) != messages.CodeConflict {
		t.Errorf("got %v", err)
	}
	if i := info(t, &w); i.Status != messages.StatusReady {
		t.Errorf("the worker is %s", i.Status)
	}
}

// While rbee up drains it takes nothing new, so that nothing is left when it ends.
func TestNoWorkerStartsDuringTheDrain(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-endless")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		_, _ = c.post(t, ctx, "/v1/chat/completions", `{"model":"builtin:bee-endless","max_tokens":3000,"messages":[{"role":"user","content":"hi"}]}`)
	}()
	await(t, "it decodes", func() bool { return info(t, &w).SlotsUsed > 0 })
	kill(t, c.up.Process.Pid, syscall.SIGINT)
	await(t, "it drains", func() bool {
		code, _ := c.post(t, ctx, "/v1/chat/completions", `{"model":"builtin:bee-tiny","messages":[{"role":"user","content":"hi"}]}`)
		return code != 200
	})
	c.ended(t) // fails when a process stays
}

package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// TestOutcomeOf: what a failure says of the worker where it happened.
func TestOutcomeOf(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for name, tc := range map[string]struct {
		err  error
		want Outcome
	}{
		"internal":             {errInternal, Failed},
		"foreign":              {errors.New("boom"), Failed},
		"broken":               {messages.Errorf(messages.CodeStreamBroken, "infer", "gap"), Failed},
		"stalled":              {messages.Errorf(messages.CodeStalled, "infer", "silent"), Failed},
		"port does not answer": {failure(messages.CodeUnavailable, "refused"), Failed},
		"drains":               {errGone, neither},
		"busy":                 {messages.Errorf(messages.CodeBusy, "infer", "full"), Busy},
		"cancelled":            {messages.Errorf(messages.CodeCancelled, "infer", "gone"), neither},
		"timeout":              {messages.Errorf(messages.CodeTimeout, "infer", "late"), neither},
		"bad request":          {messages.Errorf(messages.CodeBadRequest, "infer", "no"), Succeeded},
		"context full":         {messages.Errorf(messages.CodeContextFull, "infer", "no"), Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outcomeOf(context.Background(), tc.err); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
			if got := outcomeOf(gone, tc.err); got == Failed {
				t.Error("the client is gone, and the worker is blamed")
			}
		})
	}
}

// halfDead is a cluster whose worker a says one token, and fails.
func halfDead() *cluster {
	c := theatre(func(context.Context, *messages.WorkerInfo) (Stream, error) { return &scene{end: errInternal}, nil })
	c.d.Changed(beats(slots(worker("a"), 8)))
	return c
}

// TestHalfDeadIsCounted: an error after the first token is a failure.
func TestHalfDeadIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := halfDead()
		a, err := c.Infer(t.Context(), request(true))
		if err != nil {
			t.Fatal(err)
		}
		_, err = readAnswer(t.Context(), a)
		a.Close() // once more is nothing
		if wantCode(t, err, messages.CodeInternal); c.fails(worker("a")) != 1 {
			t.Errorf("%d failures", c.fails(worker("a")))
		}
		var as []*Answer
		for range breakAfter {
			a, err := c.Infer(t.Context(), request(true))
			if err != nil {
				t.Fatal(err)
			}
			as = append(as, a)
		}
		for _, a := range as {
			_, _ = readAnswer(t.Context(), a)
		}
		if running, _, broken := c.d.Counts(); running != 0 || broken != 1 || c.opened.Load() != 1 {
			t.Errorf("%d run; %d breakers opened, %d are open", running, c.opened.Load(), broken)
		}
	})
}

// TestHalfDeadInARow: a worker that fails after each first token, one request after the other, is set
// aside as one that fails before.
func TestHalfDeadInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := halfDead()
		for range 2 * breakAfter {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, _ = c.ask(ctx)
			cancel()
		}
		if c.opened.Load() == 0 {
			t.Errorf("%d answers broke, and it gets the next", 2*breakAfter)
		}
	})
}

// TestGoodEndsARow: a complete answer, and one whose client leaves it after a token, are no failures.
func TestGoodEndsARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := theatre(func(context.Context, *messages.WorkerInfo) (Stream, error) { return &scene{lasts: time.Second}, nil })
		c.d.Changed(beats(worker("a")))
		must(t, c.d).Release(Failed)
		if _, err := c.ask(t.Context()); !errors.Is(err, io.EOF) || c.fails(worker("a")) != 0 {
			t.Errorf("%v, %d failures", err, c.fails(worker("a")))
		}
		for range 2 * breakAfter {
			a, err := c.Infer(t.Context(), request(true))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = a.Next(t.Context())
			if a.Close(); c.fails(worker("a")) != 0 {
				t.Error("a client that leaves is a failure")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			_, err = c.ask(ctx)
			cancel()
			wantCode(t, err, messages.CodeTimeout)
		}
		if running, waiting, broken := c.d.Counts(); c.fails(worker("a"))+running+waiting+broken != 0 || c.opened.Load() != 0 {
			t.Errorf("%d failures, %d run, %d wait", c.fails(worker("a")), running, waiting)
		}
	})
}

// TestCancelledRouteFails: a route that fails because the client left is not to blame.
func TestCancelledRouteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := theatre(func(ctx context.Context, _ *messages.WorkerInfo) (Stream, error) {
			<-ctx.Done()
			return nil, failure(messages.CodeStreamBroken, "connection reset")
		})
		c.d.Changed(beats(worker("a")))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := c.ask(ctx)
		if wantCode(t, err, messages.CodeCancelled); c.fails(worker("a")) != 0 {
			t.Errorf("%d failures", c.fails(worker("a")))
		}
		c.wantTold(t)
	})
}

// TestOffline: while the queen has no bus its requests wait, and go when it is back and the registry
// says that the workers are.
func TestOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		c := theatre(func(context.Context, *messages.WorkerInfo) (Stream, error) { asked.Add(1); return &scene{}, nil })
		w := worker("a")
		c.d.Changed(beats(w))
		c.offline.Store(true)
		out := make(chan error, 8)
		for range cap(out) {
			go func() { _, err := c.ask(t.Context()); out <- err }()
		}
		time.Sleep(10 * time.Second)
		c.d.Changed(beats(w))
		synctest.Wait()
		if _, waiting, _ := c.d.Counts(); waiting != cap(out) || asked.Load() != 0 || len(out) != 0 {
			t.Fatalf("%d wait, %d went, %d ended", waiting, asked.Load(), len(out))
		}
		c.offline.Store(false)
		c.d.Changed(suspected(w))
		synctest.Wait()
		if asked.Load() != 0 {
			t.Errorf("%d went to a suspect", asked.Load())
		}
		began := time.Now()
		c.d.Changed(beats(w))
		for range cap(out) {
			if err := <-out; !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}
		if time.Since(began) != 0 {
			t.Errorf("served after %v", time.Since(began))
		}
	})
}

// TestOfflineGoesDirect: a port that answers needs no bus.
func TestOfflineGoesDirect(t *testing.T) {
	c := start(t, RouteAuto)
	c.offline.Store(true)
	c.http(t, "a", say(2))
	a, err := c.Infer(deadline(t), request(true))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := readAnswer(deadline(t), a); n != 2 || !errors.Is(err, io.EOF) || a.Route != RouteDirect {
		t.Errorf("%d objects by %s, %v", n, a.Route, err)
	}
}

// TestDeadline: a request that got no slot in its time is told whether there was anybody.
func TestDeadline(t *testing.T) {
	full := func(id string) messages.WorkerInfo { return with(worker(id), messages.StatusBusy, 2) }
	for name, tc := range map[string]struct {
		set  func(*cluster)
		code messages.Code
		says string
	}{
		"all suspect": {func(c *cluster) { c.d.Changed(suspected(worker("a"))); c.d.Changed(suspected(full("b"))) },
			messages.CodeNoWorker, "no worker of m answers"},
		"starting": {func(c *cluster) { c.d.Changed(beats(with(worker("a"), messages.StatusStarting, 0))) },
			messages.CodeNoWorker, "no worker of m answers"},
		"offline": {func(c *cluster) { c.d.Changed(beats(worker("a"))); c.offline.Store(true) },
			messages.CodeNoWorker, "no worker of m answers"},
		"full": {func(c *cluster) { c.d.Changed(beats(full("a"))) }, messages.CodeBusy, "no slot of m became free"},
		"full and suspect": {func(c *cluster) { c.d.Changed(suspected(worker("a"))); c.d.Changed(beats(full("b"))) },
			messages.CodeBusy, "no slot of m became free"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := theatre(func(context.Context, *messages.WorkerInfo) (Stream, error) {
					t.Error("it was sent")
					return nil, errGone
				})
				c.cfg.Ensure = func(context.Context, string) error { t.Error("a worker is started"); return nil }
				tc.set(c)
				req := request(true)
				req.DeadlineMillis = 1500
				began := time.Now()
				_, err := c.Infer(t.Context(), req)
				if wantCode(t, err, tc.code); !strings.Contains(fmt.Sprint(err), tc.says) {
					t.Errorf("it says %v", err)
				}
				if took := time.Since(began); took != 1500*time.Millisecond {
					t.Errorf("after %v", took)
				}
				if running, waiting, _ := c.d.Counts(); running+waiting != 0 {
					t.Errorf("running %d, waiting %d", running, waiting)
				}
			})
		})
	}
}

// TestDeadlineHolds: tries do not begin the time anew, and a default holds where none is given.
func TestDeadlineHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := theatre(func(context.Context, *messages.WorkerInfo) (Stream, error) {
			time.Sleep(time.Second)
			return nil, errGone
		})
		c.d.Changed(beats(worker("a")))
		c.d.Changed(beats(with(worker("b"), messages.StatusBusy, 2)))
		for millis, want := range map[int64]time.Duration{1500: 1500 * time.Millisecond, 0: DefaultDeadline, 7_200_000: maxDeadline} {
			req := request(true)
			req.DeadlineMillis = millis
			began := time.Now()
			_, err := c.Infer(t.Context(), req)
			if took := time.Since(began); took != want {
				t.Errorf("deadline of %d ms: %v after %v", millis, err, took)
			}
			wantCode(t, err, messages.CodeBusy)
		}
	})
}

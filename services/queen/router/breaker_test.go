package router

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/messages"
)

var errInternal = messages.Errorf(messages.CodeInternal, "infer", "out of luck")

// TestBreakerTimes: it opens for 1, 2, 4, … 30 s, and one failed trial is enough to open it again.
func TestBreakerTimes(t *testing.T) {
	var b breaker
	now := time.Unix(1000, 0)
	for n := range breakAfter - 1 {
		if open := b.failed(now); open != 0 || !b.allows(now) {
			t.Errorf("failure %d: open for %v", n+1, open)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		want *= time.Second
		if open := b.failed(now); open != want {
			t.Fatalf("open for %v, want %v", open, want)
		}
		if late := b.failed(now.Add(want / 2)); late != 0 {
			t.Errorf("open already, and a late failure opens it for %v", late)
		}
		if b.allows(now) || b.allows(now.Add(want-1)) {
			t.Errorf("allows a request within %v", want)
		}
		now = now.Add(want)
		if !b.allows(now) {
			t.Errorf("allows no trial after %v", want)
		}
		b.began()
		if b.allows(now) || b.allows(now.Add(time.Hour)) {
			t.Error("allows a second trial")
		}
	}
	b.succeeded()
	if !b.allows(now) || b.failed(now) != 0 || b.failed(now) != 0 || b.failed(now) != time.Second {
		t.Error("it remembers after a success")
	}
}

func TestBreakerCountsInARow(t *testing.T) {
	var b breaker
	now := time.Unix(1000, 0)
	for range 10 {
		b.failed(now)
		b.failed(now)
		b.neither()
		b.succeeded()
	}
	b.failed(now)
	b.failed(now)
	b.neither()
	if b.failed(now) != time.Second {
		t.Error("what says nothing of the worker interrupts a row")
	}
}

// broken is a dispatcher with worker a, of four slots, whose breaker has just opened; n requests wait.
func broken(t *testing.T, n int) (*Dispatcher, <-chan outcome) {
	d := newDispatcher()
	d.Changed(beats(slots(worker("a"), 4)))
	for range breakAfter {
		must(t, d).Release(Failed)
	}
	out := make(chan outcome, n)
	for i := range n {
		queue(t.Context(), d, i, nil, out)
	}
	return d, out
}

// got is how many have a slot by now; they are kept in the channel's order.
func got(t *testing.T, out <-chan outcome) (ls []*Lease) {
	t.Helper()
	synctest.Wait()
	for len(out) > 0 {
		o := <-out
		if o.err != nil {
			t.Fatal(o.err)
		}
		ls = append(ls, o.lease)
	}
	return ls
}

// TestHalfOpen: after its time exactly one request tries; what becomes of it decides for the rest.
func TestHalfOpen(t *testing.T) {
	for name, tc := range map[string]struct {
		end   func(*Lease)
		next  int           // who go when the trial has ended
		after time.Duration // or then, one
	}{
		"success closes":       {func(l *Lease) { l.Release(Succeeded) }, 4, 0},
		"a first token closes": {func(l *Lease) { l.Works() }, 3, 0},
		"failure opens":        {func(l *Lease) { l.Release(Failed) }, 0, 2 * time.Second},
		"cancelled":            {func(l *Lease) { l.Release(neither) }, 1, 0},
		"busy":                 {func(l *Lease) { l.Release(Busy) }, 0, busyFor},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, out := broken(t, 6)
				time.Sleep(breakFor - 1)
				if ls := got(t, out); len(ls) != 0 {
					t.Errorf("%d go while it is open", len(ls))
				}
				time.Sleep(time.Nanosecond)
				ls := got(t, out)
				if len(ls) != 1 {
					t.Fatalf("%d try", len(ls))
				}
				d.Changed(beats(slots(worker("a"), 4)))
				time.Sleep(time.Minute)
				if ls := got(t, out); len(ls) != 0 {
					t.Errorf("%d go beside the trial", len(ls))
				}
				tc.end(ls[0])
				if ls := got(t, out); len(ls) != tc.next {
					t.Errorf("%d go after it, want %d", len(ls), tc.next)
				}
				if tc.after > 0 {
					time.Sleep(tc.after - 1)
					early := len(got(t, out))
					time.Sleep(time.Nanosecond)
					if ls := got(t, out); early != 0 || len(ls) != 1 {
						t.Errorf("%d go before %v and %d then", early, tc.after, len(ls))
					}
				}
				d.Changed(lost(worker("a")))
			})
		})
	}
}

// TestTrialIsNotAnotherRequests: one that began before the breaker opened, and whose client goes away
// now, says nothing of the trial.
func TestTrialIsNotAnotherRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		d.Changed(beats(slots(worker("a"), 8)))
		old := must(t, d)
		for range breakAfter {
			must(t, d).Release(Failed)
		}
		out := make(chan outcome, 3)
		for i := range 3 {
			queue(t.Context(), d, i, nil, out)
		}
		time.Sleep(breakFor)
		if ls := got(t, out); len(ls) != 1 {
			t.Fatalf("%d try", len(ls))
		}
		old.Release(neither)
		if ls := got(t, out); len(ls) != 0 {
			t.Errorf("%d go beside the trial", len(ls))
		}
		d.Changed(lost(worker("a")))
	})
}

// TestNewLifeNewBreaker: a worker that was restarted is not blamed for its former life.
func TestNewLifeNewBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, out := broken(t, 2)
		if _, _, n := d.Counts(); n != 1 {
			t.Errorf("%d are set aside", n)
		}
		again := slots(worker("a"), 4)
		again.Incarnation = "i-a2"
		d.Changed(beats(again))
		if ls := got(t, out); len(ls) != 2 {
			t.Errorf("%d go", len(ls))
		}
		d.Changed(lost(worker("a")))
		if _, _, n := d.Counts(); n != 0 {
			t.Errorf("%d are set aside", n)
		}
	})
}

// TestFastFailureAttractsNobody: a worker that fails at once is always the least loaded one. Clients ask
// 200 times; the good worker has room for four of them.
func TestFastFailureAttractsNobody(t *testing.T) {
	for name, tc := range map[string]struct {
		clients int
		most    int32 // that the bad one may get
	}{"with room elsewhere": {4, 3}, "without": {8, 10}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bad, good, left atomic.Int32
				c := theatre(func(_ context.Context, w *messages.WorkerInfo) (Stream, error) {
					if w.ID == "a" {
						bad.Add(1)
						return nil, errInternal
					}
					good.Add(1)
					return &scene{lasts: 250 * time.Millisecond}, nil
				})
				c.d.Changed(beats(slots(worker("a"), 4)))
				c.d.Changed(beats(slots(worker("b"), 4)))
				left.Store(200)
				began := time.Now()
				var wg sync.WaitGroup
				for range tc.clients {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := c.ask(t.Context()); !errors.Is(err, io.EOF) {
								wantCode(t, err, messages.CodeInternal)
							}
						}
					})
				}
				wg.Wait()
				// 200 requests of half a second, four at a time: 25 s, in which trials are due after 1, 3, 7 and 15.
				if bad.Load() > tc.most || bad.Load()+good.Load() != 200 || bad.Load() == 0 {
					t.Errorf("the bad one got %d, the good one %d, in %v", bad.Load(), good.Load(), time.Since(began))
				}
				if tc.clients > 4 && c.opened.Load() < 3 {
					t.Errorf("breakers opened %d times", c.opened.Load())
				}
			})
		})
	}
}

package router

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

type outcome struct {
	n     int
	lease *Lease
	err   error
}

// queue starts request n and returns once it waits.
func queue(ctx context.Context, d *Dispatcher, n int, failed map[string]Ways, out chan<- outcome) {
	go func() {
		l, err := d.Acquire(ctx, "m", failed)
		out <- outcome{n, l, err}
	}()
	synctest.Wait()
}

func must(t *testing.T, d *Dispatcher) *Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := d.Acquire(ctx, "m", nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantCode(t *testing.T, err error, want messages.Code) {
	t.Helper()
	if got := messages.CodeOf(err); got != want {
		t.Errorf("got %v (code %q), want code %q", err, got, want)
	}
}

func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		d.Changed(beats(worker("a")))
		held := []*Lease{must(t, d), must(t, d)}
		out := make(chan outcome, 16)
		for n := range 10 {
			queue(t.Context(), d, n, nil, out)
		}
		if running, waiting, _ := d.Counts(); running != 2 || waiting != 10 {
			t.Errorf("running %d, waiting %d", running, waiting)
		}
		held[0].Release(neither)
		for n := range 10 {
			o := <-out
			if o.n != n || o.err != nil {
				t.Fatalf("turn %d went to %d, %v", n, o.n, o.err)
			}
			o.lease.Release(neither)
		}
		held[1].Release(neither)
		if running, waiting, _ := d.Counts(); running+waiting != 0 {
			t.Errorf("running %d, waiting %d", running, waiting)
		}
	})
}

func TestLineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		d.Changed(beats(with(worker("a"), messages.StatusBusy, 2)))
		ctx, cancel := context.WithCancel(context.Background())
		out := make(chan outcome, MaxWaiting)
		for n := range MaxWaiting {
			queue(ctx, d, n, nil, out)
		}
		_, err := d.Acquire(ctx, "m", nil)
		wantCode(t, err, messages.CodeBusy)
		cancel()
		for range MaxWaiting {
			wantCode(t, (<-out).err, messages.CodeCancelled)
		}
		if _, waiting, _ := d.Counts(); waiting != 0 {
			t.Errorf("%d wait", waiting)
		}
	})
}

func TestDeadlineAndGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		d.Changed(beats(with(worker("a"), messages.StatusReady, 1)))
		held := must(t, d)
		held2 := must(t, d) // its word of one used slot is ours by now
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		out := make(chan outcome, 2)
		queue(short, d, 0, nil, out)
		queue(t.Context(), d, 1, nil, out)
		o := <-out
		if o.n != 0 {
			t.Fatalf("request %d ended first", o.n)
		}
		wantCode(t, o.err, messages.CodeBusy)
		held.Release(neither)
		if o = <-out; o.err != nil {
			t.Fatal(o.err)
		}
		o.lease.Release(neither)
		held2.Release(neither)
	})
}

// TestGivingUpPassesTheSlotOn: a slot that comes as its waiter leaves is not lost.
func TestGivingUpPassesTheSlotOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		d.Changed(beats(worker("a")))
		for range 200 {
			held := []*Lease{must(t, d), must(t, d)}
			ctx, cancel := context.WithCancel(context.Background())
			out := make(chan outcome, 1)
			queue(ctx, d, 0, nil, out)
			go cancel()
			held[0].Release(neither)
			held[1].Release(neither)
			if o := <-out; o.err == nil {
				o.lease.Release(neither)
			}
			synctest.Wait()
			if running, waiting, _ := d.Counts(); running+waiting != 0 {
				t.Fatalf("running %d, waiting %d", running, waiting)
			}
		}
	})
}

func TestLeaseEndsWithItsWorker(t *testing.T) {
	d := newDispatcher()
	a, b := worker("a"), worker("b")
	d.Changed(beats(a))
	l := must(t, d)
	d.Changed(beats(b))
	other := must(t, d)
	d.Changed(lost(a))
	wantCode(t, context.Cause(l.Ctx), messages.CodeUnavailable)
	if other.Ctx.Err() != nil {
		t.Error("the other worker's lease ended too")
	}
	l.Release(neither)
	other.Release(neither)
	d.Changed(lost(b))
	_, err := d.Acquire(t.Context(), "m", nil)
	wantCode(t, err, messages.CodeNoWorker)
}

func TestWaitersLearnThatNobodyIsLeft(t *testing.T) {
	nothing := worker("a")
	nothing.Models = nil
	for name, end := range map[string]*registry.Change{
		"lost":                     lost(worker("a")),
		"goodbye without models":   kind(beats(nothing), registry.WorkerStopped),
		"serves the model no more": beats(nothing),
		"drains":                   kind(beats(with(worker("a"), messages.StatusDraining, 2)), registry.WorkerDraining),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDispatcher()
				d.Changed(beats(with(worker("a"), messages.StatusBusy, 2)))
				out := make(chan outcome, 1)
				queue(t.Context(), d, 0, nil, out)
				d.Changed(end)
				synctest.Wait()
				select {
				case o := <-out:
					wantCode(t, o.err, messages.CodeNoWorker)
				default:
					t.Error("still waits")
				}
			})
		})
	}
}

func TestWhoRefusedIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		d.Changed(beats(worker("a")))
		out := make(chan outcome, 1)
		must(t, d).Release(Busy)
		queue(t.Context(), d, 0, nil, out)
		began := time.Now()
		d.Changed(beats(worker("a")))
		o := <-out
		if took := time.Since(began); o.err != nil || took > 0 {
			t.Errorf("after its beat: %v, %v", took, o.err)
		}
		o.lease.Release(Busy)
		queue(t.Context(), d, 1, nil, out)
		began = time.Now()
		o = <-out
		if took := time.Since(began); o.err != nil || took > busyFor {
			t.Errorf("without a beat: %v, %v", took, o.err)
		}
		o.lease.Release(neither)
	})
}

func TestSuspectAndStartingAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]*registry.Change{
			"suspect":  suspected(worker("a")),
			"starting": beats(with(worker("a"), messages.StatusStarting, 0)),
		} {
			d := newDispatcher()
			d.Changed(c)
			out := make(chan outcome, 1)
			queue(t.Context(), d, 0, nil, out)
			if len(out) > 0 {
				t.Fatalf("%s: %+v", name, <-out)
			}
			d.Changed(beats(worker("a")))
			if o := <-out; o.err != nil {
				t.Errorf("%s: %v", name, o.err)
			}
		}
	})
}

func TestEqualsTakeTurns(t *testing.T) {
	d := newDispatcher()
	got := map[messages.WorkerID]int{}
	for n := range 4 {
		d.Changed(beats(worker(fmt.Sprint("w", n))))
	}
	for range 40 {
		l := must(t, d)
		got[l.Worker.ID]++
		l.Release(neither)
	}
	for id, n := range got {
		if n != 10 {
			t.Errorf("%s got %d of 40", id, n)
		}
	}
}

func TestFailedWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		a, b := worker("a"), worker("b")
		failed := map[string]Ways{a.Incarnation: anyWay}
		d.Changed(beats(a))
		_, err := d.Acquire(t.Context(), "m", failed)
		wantCode(t, err, messages.CodeNoWorker)

		// b serves too but is full: who failed at a waits for b, and holds up nobody who can use a.
		d.Changed(beats(with(b, messages.StatusBusy, 2)))
		out := make(chan outcome, 2)
		queue(t.Context(), d, 0, failed, out)
		l := must(t, d)
		if l.Worker.ID != "a" {
			t.Errorf("got %s", l.Worker.ID)
		}
		l.Release(neither)
		d.Changed(beats(b))
		if o := <-out; o.err != nil || o.lease.Worker.ID != "b" {
			t.Errorf("got %+v", o)
		}
		queue(t.Context(), d, 1, map[string]Ways{a.Incarnation: anyWay, b.Incarnation: anyWay}, out)
		wantCode(t, (<-out).err, messages.CodeNoWorker)
	})
}

package registry

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// owner runs a registry in fake time; up says whether the queen's connection is.
func owner(t *testing.T, up *atomic.Bool) (r *Registry, heard *[]string, stop func()) {
	t.Helper()
	heard = &[]string{} // written by the owner's goroutine, read after synctest.Wait
	r = New(up.Load, func(cs []Change) {
		for _, c := range cs {
			if c.Kind != "" {
				*heard = append(*heard, c.Kind)
			}
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, heard, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestOwnerAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		up.Store(true)
		r, heard, stop := owner(t, &up)
		defer stop()
		r.Beat(beat("a", 1, ready))
		if w, ok := r.Worker("w1"); !ok || w.Suspect != "" {
			t.Fatalf("after a beat: %+v %v", w, ok)
		}
		time.Sleep(13 * time.Second) // fake
		if w, _ := r.Worker("w1"); w.Suspect == "" {
			t.Error("13 s of silence and no suspect")
		}
		time.Sleep(8 * time.Second)
		if _, ok := r.Worker("w1"); ok {
			t.Error("21 s of silence and not lost")
		}
		synctest.Wait()
		if len(*heard) != 3 || (*heard)[2] != WorkerLost {
			t.Errorf("heard %q", *heard)
		}
	})
}

func TestOwnerCountsNoSilenceWhileTheBusIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		r, _, stop := owner(t, &up)
		defer stop()
		r.Beat(beat("a", 1, ready))
		time.Sleep(time.Hour)
		up.Store(true)
		time.Sleep(10 * time.Second)
		if w, ok := r.Worker("w1"); !ok || w.Suspect != "" {
			t.Fatalf("suspect %q, there %v", w.Suspect, ok)
		}
		time.Sleep(12 * time.Second)
		if _, ok := r.Worker("w1"); ok {
			t.Error("never lost")
		}
	})
}

func TestOwnerReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		up.Store(true)
		r, _, stop := owner(t, &up)
		defer stop()
		r.Beat(beat("a", 1, ready))
		time.Sleep(11 * time.Second)
		r.Restart()
		time.Sleep(11 * time.Second)
		if w, ok := r.Worker("w1"); !ok || w.Suspect != "" {
			t.Errorf("suspect %q, there %v", w.Suspect, ok)
		}
	})
}

// TestOwnerLateTick: a process that was stopped hears nothing meanwhile, and must not blame the workers.
func TestOwnerLateTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		up.Store(true)
		r, _, stop := owner(t, &up)
		defer stop()
		r.Beat(beat("a", 1, ready))
		r.send(func(*Table) { time.Sleep(30 * time.Second) }) // the owner stands still
		time.Sleep(35 * time.Second)
		if w, ok := r.Worker("w1"); !ok || w.Suspect != "" {
			t.Errorf("suspect %q, there %v", w.Suspect, ok)
		}
	})
}

// TestOwnerTakesTheTimeOfReceipt, not the time when it gets round to a signal.
func TestOwnerTakesTheTimeOfReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		up.Store(true)
		r, _, stop := owner(t, &up)
		defer stop()
		time.Sleep(1500 * time.Millisecond) // the first tick starts the clocks
		r.send(func(*Table) { time.Sleep(3 * time.Second) })
		r.Beat(beat("a", 1, ready))
		time.Sleep(12600 * time.Millisecond)
		if w, _ := r.Worker("w1"); w.Suspect == "" {
			t.Error("12.6 s after its beat was received: no suspect")
		}
	})
}

// TestOwnerPassesOn says each thing that can be heard once.
func TestOwnerPassesOn(t *testing.T) {
	hives := &messages.HiveBeat{Hive: messages.HiveInfo{ID: "h1", Incarnation: "i"}}
	for name, tc := range map[string]struct {
		do   func(*Registry)
		want string // after the first beats
	}{
		"nothing":           {func(*Registry) {}, ""},
		"beat":              {func(r *Registry) { r.Beat(beat("a", 2, draining)) }, WorkerDraining},
		"exited":            {func(r *Registry) { r.Exited(exited(100, 7, "a"), "exit 1") }, WorkerLost},
		"gone":              {func(r *Registry) { r.Gone(exited(100, 7, "a")) }, WorkerLost},
		"suspect":           {func(r *Registry) { r.Suspect("w1", "a", "no answer") }, WorkerSuspect},
		"failed":            {func(r *Registry) { r.Failed("w1", "a", ByBus, "no answer") }, WorkerUnreachable},
		"disconnected":      {func(r *Registry) { r.Disconnected("w1", "stale") }, WorkerSuspect},
		"hive disconnected": {func(r *Registry) { r.HiveDisconnected("h1", "stale") }, HiveSuspect},
		"failed, then probed": {func(r *Registry) {
			r.Failed("w1", "a", ByBus, "no answer")
			r.Probed(Probed{ID: "w1", Incarnation: "a", Bus: Answered})
		}, WorkerUnreachable + " " + WorkerReachable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var up atomic.Bool
				r, heard, stop := owner(t, &up)
				r.Beat(beat("a", 1, ready))
				r.HiveBeat(hives)
				tc.do(r)
				synctest.Wait()
				stop()
				want := strings.TrimSpace(WorkerReady + " " + HiveUp + " " + tc.want)
				if got := strings.Join(*heard, " "); got != want {
					t.Errorf("heard %q, want %q", got, want)
				}
			})
		})
	}
}

func TestOwnerSuspectsTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		up.Store(true)
		r, _, stop := owner(t, &up)
		defer stop()
		for _, id := range []messages.WorkerID{"w1", "w2"} {
			b := beat("i"+string(id), 1, ready)
			b.Worker.ID = id
			r.Beat(b)
		}
		if got := r.BusSuspect(); got != "" {
			t.Errorf("at first: %s", got)
		}
		time.Sleep(30 * time.Second)
		if got := r.BusSuspect(); got == "" || len(r.Workers()) != 2 {
			t.Errorf("bus suspect: %q, workers %v", got, r.Workers())
		}
		r.Restart()
		if got := r.BusSuspect(); got != "" {
			t.Errorf("after a restart: %s", got)
		}
	})
}

func TestOwnerThatEndedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		r, _, stop := owner(t, &up)
		stop()
		for range 2000 { // more than the queue holds
			r.Beat(beat("a", 1, ready))
			r.Suspect("w1", "a", "")
			r.Exited(exited(1, 1, ""), "")
		}
		if ws := r.Workers(); len(ws) != 0 {
			t.Errorf("workers %v", ws)
		}
		if hs := r.Hives(); len(hs) != 0 {
			t.Errorf("hives %v", hs)
		}
	})
}

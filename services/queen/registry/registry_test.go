package registry

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// owner runs a registry in fake time; up says whether the queen's connection is.
func owner(t *testing.T, up *atomic.Bool) (r *Registry, heard *[]string, stop func()) {
	t.Helper()
	heard = &[]string{} // written by the owner's goroutine, read after synctest.Wait
	r = New(up.Load, func(cs []Change) {
		for _, c := range cs {
			*heard = append(*heard, c.Kind)
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
		if w, ok := r.Worker("w1"); !ok || w.Suspect {
			t.Fatalf("after a beat: %+v %v", w, ok)
		}
		time.Sleep(13 * time.Second) // fake
		if w, _ := r.Worker("w1"); !w.Suspect {
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
		if w, ok := r.Worker("w1"); !ok || w.Suspect {
			t.Fatalf("suspect %v, there %v", w.Suspect, ok)
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
		if w, ok := r.Worker("w1"); !ok || w.Suspect {
			t.Errorf("suspect %v, there %v", w.Suspect, ok)
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
		if w, ok := r.Worker("w1"); !ok || w.Suspect {
			t.Errorf("suspect %v, there %v", w.Suspect, ok)
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

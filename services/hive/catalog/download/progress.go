package download

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	progressEvery = 200 * time.Millisecond
	rateOver      = 15 // looks back that a rate is measured over: 3 s
)

// Progress is how far a download is.
type Progress struct {
	Done   int64 // bytes that are there
	Total  int64 // bytes of the file; -1: not known
	Hashed int64 // bytes that went into the digest; 0 where that is not known
	Rate   int64 // bytes per second over the last seconds
}

// teller passes on what a download has to say.
type teller struct {
	mu      sync.Mutex
	sayTo   func(string)
	showTo  func(Progress)
	last    time.Time
	samples []sample
}

type sample struct {
	at   time.Time
	done int64
}

func newTeller(s *Spec) *teller { return &teller{sayTo: s.Say, showTo: s.Progress} }

func (t *teller) say(format string, args ...any) {
	if t.sayTo == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sayTo(fmt.Sprintf(format, args...))
}

// progress shows p, if it is time or it is the last. One goroutine at a time calls it.
func (t *teller) progress(p Progress, last bool) {
	now := time.Now()
	if t.showTo == nil || !last && now.Sub(t.last) < progressEvery {
		return
	}
	t.last = now
	if n := len(t.samples); n > 0 && p.Done < t.samples[n-1].done {
		t.samples = nil // started over
	}
	t.samples = append(t.samples, sample{now, p.Done})
	if len(t.samples) > rateOver {
		t.samples = t.samples[1:]
	}
	first := t.samples[0]
	if d := now.Sub(first.at); d > 0 {
		p.Rate = int64(float64(p.Done-first.done) / d.Seconds())
	}
	t.showTo(p)
}

// look shows how far the download of another Get is.
func (t *teller) look(dir string) {
	if t.showTo == nil || time.Since(t.last) < progressEvery {
		return
	}
	if p, err := Peek(dir); err == nil {
		t.progress(p, false)
	}
}

// watch shows progress until ctx ends, and ends the download when nothing comes while it fetches.
func (t *transfer) watch(ctx, fetching context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(min(progressEvery, t.spec.Patience/4))
	defer tick.Stop()
	for {
		t.tell.progress(t.progress(), false)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if fetching.Err() == nil {
			if err := t.patient(); err != nil {
				stop(err)
				return
			}
		}
	}
}

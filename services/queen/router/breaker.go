package router

import "time"

// A breaker opens after breakAfter failures in a row, for breakFor at first and twice as long each
// time after, at most breakLongest.
const (
	breakAfter   = 3
	breakFor     = time.Second
	breakLongest = 30 * time.Second
)

// breaker keeps requests from one life of a worker that keeps failing: a worker that fails fast is
// always the least loaded. When its time is over one request tries, alone.
type breaker struct {
	fails  int // in a row
	opened int // times in a row
	until  time.Time
	trial  bool // the one request is under way
}

// allows says whether a request may go there.
func (b *breaker) allows(now time.Time) bool {
	return b.fails < breakAfter || !now.Before(b.until) && !b.trial
}

// began is told of each request that goes there; trial says that it is the one that tries.
func (b *breaker) began() (trial bool) {
	if b.fails >= breakAfter {
		b.trial = true
	}
	return b.trial
}

// succeeded is told of a complete answer.
func (b *breaker) succeeded() { *b = breaker{} }

// answered is told of a first token: others may go there, and one more failure opens it again.
func (b *breaker) answered() {
	b.fails, b.trial = min(b.fails, breakAfter-1), false
}

// failed returns how long the breaker is open now; 0 if it is not.
func (b *breaker) failed(now time.Time) time.Duration {
	b.fails++
	b.trial = false
	if b.fails < breakAfter || now.Before(b.until) {
		return 0
	}
	open := min(breakFor<<min(b.opened, 10), breakLongest)
	b.opened++
	b.until = now.Add(open)
	return open
}

// neither is told of a trial that says nothing of the worker: it was cancelled, or refused for want of
// a slot.
func (b *breaker) neither() { b.trial = false }

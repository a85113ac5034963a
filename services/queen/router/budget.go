package router

import (
	"sync"
	"time"
)

// Retries are budgeted, so that a cluster in trouble is not sent every request three times: each request
// earns retryShare of a retry, time earns retryRate a second, and retryMost are kept for a worker that
// dies with all its slots in use.
const (
	retryShare = 0.2
	retryRate  = 10.0
	retryMost  = 256.0
)

// budget is a bucket of retries. It is safe for concurrent use.
type budget struct {
	mu   sync.Mutex
	left float64
	at   time.Time
}

func newBudget(now time.Time) *budget { return &budget{left: retryMost, at: now} }

// request earns its share.
func (b *budget) request(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.earn(now, retryShare)
}

// retry takes one, or says that there is none.
func (b *budget) retry(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.earn(now, 0)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

func (b *budget) earn(now time.Time, more float64) {
	if d := now.Sub(b.at); d > 0 {
		more += d.Seconds() * retryRate
		b.at = now
	}
	b.left = min(b.left+more, retryMost)
}

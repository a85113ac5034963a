package queen

import (
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// claims remembers which hive fetches which file from outside, so that the others wait for it. It is one
// queen's memory: two queens that are asked within a moment may send two hives outside, which costs a second
// copy and nothing else. It is safe for concurrent use.
type claims struct {
	mu       sync.Mutex
	byDigest map[string]claimed
}

type claimed struct {
	hive  messages.HiveID
	until time.Time
}

// maxClaims bounds the files that are fetched at once in a whole cluster.
const maxClaims = 10_000

func newClaims() *claims { return &claims{byDigest: map[string]claimed{}} }

// take gives the file to hive if nobody living holds it, or holds it already, and says who does. alive says
// whether a hive is still there.
func (c *claims) take(digest string, hive messages.HiveID, now time.Time, alive func(messages.HiveID) bool) (holder messages.HiveID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.byDigest[digest]
	if ok && held.hive != hive && now.Before(held.until) && alive(held.hive) {
		return held.hive
	}
	if len(c.byDigest) >= maxClaims {
		for d, h := range c.byDigest {
			if !now.Before(h.until) {
				delete(c.byDigest, d)
			}
		}
	}
	if ok || len(c.byDigest) < maxClaims {
		c.byDigest[digest] = claimed{hive, now.Add(messages.LocateLife)}
	}
	return hive
}

// end forgets hive's claim.
func (c *claims) end(digest string, hive messages.HiveID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byDigest[digest].hive == hive {
		delete(c.byDigest, digest)
	}
}

package queen

import (
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// claims remembers which hive fetches which file from outside, so that the others wait for it. It is one
// queen's memory: who is asked and knows of nobody finds it out from the hive that fetches. It is safe for
// concurrent use.
type claims struct {
	mu       sync.Mutex
	byDigest map[string]claimed
}

// claimed is a claim. An ended one still holds for a while: its hive has the file most likely, so it is to be
// asked before another fetches.
type claimed struct {
	hive  messages.HiveID
	until time.Time
	ended bool
}

// maxClaims bounds the files that are fetched at once in a whole cluster.
const maxClaims = 10_000

func newClaims() *claims { return &claims{byDigest: map[string]claimed{}} }

// holder is the hive whose claim on the file holds, or "".
func (c *claims) holder(digest string, now time.Time) messages.HiveID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at(digest, now).hive
}

// at is the claim that holds. The caller holds c.mu.
func (c *claims) at(digest string, now time.Time) claimed {
	held := c.byDigest[digest]
	if !now.Before(held.until) {
		return claimed{}
	}
	return held
}

// renew has hive's claim hold on, if it has not ended.
func (c *claims) renew(digest string, hive messages.HiveID, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.at(digest, now)
	if held.hive != hive || held.ended {
		return false
	}
	c.put(digest, claimed{hive: hive, until: now.Add(messages.LocateLife)}, now)
	return true
}

// take gives the file to hive unless another's claim holds, and says who has it.
func (c *claims) take(digest string, hive messages.HiveID, now time.Time) (holder messages.HiveID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held := c.at(digest, now); held.hive != "" && held.hive != hive {
		return held.hive
	}
	c.put(digest, claimed{hive: hive, until: now.Add(messages.LocateLife)}, now)
	return hive
}

// end notes that hive fetches no longer.
func (c *claims) end(digest string, hive messages.HiveID, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held := c.at(digest, now); held.hive == "" || held.hive == hive {
		c.put(digest, claimed{hive: hive, until: now.Add(messages.LocateLife), ended: true}, now)
	}
}

// forget drops hive's claim if it has ended: it was asked and has not got the file.
func (c *claims) forget(digest string, hive messages.HiveID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.byDigest[digest]
	if held.hive != hive || !held.ended {
		return false
	}
	delete(c.byDigest, digest)
	return true
}

// put remembers a claim if there is room. The caller holds c.mu.
func (c *claims) put(digest string, v claimed, now time.Time) {
	if _, ok := c.byDigest[digest]; !ok && len(c.byDigest) >= maxClaims {
		for d, h := range c.byDigest {
			if !now.Before(h.until) {
				delete(c.byDigest, d)
			}
		}
		if len(c.byDigest) >= maxClaims {
			return
		}
	}
	c.byDigest[digest] = v
}

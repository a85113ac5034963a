// Package router brings a request to a worker: it picks the least loaded one, holds requests while
// every slot is busy, and tries elsewhere until the first token. Two routes, the bus and the
// worker's HTTP port, stand behind one Stream.
package router

import (
	"github.com/rbee-project/rbee/messages"
)

// Candidate is a worker as a pick sees it.
type Candidate struct {
	ID          messages.WorkerID
	Incarnation string
	// Free says that it is ready, not suspect, and reachable; a worker that starts or drains is not.
	Free bool
	// Shaky says that its last request failed; it is taken when nobody else is free.
	Shaky bool
	// Broken says that its breaker is open.
	Broken bool
	// Slots it has, Used by its own word, Running by our own count. The larger of the two holds:
	// its word is old by up to a beat, and another queen's requests are not in ours.
	Slots, Used, Running int
	// Busy says that it refused a request a moment ago.
	Busy bool
	// Failed says that this request failed there before, by every way that there is.
	Failed bool
	// Again says that this request failed there by one way, and another is left.
	Again bool
	// Picks counts what it got so far; it breaks ties, so that equals take turns.
	Picks uint64
}

func (c *Candidate) load() int { return max(c.Used, c.Running) }

// Pick returns the index of the candidate with the smallest share of its slots taken, or -1 when none
// has a free slot. It is a pure function.
func Pick(cs []Candidate) int {
	best := -1
	for i := range cs {
		c := &cs[i]
		if !c.Free || c.Busy || c.Failed || c.Broken || c.load() >= c.Slots {
			continue
		}
		if best < 0 || less(c, &cs[best]) {
			best = i
		}
	}
	return best
}

// less prefers those that did not fail lately, then compares load/slots by cross-multiplication, then the
// number of picks, then the id.
func less(a, b *Candidate) bool {
	if a.Shaky != b.Shaky {
		return b.Shaky
	}
	if l, r := a.load()*b.Slots, b.load()*a.Slots; l != r {
		return l < r
	}
	if a.Picks != b.Picks {
		return a.Picks < b.Picks
	}
	return a.ID < b.ID
}

package peers

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// maxTickets bounds what is remembered; the one that ends first goes.
const maxTickets = 4096

// tickets are those that the queen has handed out for files of this hive. They are kept by their hash, so that
// the time of a look says nothing about them. Safe for concurrent use.
type tickets struct {
	mu     sync.Mutex
	byHash map[[sha256.Size]byte]ticket
}

type ticket struct {
	digest string
	until  time.Time
}

// admit remembers a ticket for the file of digest.
func (t *tickets) admit(word, digest string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byHash == nil {
		t.byHash = map[[sha256.Size]byte]ticket{}
	}
	if len(t.byHash) >= maxTickets {
		t.makeRoom(now)
	}
	t.byHash[sha256.Sum256([]byte(word))] = ticket{digest, now.Add(messages.TicketLife)}
}

// makeRoom drops those that have ended, and at least one. The caller holds t.mu.
func (t *tickets) makeRoom(now time.Time) {
	var first [sha256.Size]byte
	var until time.Time
	for k, v := range t.byHash {
		if now.After(v.until) {
			delete(t.byHash, k)
		} else if until.IsZero() || v.until.Before(until) {
			first, until = k, v.until
		}
	}
	if len(t.byHash) >= maxTickets {
		delete(t.byHash, first)
	}
}

// opens says whether a ticket opens the file of digest, and lets it live on if so.
func (t *tickets) opens(word, digest string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := sha256.Sum256([]byte(word))
	found, ok := t.byHash[key]
	if !ok || found.digest != digest || now.After(found.until) {
		return false
	}
	found.until = now.Add(messages.TicketLife)
	t.byHash[key] = found
	return true
}

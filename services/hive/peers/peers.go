// Package peers has hives copy models from each other before one of them goes outside. The queen says who has
// a file, or who may fetch it; a ticket that it hands to both opens that file at its holder, over HTTP where
// the port can be reached, else over the bus. What is still being fetched is handed on as it comes.
package peers

import (
	"context"
	"crypto/subtle"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// Files is where the hive's files are. *catalog.Catalog has it.
type Files interface {
	// Locate is the path of a whole file of that digest, or the folder of a download of it, or neither.
	Locate(digest string) (path, partial string)
}

// Bus is what peers need of the bus. *bus.Conn has it.
type Bus interface {
	Request(ctx context.Context, subject string, req, reply any) error
}

// Config of [New].
type Config struct {
	Hive messages.HiveID
	// Caller is the hive's name in subjects.
	Caller messages.Caller
	Bus    Bus
	Files  Files
	Log    *slog.Logger
	// Listen is where other hives copy from; "" opens no port, and copies go over the bus.
	Listen string
	// Advertise is the host that others dial if Listen is every address; it is asked when it is needed.
	Advertise func() string
}

// Peers serves this hive's files to others and copies theirs. Its methods are safe for concurrent use.
type Peers struct {
	cfg  Config
	host string // this machine's name

	mu      sync.Mutex
	tickets map[string]*ticket
	url     string // where the port is; "" for none
}

type ticket struct {
	digest string
	until  time.Time
}

// maxTickets bounds what is remembered; the one that ends first goes.
const maxTickets = 4096

// New returns Peers whose port is not open yet.
func New(cfg Config) *Peers {
	host, _ := os.Hostname()
	return &Peers{cfg: cfg, host: host, tickets: map[string]*ticket{}}
}

// Offer answers the queen: is the file here, or on its way? With a ticket, it is remembered.
func (p *Peers) Offer(_ context.Context, _ *bus.Call, r *messages.OfferRequest) (*messages.OfferReply, error) {
	out := &messages.OfferReply{Host: p.host}
	path, partial := p.cfg.Files.Locate(r.Digest)
	if path == "" && partial != "" {
		if f, err := openPartial(partial); err == nil {
			f.Close()
			out.Partial = true
		}
	}
	if out.Have = path != ""; !out.Have && !out.Partial {
		return out, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out.URL = p.url
	if r.Ticket != "" {
		p.admit(r.Ticket, r.Digest, time.Now())
	}
	return out, nil
}

// admit remembers a ticket. The caller holds p.mu.
func (p *Peers) admit(t, digest string, now time.Time) {
	oldest := ""
	for k, v := range p.tickets {
		if now.After(v.until) {
			delete(p.tickets, k)
		} else if oldest == "" || v.until.Before(p.tickets[oldest].until) {
			oldest = k
		}
	}
	if len(p.tickets) >= maxTickets {
		delete(p.tickets, oldest)
	}
	p.tickets[t] = &ticket{digest, now.Add(messages.TicketLife)}
}

// opens says whether t opens the file of digest, and lets it live on if so.
func (p *Peers) opens(t, digest string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, now := (*ticket)(nil), time.Now()
	for k, v := range p.tickets { // all of them, so that the time says nothing
		if subtle.ConstantTimeCompare([]byte(k), []byte(t)) == 1 {
			found = v
		}
	}
	if found == nil || found.digest != digest || now.After(found.until) {
		return false
	}
	found.until = now.Add(messages.TicketLife)
	return true
}

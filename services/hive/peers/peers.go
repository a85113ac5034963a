// Package peers has hives copy models from each other before one of them goes outside. The queen says who has
// a file, or who may fetch it; a ticket that it hands to both opens that file at its holder, over HTTP where
// the port can be reached, else over the bus. What is still being fetched is handed on as it comes: by the hive
// that fetches it from outside and by no other, so that no two wait for each other's bytes.
package peers

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
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
	cfg     Config
	host    string // this machine's name
	tickets tickets
	client  *http.Client
	reads   chan struct{} // a slot for each read over the bus

	mu      sync.Mutex
	port    *net.TCPAddr        // nil: none is open
	routes  map[string][]*route // by digest: the downloads that look for a way, or have one
	spoiled map[string]time.Time
}

// New returns Peers whose port is not open yet.
func New(cfg Config) *Peers {
	host, _ := os.Hostname()
	return &Peers{cfg: cfg, host: host, client: newClient(), reads: make(chan struct{}, maxReads), routes: map[string][]*route{}, spoiled: map[string]time.Time{}}
}

// Offer answers the queen: is the file here, or does this hive fetch it from outside? With a ticket, it is
// remembered.
func (p *Peers) Offer(_ context.Context, _ *bus.Call, r *messages.OfferRequest) (*messages.OfferReply, error) {
	out := &messages.OfferReply{Host: p.host}
	path, partial := p.cfg.Files.Locate(r.Digest)
	if path == "" && partial != "" && p.fetches(r.Digest) {
		if f, err := openPartial(partial, r.Digest); err == nil {
			_ = f.Close()
			out.Partial = true
		}
	}
	if out.Have = path != ""; !out.Have && !out.Partial {
		return out, nil
	}
	out.URL = p.url()
	if r.Ticket != "" {
		p.tickets.admit(r.Ticket, r.Digest, time.Now())
	}
	return out, nil
}

// fetches says whether a download of that file has its bytes from outside, and they come.
func (p *Peers) fetches(digest string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.routes[digest], (*route).fetches)
}

// url is where other hives copy from; "" for nowhere, or where nobody knows under which address.
func (p *Peers) url() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.port == nil {
		return ""
	}
	host := p.port.IP.String()
	if p.port.IP.IsUnspecified() {
		if host = ""; p.cfg.Advertise != nil {
			host = p.cfg.Advertise()
		}
	}
	if host == "" {
		return ""
	}
	return (&url.URL{Scheme: "http", Host: net.JoinHostPort(host, fmt.Sprint(p.port.Port))}).String()
}

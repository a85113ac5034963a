package peers

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	askLimit  = 5 * time.Second        // for the queen's answer
	waitAgain = 300 * time.Millisecond // while another hive is about to fetch
	badFor    = 5 * time.Second        // how long a hive whose copy did not arrive is not asked again
)

// Around is a [catalog.Around]: a way to a file that asks the queen first. If no queen answers, it leads
// outside.
func (p *Peers) Around(ctx context.Context, f catalog.Wanted, outside download.Source) (download.Source, func()) {
	ctx, cancel := context.WithCancel(ctx)
	r := &route{p: p, f: f, outside: outside, life: ctx, turn: make(chan struct{}, 1)}
	return r.fetch, func() {
		cancel()
		r.renewing.Wait()
		r.release()
	}
}

// route is the way to one file: outside, or to a hive. All streams of the download share it.
type route struct {
	p       *Peers
	f       catalog.Wanted
	outside download.Source
	life    context.Context
	turn    chan struct{} // who decides holds it

	mu       sync.Mutex
	way      *way // nil: to be decided
	bad      messages.HiveID
	badUntil time.Time
	claimed  bool
	renewing sync.WaitGroup
}

// way is where the bytes come from.
type way struct {
	hive   messages.HiveID // "": outside
	url    string          // "": over the bus
	ticket string
}

func (r *route) fetch(ctx context.Context, rng vendor.Range) (*vendor.Body, error) {
	w, err := r.decide(ctx)
	switch {
	case err != nil:
		return nil, err
	case w.hive == "":
		return r.outside(ctx, rng)
	}
	b, err := r.p.open1(ctx, w, r.f, rng)
	if err != nil {
		if ctx.Err() == nil {
			r.leave(w)
		}
		return nil, messages.Errorf(messages.CodeUnavailable, messages.OpRead, "copying from hive %s: %w", w.hive, err)
	}
	b.Version = "" // the digest says what it is
	b.ReadCloser = watched{b.ReadCloser, func() {
		if ctx.Err() == nil { // else it is our own doing
			r.leave(w)
		}
	}}
	return b, nil
}

// watched calls failed when a read fails.
type watched struct {
	io.ReadCloser
	failed func()
}

func (w watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // a reader gives io.EOF itself
		w.failed()
	}
	return n, err
}

// leave has the way decided anew: it did not bring the bytes.
func (r *route) leave(w *way) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.way == w {
		r.way, r.bad, r.badUntil = nil, w.hive, time.Now().Add(badFor)
	}
}

func (r *route) current() *way {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.way
}

// decide asks the queen, once for all streams, and waits while another hive is about to fetch.
func (r *route) decide(ctx context.Context) (*way, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		if w := r.current(); w != nil {
			return w, nil
		}
		reply, err := r.ask(ctx, false)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			r.p.cfg.Log.Info("no queen says who has the file; fetching it", "error", err)
			r.take(&way{}, "")
		case reply.Wait:
			select {
			case <-time.After(waitAgain):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		default:
			r.follow(reply)
		}
	}
}

// follow takes the way that the queen says.
func (r *route) follow(reply *messages.LocateReply) {
	if reply.Outside || reply.Hive == "" || reply.Ticket == "" {
		r.take(&way{}, "")
		r.claim()
		return
	}
	w := &way{hive: reply.Hive, url: reply.URL, ticket: reply.Ticket}
	if !r.p.reachable(reply) {
		w.url = ""
	}
	r.take(w, "copying from hive "+string(reply.Hive))
}

// reachable says whether a hive's port may be dialled: another machine's loopback is not ours.
func (p *Peers) reachable(r *messages.LocateReply) bool {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip == nil || !ip.IsLoopback() || r.Host == p.host
}

func (r *route) take(w *way, say string) {
	r.mu.Lock()
	r.way = w
	r.mu.Unlock()
	if say != "" && r.f.Say != nil {
		r.f.Say(say)
	}
}

// claim is renewed as long as the download lasts: others wait for it.
func (r *route) claim() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claimed || r.life.Err() != nil {
		return
	}
	r.claimed = true
	r.renewing.Go(func() {
		tick := time.NewTicker(messages.LocateEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-r.life.Done():
				return
			}
			if w := r.current(); w == nil || w.hive != "" {
				continue
			}
			// Another may have taken over while we were away: then we copy from it.
			if reply, err := r.ask(r.life, true); err == nil && reply.Hive != "" && reply.Ticket != "" {
				r.follow(reply)
			}
		}
	})
}

// ask asks the queen where the file is.
func (r *route) ask(ctx context.Context, fetching bool) (*messages.LocateReply, error) {
	r.mu.Lock()
	req := &messages.LocateRequest{Digest: r.f.Digest, SizeBytes: r.f.SizeBytes, Fetching: fetching}
	if time.Now().Before(r.badUntil) {
		req.Bad = r.bad
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	reply := &messages.LocateReply{}
	return reply, r.p.cfg.Bus.Request(ctx, messages.DoSubject(r.p.cfg.Caller, messages.OpLocate), req, reply)
}

// release tells the queen that others need not wait any more.
func (r *route) release() {
	r.mu.Lock()
	claimed := r.claimed
	r.mu.Unlock()
	if !claimed {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.life), time.Second)
	defer cancel()
	// A claim that is not ended ends by itself.
	_ = r.p.cfg.Bus.Request(ctx, messages.DoSubject(r.p.cfg.Caller, messages.OpLocate), &messages.LocateRequest{Digest: r.f.Digest, Done: true}, nil)
}

var client = vendor.NewClient()

// open1 opens a part of a file at another hive.
func (p *Peers) open1(ctx context.Context, w *way, f catalog.Wanted, rng vendor.Range) (*vendor.Body, error) {
	if w.url == "" {
		return p.overBus(ctx, w, f, rng)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+filesPath+f.Digest, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", bearer+w.ticket)
	b, err := vendor.Open(client, req, rng)
	if _, refused := asOpError(err); refused {
		return p.overBus(ctx, w, f, rng) // the port is out of reach, the hive may not be
	}
	return b, err
}

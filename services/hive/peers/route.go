package peers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	askLimit   = 5 * time.Second        // for one answer of the queen
	queenLimit = 10 * time.Second       // for any; then the file is fetched without her
	waitAgain  = 300 * time.Millisecond // while another hive is about to fetch
	badFor     = 5 * time.Second        // how long a hive whose copy did not arrive is not asked again
	// aloneAfter is how long a download asks hives in vain, without a byte; then it goes outside, whatever is
	// said. It is less than the patience of a download.
	aloneAfter = time.Minute
	// How long who fetches from outside does not turn to a hive that could not be reached, or brought nothing.
	unreachedFor, nothingFor = 24 * time.Hour, 2 * time.Minute
)

// Around is a [catalog.Around]: a way to a file that asks the queen first. If no queen answers, or no hive
// brings the bytes, it leads outside.
func (p *Peers) Around(ctx context.Context, f catalog.Wanted, outside download.Source) (download.Source, func(error) bool) {
	life, cancel := context.WithCancel(ctx)
	r := &route{p: p, f: f, outside: outside, life: life, turn: make(chan struct{}, 1), alone: p.isSpoiled(f.Digest)}
	p.mu.Lock()
	p.routes[f.Digest] = append(p.routes[f.Digest], r)
	p.mu.Unlock()
	return r.fetch, func(err error) bool {
		cancel()
		r.renewing.Wait()
		return r.end(ctx, err)
	}
}

// route is the way to one file: outside, or to a hive. All streams of the download share it.
type route struct {
	p       *Peers
	f       catalog.Wanted
	outside download.Source
	life    context.Context
	turn    chan struct{} // who decides holds it
	alone   bool          // hives are not asked
	// progress is when the last byte came, or hope began anew, in Unix ns; 0: it has not begun.
	progress atomic.Int64
	copied   atomic.Bool // a byte came from a hive
	renewing sync.WaitGroup

	mu        sync.Mutex
	way       *way            // nil: to be decided
	bad       messages.HiveID // whose copy did not arrive
	badUntil  time.Time
	shunned   messages.HiveID // no renewal leads there
	shunUntil time.Time
	renews    bool // the renewing has begun
	idle      bool // outside brings nothing: others need not wait for us
	said      messages.HiveID
	from      messages.HiveID // the last that was copied from

	owes bool // the queen has to be told of the end; under p.mu
}

// way is where the bytes come from.
type way struct {
	hive   messages.HiveID // "": outside
	url    string          // "": over the bus
	ticket string
	noHTTP atomic.Bool // its port does not answer
	left   context.Context
	leave  context.CancelFunc
}

func (r *route) newWay(w *way) *way {
	w.left, w.leave = context.WithCancel(r.life)
	return w
}

// fetch is the download's source.
func (r *route) fetch(ctx context.Context, rng vendor.Range) (*vendor.Body, error) {
	w, err := r.decide(ctx)
	switch {
	case err != nil:
		return nil, err
	case w.hive == "":
		return r.goOutside(ctx, w, rng)
	}
	return r.copyFrom(ctx, w, rng)
}

// decide asks the queen, once for all streams, and waits while another hive is about to fetch.
func (r *route) decide(ctx context.Context) (*way, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.progress.CompareAndSwap(0, time.Now().UnixNano())
	for began := time.Now(); ; {
		switch w := r.current(); {
		case w != nil:
			return w, nil
		case r.alone || r.since() > aloneAfter:
			r.shun(nothingFor)
			r.takeOutside()
			continue
		}
		reply, err := r.ask(ctx, false)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && (final(err) || time.Since(began) > queenLimit):
			r.p.cfg.Log.Info("no queen says who has the file; fetching it", "error", err)
			r.takeOutside()
		case err != nil, reply.Wait:
			select {
			case <-time.After(waitAgain):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case leads(reply):
			r.follow(reply)
		default:
			r.takeOutside()
		}
	}
}

// final says that asking again does not help.
func final(err error) bool {
	switch messages.CodeOf(err) {
	case messages.CodeDenied, messages.CodeBadRequest, messages.CodeWrongVersion:
		return true
	default:
		return false
	}
}

// leads says whether the queen names a hive to copy from.
func leads(r *messages.LocateReply) bool {
	return r.Hive != "" && r.Ticket != "" && !r.Wait && !r.Outside
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

func (r *route) current() *way {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.way
}

// follow takes the way to the hive that the queen names.
func (r *route) follow(reply *messages.LocateReply) {
	w := &way{hive: reply.Hive, url: r.p.dialled(reply), ticket: reply.Ticket}
	r.take(w, "copying from hive "+string(w.hive))
}

// takeOutside takes the way to the source, and has others wait for us.
func (r *route) takeOutside() {
	r.came()
	r.p.mu.Lock()
	r.owes = true
	r.p.mu.Unlock()
	r.take(&way{}, "the other hives do not bring it: fetching it from its source")
	r.renew()
}

// take has all streams go w. It says so if that is news; what begins outside is none.
func (r *route) take(w *way, text string) {
	r.mu.Lock()
	if r.way != nil {
		r.way.leave()
	}
	r.way, r.idle = r.newWay(w), false
	news := r.said != w.hive
	r.said = w.hive
	if w.hive != "" {
		r.from = w.hive
	}
	r.mu.Unlock()
	if news && r.f.Say != nil {
		r.f.Say(text)
	}
}

// failed has the way decided anew: it did not bring the bytes. unreached says that not even an answer came.
func (r *route) failed(w *way, unreached bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.way != w {
		return
	}
	r.way, r.bad, r.badUntil = nil, w.hive, time.Now().Add(badFor)
	if unreached {
		r.shunned, r.shunUntil = w.hive, time.Now().Add(unreachedFor)
	}
}

// shun has no renewal lead to the hive whose copy did not arrive.
func (r *route) shun(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until := time.Now().Add(d); r.shunned != r.bad || r.shunUntil.Before(until) {
		r.shunned, r.shunUntil = r.bad, until
	}
}

// shuns says whether no renewal leads to hive.
func (r *route) shuns(hive messages.HiveID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alone || hive == r.shunned && time.Now().Before(r.shunUntil)
}

// came notes that there is hope.
func (r *route) came() { r.progress.Store(time.Now().UnixNano()) }

// since is how long there was none.
func (r *route) since() time.Duration { return time.Since(time.Unix(0, r.progress.Load())) }

// end is called when the download is over, with its error. ctx is the one of [Peers.Around]. It says whether hives gave
// wrong bytes.
func (r *route) end(ctx context.Context, err error) bool {
	p, digest := r.p, r.f.Digest
	p.mu.Lock()
	rest := slices.DeleteFunc(p.routes[digest], func(o *route) bool { return o == r })
	tell := r.owes && len(rest) == 0
	if len(rest) == 0 {
		delete(p.routes, digest)
	} else {
		p.routes[digest] = rest
		rest[0].owes = rest[0].owes || r.owes // it goes on with the same claim
	}
	p.mu.Unlock()
	if tell {
		r.tellDone(context.WithoutCancel(ctx))
	}
	if ctx.Err() != nil || !r.copied.Load() || !errors.Is(err, download.ErrDigest) {
		return false
	}
	p.noteSpoiled(digest)
	if r.f.Say != nil {
		r.f.Say("what hive " + string(r.lastHive()) + " gave has another digest: fetching it from its source")
	}
	return true
}

// lastHive is that from which bytes came last.
func (r *route) lastHive() messages.HiveID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.from
}

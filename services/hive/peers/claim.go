package peers

import (
	"context"
	"maps"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
)

const (
	// idleAfter is how long outside may bring nothing until others need not wait for this hive any more. It is
	// more than a stream of a download waits between two tries.
	idleAfter = 20 * time.Second
	tellLimit = time.Second
	// spoiledFor is how long a file is fetched from its source alone, after a copy with a wrong digest.
	spoiledFor = time.Hour
	maxSpoiled = 256
)

// fetches says whether this download has its bytes from outside, and they come.
func (r *route) fetches() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.way != nil && r.way.hive == "" && !r.idle
}

// renew keeps the claim as long as the download lasts, has its bytes from outside and gets some.
func (r *route) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.renews || r.life.Err() != nil {
		return
	}
	r.renews = true
	r.renewing.Go(func() {
		tick := time.NewTicker(messages.LocateEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.renewOnce()
			case <-r.life.Done():
				return
			}
		}
	})
}

func (r *route) renewOnce() {
	r.mu.Lock()
	w, idle := r.way, r.idle
	r.mu.Unlock()
	if w == nil || w.hive != "" {
		return
	}
	moves := r.since() < idleAfter || r.allThere()
	if !moves && !idle {
		r.setIdle(w, true)
		r.tellDone(r.life)
		return
	}
	// Another may fetch it by now, or have it, if we were frozen or without a bus, or got nothing: then we copy.
	reply, err := r.ask(r.life, moves)
	switch {
	case err != nil || r.life.Err() != nil:
	case leads(reply) && !r.shuns(reply.Hive):
		r.follow(reply)
	case reply.Outside && idle:
		r.setIdle(w, false)
	}
}

// setIdle is for the way w.
func (r *route) setIdle(w *way, idle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.way != w {
		return
	}
	if r.idle = idle; !idle {
		r.came()
	}
}

// allThere says whether every byte is on the disk: what is left is to check and to name it.
func (r *route) allThere() bool {
	path, partial := r.p.cfg.Files.Locate(r.f.Digest)
	if path != "" || partial == "" {
		return path != ""
	}
	at, err := download.Peek(partial)
	return err == nil && at.Total >= 0 && at.Done == at.Total
}

// tellDone tells the queen that others need not wait any more. A claim that is not ended ends by itself.
func (r *route) tellDone(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	req := &messages.LocateRequest{Digest: r.f.Digest, Done: true}
	if err := r.p.cfg.Bus.Request(ctx, messages.DoSubject(r.p.cfg.Caller, messages.OpLocate), req, nil); err != nil {
		r.p.cfg.Log.Debug("the queen does not hear that a file is there", "digest", r.f.Digest, "error", err)
	}
}

// noteSpoiled has the next downloads of a file go to the source alone: one of the hives has a damaged one, and must not
// spoil every other try.
func (p *Peers) noteSpoiled(digest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); len(p.spoiled) >= maxSpoiled {
		maps.DeleteFunc(p.spoiled, func(_ string, until time.Time) bool { return now.After(until) })
	}
	if len(p.spoiled) >= maxSpoiled {
		clear(p.spoiled)
	}
	p.spoiled[digest] = time.Now().Add(spoiledFor)
}

func (p *Peers) isSpoiled(digest string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.spoiled[digest])
}

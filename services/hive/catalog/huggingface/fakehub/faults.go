package fakehub

import (
	"fmt"
	"net/http"
	"time"
)

// faults are what goes wrong; under Hub.mu.
type faults struct {
	limitAfter, limited int // requests that pass first; that get a 429 then
	limitWait           time.Duration
	broken, brokenCDN   int // requests that get status
	status, statusCDN   int
	rate                int64 // bytes/s
	nextFree            time.Time
	cut                 func() int64
	stallAt             int64
	stalled             chan struct{} // closed to go on
	ignoreRanges        bool
	lying               func(h http.Header)
	mangle              func(path string, body []byte) []byte
}

// RateLimit lets after requests to the hub's own host pass; the n that follow are answered 429 in HTML, with wait
// in the RateLimit header, in whole seconds.
func (h *Hub) RateLimit(after, n int, wait time.Duration) {
	h.set(func(f *faults) { f.limitAfter, f.limited, f.limitWait = after, n, wait })
}

// Break has the next n requests to the hub's own host answered with status.
func (h *Hub) Break(n, status int) { h.set(func(f *faults) { f.broken, f.status = n, status }) }

// BreakCDN has the next n requests to the CDN answered with status.
func (h *Hub) BreakCDN(n, status int) {
	h.set(func(f *faults) { f.brokenCDN, f.statusCDN = n, status })
}

// Throttle bounds what all connections of the CDN send together, in bytes a second, sent in small pieces; 0 ends it.
func (h *Hub) Throttle(bytesPerSecond int64) {
	h.set(func(f *faults) { f.rate, f.nextFree = bytesPerSecond, time.Time{} })
}

// Cut has every connection of the CDN cut after as many bytes of a body as next says, asked once a body, one call at a time;
// a body that is not longer, or a number below 0, is not cut. nil ends it.
func (h *Hub) Cut(next func() int64) { h.set(func(f *faults) { f.cut = next }) }

// Stall has every body from the CDN stop after so many bytes, until [Hub.Unstall]; the connection stays open.
func (h *Hub) Stall(after int64) {
	h.set(func(f *faults) {
		if f.stalled == nil {
			f.stalled = make(chan struct{})
		}
		f.stallAt = after
	})
}

// Unstall lets stalled bodies go on and ends [Hub.Stall].
func (h *Hub) Unstall() {
	h.set(func(f *faults) {
		if f.stalled != nil {
			close(f.stalled)
		}
		f.stalled = nil
	})
}

// IgnoreRanges has the CDN answer a range with 200 and the whole file.
func (h *Hub) IgnoreRanges(on bool) { h.set(func(f *faults) { f.ignoreRanges = on }) }

// Lie changes the header of each good answer of the CDN before it is sent: a wrong Content-Range or ETag. nil ends it.
func (h *Hub) Lie(change func(h http.Header)) { h.set(func(f *faults) { f.lying = change }) }

// Mangle changes each good answer in JSON before it is sent; path is the request's. nil ends it.
func (h *Hub) Mangle(change func(path string, body []byte) []byte) {
	h.set(func(f *faults) { f.mangle = change })
}

// PageSize is how many entries a page of a tree has; 1,000 at the start.
func (h *Hub) PageSize(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.page = max(n, 1)
}

// LinkLife is how long an address of the CDN is good from now on; an hour at the start. Resolution is a second.
func (h *Hub) LinkLife(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.life = d
}

// ExpireLinks makes every address of the CDN that was given out until now one that has expired.
func (h *Hub) ExpireLinks() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch++
}

func (h *Hub) set(change func(*faults)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.faults)
}

// broke answers a request that a fault is meant for, and says so.
func (h *Hub) broke(w http.ResponseWriter, host string) bool {
	h.mu.Lock()
	f := &h.faults
	status := 0
	var wait time.Duration
	switch {
	case host == "cdn":
		if f.brokenCDN > 0 {
			f.brokenCDN--
			status = f.statusCDN
		}
	case f.limitAfter > 0:
		f.limitAfter--
	case f.limited > 0:
		f.limited--
		status, wait = http.StatusTooManyRequests, f.limitWait
	}
	if host != "cdn" && status == 0 && f.broken > 0 {
		f.broken--
		status = f.status
	}
	h.mu.Unlock()
	if status == 0 {
		return false
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if wait > 0 {
		w.Header().Set("RateLimit", fmt.Sprintf(`"api";r=0;t=%d`, int(wait/time.Second)))
		w.Header().Set("RateLimit-Policy", `"fixed window";"api";q=500;w=300`)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!DOCTYPE html><html><body><h1>%d</h1><p>%s</p></body></html>\n", status, http.StatusText(status))
	return true
}

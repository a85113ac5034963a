package vendortest

import (
	"net/http"
	"sync"
	"time"
)

// Gate stands before the HTTP handlers of a vendor's source. It counts what is asked, and the suite makes
// it hold, cut or refuse answers. The zero Gate is open.
type Gate struct {
	mu       sync.Mutex
	way      way
	pass     int // bytes of a body that pass before it is held or cut
	requests int
	active   int
	changed  chan struct{} // closed and replaced at each change of active
}

type way int

const (
	open    way = iota
	holding     // no answer comes
	halting     // an answer stops in its body
	cutting     // a connection ends in a body
	busy        // 503 with Retry-After
	gone        // every connection ends without an answer
)

// retryAfter is what a busy source asks for.
const retryAfter = 7 * time.Second

// Wrap returns h behind the gate. A source of several servers puts each behind the same gate.
func (g *Gate) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		way, pass := g.enter()
		defer g.leave()
		switch way {
		case holding:
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // an answer could still overtake the end of the connection
		case busy:
			w.Header().Set("Retry-After", "7")
			http.Error(w, "come back later", http.StatusServiceUnavailable)
		case gone:
			panic(http.ErrAbortHandler)
		case halting, cutting:
			n := &narrow{ResponseWriter: w, r: r, left: pass, cut: way == cutting}
			h.ServeHTTP(n, r)
			if n.over { // the handler recovered
				panic(http.ErrAbortHandler)
			}
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// Requests is how many have come so far.
func (g *Gate) Requests() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests
}

// set changes the gate for the requests that come from now on; pass is for halting and cutting.
func (g *Gate) set(w way, pass int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.way, g.pass = w, pass
}

func (g *Gate) enter() (way, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests++
	g.count(1)
	return g.way, g.pass
}

func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count(-1)
}

func (g *Gate) count(n int) {
	g.active += n
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// wait returns true once requests are being answered (any), or none, and false if that is not so within limit.
func (g *Gate) wait(any bool, limit time.Duration) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		g.mu.Lock()
		if (g.active > 0) == any {
			g.mu.Unlock()
			return true
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-end.C:
			return false
		}
	}
}

// narrow lets the first bytes of a body pass, then halts until the client goes, or cuts the connection.
type narrow struct {
	http.ResponseWriter
	r    *http.Request
	left int
	cut  bool
	over bool
}

func (n *narrow) Write(p []byte) (int, error) {
	if len(p) <= n.left {
		n.left -= len(p)
		return n.ResponseWriter.Write(p)
	}
	if n.over {
		return 0, http.ErrAbortHandler
	}
	wrote, err := n.ResponseWriter.Write(p[:n.left])
	n.left, n.over = 0, true
	if err == nil {
		err = http.NewResponseController(n.ResponseWriter).Flush()
	}
	if err != nil {
		return wrote, err
	}
	if !n.cut {
		<-n.r.Context().Done()
	}
	panic(http.ErrAbortHandler)
}

// Flush serves handlers that ask for an [http.Flusher].
func (n *narrow) Flush() { _ = http.NewResponseController(n.ResponseWriter).Flush() }

// Unwrap serves [http.ResponseController].
func (n *narrow) Unwrap() http.ResponseWriter { return n.ResponseWriter }

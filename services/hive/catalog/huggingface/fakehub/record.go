package fakehub

import (
	"net/http"
	"strings"
	"sync"
)

// maxRecorded bounds how many requests are remembered.
const maxRecorded = 100_000

// Request is a request that came.
type Request struct {
	Host   string // "hub" or "cdn"
	Method string
	Path   string // as it was sent, still encoded
	Query  string
	Header http.Header
}

type record struct {
	handlers sync.WaitGroup
	requests []Request        // under Hub.mu
	sent     map[string]int64 // the same
}

func (h *Hub) recorded(host string, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		select {
		case <-h.closed:
			h.mu.Unlock()
			panic(http.ErrAbortHandler)
		default:
		}
		h.record.handlers.Add(1)
		if len(h.record.requests) < maxRecorded {
			h.record.requests = append(h.record.requests, Request{Host: host, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header.Clone()})
		}
		h.mu.Unlock()
		defer h.record.handlers.Done()
		if !h.broke(w, host) {
			next(w, r)
		}
	})
}

// Requests are those that came since the start or the last [Hub.Forget], oldest first: the first 100,000.
func (h *Hub) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Request(nil), h.record.requests...)
}

// Count is how many of [Hub.Requests] came to host ("hub" or "cdn") with part in their path.
func (h *Hub) Count(host, part string) int {
	n := 0
	for _, r := range h.Requests() {
		if r.Host == host && strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

// SentBytes is how many bytes of a file were sent, by the CDN or the hub, since the start or the last
// [Hub.Forget]. file is "org/repo/path".
func (h *Hub) SentBytes(file string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.record.sent[file]
}

// Forget empties [Hub.Requests] and [Hub.SentBytes].
func (h *Hub) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.record.requests = nil
	h.record.sent = map[string]int64{}
}

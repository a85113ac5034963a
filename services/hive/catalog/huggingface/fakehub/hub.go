package fakehub

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Repo is a repository of models.
type Repo struct {
	Name string // "org/repo"
	// Renamed are the names it had before; they are answered with a 307.
	Renamed []string
	Files   []File // of the branch main
	// Branches are its other branches, tags and refs ("refs/pr/3"), each with all of its files.
	Branches      map[string][]File
	License       string   // as in the model card; "" leaves it out
	Architecture  string   // of the GGUF, as the hub read it; "" leaves gguf out
	ContextLength int      // the same
	Tags          []string // besides license: and, with a GGUF file, gguf
	Gated         bool     // files only for tokens with access; metadata is public
	Private       bool     // nothing but for tokens with access
	Disabled      bool     // by the hub's staff: files are refused with 403
}

// File is a file of a repository. Its bytes are Content or, if that is nil, Size bytes made from Seed, which are
// never held in memory.
type File struct {
	Path    string
	Content []byte
	Size    int64  // of a made file; ignored with Content
	Seed    uint64 // two seeds give two contents
	LFS     bool   // in LFS: it has a sha256 and comes from the CDN
	// Digest is the sha256 that the hub tells, 64 hexadecimal digits, for a hub that lies; "" is the true one.
	Digest string
}

// Hub is a running hub. Start one with [Start].
type Hub struct {
	api, cdn *server
	secret   []byte
	closed   chan struct{}

	mu     sync.Mutex
	repos  map[string]*repo // by name
	moved  map[string]string
	tokens map[string]map[string]bool // token -> names of repositories it has access to
	links  map[string]*stored         // what the CDN has, by the id in its addresses
	epoch  int                        // links of an earlier one are expired
	life   time.Duration
	page   int
	faults faults
	record record
}

type repo struct {
	Repo
	id      string
	refs    map[string]string             // branch or tag -> commit
	commits map[string]map[string]*stored // commit -> path -> file
}

// server is one listener of the two.
type server struct {
	url  string
	http *http.Server
	done chan struct{}
}

// Start starts a hub on two free ports of loopback. Each wrap gets the handlers of both hosts and gives what stands
// before them. It panics if there are no ports, as httptest does.
func Start(wrap ...func(http.Handler) http.Handler) *Hub {
	h := &Hub{
		secret: make([]byte, 32),
		closed: make(chan struct{}),
		repos:  map[string]*repo{},
		moved:  map[string]string{},
		tokens: map[string]map[string]bool{},
		links:  map[string]*stored{},
		life:   time.Hour,
		page:   1000,
	}
	rand.Read(h.secret)
	h.record.sent = map[string]int64{}
	api, cdn := h.recorded("hub", h.serveHub), h.recorded("cdn", h.serveCDN)
	for _, w := range wrap {
		api, cdn = w(api), w(cdn)
	}
	h.api, h.cdn = serve(api), serve(cdn)
	return h
}

func serve(handler http.Handler) *server {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("fakehub: no port on loopback: %v", err))
	}
	s := &server{
		url:  "http://" + ln.Addr().String(),
		http: &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(ln)
	}()
	return s
}

// URL is the hub's address, for HF_ENDPOINT: "http://127.0.0.1:1234".
func (h *Hub) URL() string { return h.api.url }

// CDNURL is the address of the host that the files in LFS come from.
func (h *Hub) CDNURL() string { return h.cdn.url }

// Close ends the hub and cuts every connection. It returns when all handlers have, at most 10 seconds later.
func (h *Hub) Close() {
	select {
	case <-h.closed:
		return
	default:
		close(h.closed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, s := range []*server{h.api, h.cdn} {
		_ = s.http.Close()
		_ = s.http.Shutdown(ctx)
		<-s.done
	}
	h.record.handlers.Wait()
}

// Add adds a repository, or takes the place of one with that name, and returns the commit of its branch main.
func (h *Hub) Add(r Repo) string {
	if strings.Count(r.Name, "/") != 1 {
		panic(fmt.Sprintf("fakehub: the name %q is not org/repo", r.Name))
	}
	h.mu.Lock()
	h.repos[r.Name] = &repo{Repo: r, id: sha1Of("repo", r.Name)[:24], refs: map[string]string{}, commits: map[string]map[string]*stored{}}
	for _, old := range r.Renamed {
		h.moved[old] = r.Name
	}
	h.mu.Unlock()
	for name, files := range r.Branches {
		h.Push(r.Name, name, files)
	}
	return h.Push(r.Name, "main", r.Files)
}

// Push makes files the content of a branch or tag and returns its commit. Earlier commits stay.
func (h *Hub) Push(name, branch string, files []File) string {
	tree := map[string]*stored{}
	parts := []string{name, branch}
	for _, f := range files {
		s := store(name, f)
		tree[f.Path] = s
		parts = append(parts, f.Path, s.oid)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repos[name]
	if r == nil {
		panic(fmt.Sprintf("fakehub: there is no repository %q", name))
	}
	commit := sha1Of(append(parts, r.refs[branch])...)
	r.refs[branch], r.commits[commit] = commit, tree
	for _, s := range tree {
		h.links[s.id] = s
	}
	return commit
}

// AddToken makes token one that the hub knows, with access to the named gated and private repositories.
func (h *Hub) AddToken(token string, access ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens[token] = map[string]bool{}
	for _, name := range access {
		h.tokens[token][name] = true
	}
}

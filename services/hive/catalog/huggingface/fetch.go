package huggingface

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	linkLimit = 60 * time.Second // to find out where a file is
	maxHops   = 5                // redirects on the hub itself
	maxLinks  = 256              // files whose addresses are kept
)

// Fetch gives a range of a file from the CDN. See [vendor.Vendor].
func (v *Vendor) Fetch(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	ref, err := v.source(f)
	if err != nil {
		return nil, err
	}
	if err := v.ready(); err != nil {
		return nil, err
	}
	token, err := v.env.readToken()
	if err != nil {
		return nil, err
	}
	about := subject{caller: ctx, repo: ref.Repo, revision: ref.Revision, file: ref.Path, token: token}
	for try := 0; ; try++ {
		l, err := v.link(ctx, f, token)
		if err != nil {
			return nil, v.explain(ctx, err, about)
		}
		req, err := v.ask(ctx, l.addr, token)
		if err != nil {
			return nil, err
		}
		body, err := vendor.Open(v.client, req, r)
		if err == nil {
			if f.Digest != "" {
				body.Version = "" // the CDN's ETag may change while the file does not
			}
			return body, nil
		}
		if about.cdn = !l.direct; !about.cdn || try > 0 || !refused(err) {
			return nil, v.explain(ctx, err, about)
		}
		v.links.drop(f.Source, l) // it has expired
	}
}

// source reads what Resolve wrote.
func (v *Vendor) source(f *vendor.File) (reference, error) {
	rest, ok := strings.CutPrefix(f.Source, prefix)
	r, err := parsePlain(f.Source, rest)
	if err == nil {
		err = r.check(f.Source)
	}
	if !ok || err != nil || r.Path == "" || !commitShape.MatchString(r.Revision) {
		return r, messages.Errorf(messages.CodeBadRequest, op, "%.200q is no file of HuggingFace", f.Source).WithHint("pull the model again")
	}
	return r, nil
}

// refused says whether an answer of the CDN means that the address is no longer good.
func refused(err error) bool {
	e, ok := errors.AsType[*vendor.StatusError](err)
	if !ok {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// link is where the bytes of a file are. It does not change once it is ready.
type link struct {
	ready  chan struct{}
	addr   *url.URL
	direct bool // on the hub itself
	err    error
	since  time.Time
}

// links keeps addresses, so that all ranges of a file share one.
type links struct {
	mu  sync.Mutex
	all map[string]*link // by File.Source
}

// link gives the address of f's bytes: one caller asks the hub, others that come meanwhile wait for its answer.
func (v *Vendor) link(ctx context.Context, f *vendor.File, token secret) (*link, error) {
	for {
		l, mine := v.links.take(f.Source)
		if mine {
			l.addr, l.direct, l.err = v.locate(ctx, f, token)
			if l.err != nil {
				v.links.drop(f.Source, l)
			}
			close(l.ready)
			return l, l.err
		}
		select {
		case <-l.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if l.err == nil || !errors.Is(l.err, context.Canceled) && !errors.Is(l.err, context.DeadlineExceeded) {
			return l, l.err
		}
		if ctx.Err() != nil { // else it was another's context that ended
			return nil, ctx.Err()
		}
	}
}

func (s *links) take(key string) (l *link, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.all[key]; l != nil {
		return l, false
	}
	if len(s.all) >= maxLinks {
		oldest := ""
		for k, l := range s.all {
			if oldest == "" || l.since.Before(s.all[oldest].since) {
				oldest = k
			}
		}
		delete(s.all, oldest)
	}
	l = &link{ready: make(chan struct{}), since: time.Now()}
	s.all[key] = l
	return l, true
}

// drop forgets l, unless another has taken its place.
func (s *links) drop(key string, l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key] == l {
		delete(s.all, key)
	}
}

// locate asks the hub where a file is, without a Range and without following it there.
func (v *Vendor) locate(ctx context.Context, f *vendor.File, token secret) (addr *url.URL, direct bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, linkLimit)
	defer cancel()
	r, err := v.source(f)
	if err != nil {
		return nil, false, err
	}
	parts := append(strings.Split(r.Repo, "/"), "resolve", r.Revision)
	addr, err = url.Parse(v.address(append(parts, strings.Split(r.Path, "/")...)...))
	if err != nil {
		return nil, false, err
	}
	for range maxHops {
		req, err := v.ask(ctx, addr, token)
		if err != nil {
			return nil, false, err
		}
		resp, err := vendor.Do(v.bare, req)
		if err == nil {
			resp.Body.Close()
			return addr, true, v.sameFile(f, resp.Header)
		}
		e, ok := errors.AsType[*vendor.StatusError](err)
		if !ok || e.Status < 300 || e.Status > 399 || e.Header.Get("Location") == "" {
			return nil, false, err
		}
		if err := v.sameFile(f, e.Header); err != nil {
			return nil, false, err
		}
		next, err := addr.Parse(e.Header.Get("Location"))
		if err != nil || next.Host == "" || next.Scheme != "https" && (next.Scheme != "http" || addr.Scheme == "https") {
			return nil, false, v.nonsense(errors.New("it redirects to an address that cannot be used"))
		}
		addr = next
		if !vendor.SameHost(addr, v.env.endpoint) {
			return addr, false, nil
		}
	}
	return nil, false, v.nonsense(errors.New("it redirects in a circle"))
}

// sameFile compares what the hub says of a file now with what its list of files said. Both are of one commit: asking
// again does not help.
func (v *Vendor) sameFile(f *vendor.File, h http.Header) error {
	sum := strings.Trim(strings.TrimPrefix(h.Get("X-Linked-Etag"), "W/"), `"`)
	size, err := strconv.ParseInt(h.Get("X-Linked-Size"), 10, 64)
	if sha256Shape.MatchString(sum) && f.Digest != "" && f.Digest != "sha256:"+sum || err == nil && f.SizeBytes >= 0 && size != f.SizeBytes {
		return messages.Errorf(messages.CodeBadModel, op, "%s tells two things of %s: another size or sha256 now than in its list", v.env.endpoint.Host, f.Name).
			WithHint("pull again later; if it stays so, the hub or the mirror is broken")
	}
	return nil
}

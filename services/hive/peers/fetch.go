package peers

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	dialLimit   = 3 * time.Second // of a port in the same network
	answerLimit = 5 * time.Second // for its header, which comes before the bytes are there
	// silentFor is how long an open copy may bring nothing. The other side ends it after [growLimit].
	silentFor = growLimit + 5*time.Second
)

// newClient is for hives' ports. They are dialled as they are, without a proxy, and no redirect is followed: an
// answer must not lead this hive elsewhere.
func newClient() *http.Client {
	c := vendor.NewClient()
	t := c.Transport.(*http.Transport)
	t.Proxy = nil
	t.DialContext = (&net.Dialer{Timeout: dialLimit, KeepAlive: 15 * time.Second}).DialContext
	t.ResponseHeaderTimeout = answerLimit
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("it redirects, which hives do not") }
	return c
}

// goOutside opens rng at the source. It ends when another way is taken.
func (r *route) goOutside(ctx context.Context, w *way, rng vendor.Range) (*vendor.Body, error) {
	inner, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(w.left, cancel)
	end := func() { stop(); cancel() }
	turned := func(err error) error {
		if err == nil || ctx.Err() != nil || w.left.Err() == nil {
			return err
		}
		return messages.Errorf(messages.CodeUnavailable, messages.OpRead, "another hive has the file now")
	}
	b, err := r.outside(inner, rng)
	if err != nil {
		end()
		return nil, turned(err)
	}
	b.ReadCloser = &flow{ReadCloser: b.ReadCloser, came: r.came, failed: turned, end: end}
	return b, nil
}

// copyFrom opens rng at a hive. Whatever is wrong there, another way may do.
func (r *route) copyFrom(ctx context.Context, w *way, rng vendor.Range) (*vendor.Body, error) {
	inner, cancel := context.WithCancel(ctx)
	// The cause does not travel: a status or a wait is that hive's matter, not the download's.
	failed := func(err error, unreached bool) error {
		if ctx.Err() != nil {
			return ctx.Err() // our own doing
		}
		r.failed(w, unreached)
		return messages.Errorf(messages.CodeUnavailable, messages.OpRead, "copying from hive %s: %v", w.hive, err)
	}
	b, err := r.p.openAt(inner, w, r.f.Digest, rng)
	if err == nil && (b.From != rng.From || b.SizeBytes != r.f.SizeBytes) {
		b.Close()
		err = errors.New("it has another file under that digest")
	}
	if err != nil {
		cancel()
		return nil, failed(err, true)
	}
	b.Version = "" // the digest says what it is
	silence := time.AfterFunc(silentFor, cancel)
	b.ReadCloser = &flow{ReadCloser: b.ReadCloser,
		before: func() { silence.Reset(silentFor) },
		after:  func() { silence.Stop() },
		came: func() {
			r.came()
			r.copied.Store(true)
		},
		failed: func(err error) error { return failed(err, false) },
		end: func() {
			silence.Stop()
			cancel()
		}}
	return b, nil
}

// flow is the bytes of one request. Its functions but for came, failed and end may be nil.
type flow struct {
	io.ReadCloser
	before, after func() // a read
	came          func() // bytes have come
	failed        func(error) error
	end           func()
}

func (f *flow) Read(b []byte) (int, error) {
	if f.before != nil {
		f.before()
		defer f.after()
	}
	n, err := f.ReadCloser.Read(b)
	if n > 0 {
		f.came()
	}
	if err != nil && err != io.EOF { //nolint:errorlint // a reader gives io.EOF itself
		err = f.failed(err)
	}
	return n, err
}

// Close ends the request.
func (f *flow) Close() error {
	f.end()
	return f.ReadCloser.Close()
}

// dialled is the address of a hive's port, or "" if it may not be dialled. It is the word of that hive: it may
// name a port and no more, and no address that means this machine, unless that hive is on it, or that has no
// place in a network of hives.
func (p *Peers) dialled(r *messages.LocateReply) string {
	u, err := url.Parse(r.URL)
	if err != nil || *u != (url.URL{Scheme: "http", Host: u.Host}) {
		return ""
	}
	a, err := netip.ParseAddrPort(u.Host)
	if err != nil {
		return ""
	}
	switch ip := a.Addr().Unmap(); {
	case ip.IsLoopback() && (p.host == "" || r.Host != p.host), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast(), ip.Zone() != "":
		return ""
	}
	return "http://" + a.String()
}

// openAt opens a part of a file at another hive.
func (p *Peers) openAt(ctx context.Context, w *way, digest string, rng vendor.Range) (*vendor.Body, error) {
	if w.url == "" || w.noHTTP.Load() {
		return p.overBus(ctx, w, digest, rng)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+filesPath+digest, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", bearer+w.ticket)
	b, err := vendor.Open(p.client, req, rng)
	if err == nil || ctx.Err() != nil {
		return b, err
	}
	// The port is out of reach, or another program's on another machine. The hive is not.
	p.cfg.Log.Debug("a hive's port does not serve; copying over the bus", "hive", w.hive, "error", err)
	w.noHTTP.Store(true)
	return p.overBus(ctx, w, digest, rng)
}

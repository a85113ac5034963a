package vendor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const (
	dialLimit    = 10 * time.Second
	headerLimit  = 30 * time.Second // from the request to the answer's header
	maxRedirects = 10
	maxText      = 4 << 10 // bytes of an error's body that are kept
)

// NewClient is an HTTP client for vendors. Each transfer has a connection of its own (HTTP/1.1: one
// connection shared by all ranges is slower than several), nothing is decompressed, proxies are those of
// the environment. A redirect never leads from https to http, and neither authorization nor cookies go to
// another host, nor an address's query. A body has no deadline: who reads it watches whether it moves.
func NewClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialLimit, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    dialLimit,
		ResponseHeaderTimeout:  headerLimit,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
		ReadBufferSize:         64 << 10,
		Protocols:              protocols,
	}
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}
}

// checkRedirect keeps secrets at the host they were meant for. Go's own rule lets them go on to
// subdomains and other ports.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("redirected from https to http")
	}
	req.Header.Del("Referer") // it has the query of the address before
	if !SameHost(req.URL, via[0].URL) {
		req.Header.Del("Authorization")
		req.Header.Del("Cookie")
	}
	return nil
}

// SameHost says whether two addresses have one scheme, host and port.
func SameHost(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

// ErrRange is wrapped by errors of [Open] about an answer with success that does not fit the range asked for.
var ErrRange = errors.New("answered a range wrongly")

// StatusError is an answer that is no success.
type StatusError struct {
	Status int
	Header http.Header
	Text   string // the start of its body, at most 4 KiB
	Host   string // who answered
}

// Error names host and status; never the address, which may be signed.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.Host, e.Status, http.StatusText(e.Status))
}

// Do sends req and returns the answer if its status is one of 2xx, else a [*StatusError]. Who gets an answer
// closes it. An error never shows an address's query, which may be a signature.
func Do(client *http.Client, req *http.Request) (*http.Response, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, withoutQuery(err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxText))
	host := req.URL.Host
	if resp.Request != nil {
		host = resp.Request.URL.Host
	}
	return nil, &StatusError{Status: resp.StatusCode, Header: resp.Header, Text: strings.ToValidUTF8(string(text), "\uFFFD"), Host: host}
}

var errLocation = errors.New("it redirects to a malformed address")

func withoutQuery(err error) error {
	e, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	host := "the address"
	if u, perr := url.Parse(e.URL); perr == nil {
		host = u.Host
	}
	if strings.Contains(e.Err.Error(), "Location header") { // of a redirect that does not parse: Go shows it
		return fmt.Errorf("%s: %w", host, errLocation)
	}
	if strings.HasPrefix(e.Err.Error(), "http: server closed") { // an error of net/http's own, without a name
		return fmt.Errorf("%s: %w", host, brokenOff{e.Err})
	}
	return fmt.Errorf("%s: %w", host, e.Err)
}

// brokenOff is a connection that ended before there was an answer.
type brokenOff struct{ error }

func (brokenOff) Is(target error) bool { return target == io.ErrUnexpectedEOF }

// Open asks for r of the file at req and checks that the answer is about those bytes. A server that
// ignores ranges gives the whole file. It sets req's Range and Accept-Encoding.
func Open(client *http.Client, req *http.Request, r Range) (*Body, error) {
	if r.From > 0 || r.To >= 0 {
		spec := "bytes=" + strconv.FormatInt(r.From, 10) + "-"
		if r.To >= 0 {
			spec += strconv.FormatInt(r.To-1, 10)
		}
		req.Header.Set("Range", spec)
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := Do(client, req)
	if err != nil {
		return nil, err
	}
	b := &Body{ReadCloser: resp.Body, SizeBytes: resp.ContentLength, Version: version(resp.Header),
		Undelimited: resp.ContentLength < 0 && len(resp.TransferEncoding) == 0}
	if resp.StatusCode == http.StatusPartialContent {
		from, to, size, err := parseContentRange(resp.Header.Get("Content-Range"))
		switch {
		case err != nil:
		case from != r.From:
			err = fmt.Errorf("it sent bytes from %d on, %d was asked for", from, r.From)
		case resp.ContentLength >= 0 && resp.ContentLength != to-from:
			err = fmt.Errorf("it says %d bytes in Content-Range and %d in Content-Length", to-from, resp.ContentLength)
		}
		if err != nil {
			resp.Body.Close()
			return nil, messages.Errorf(messages.CodeUnavailable, "fetch", "%s %w", resp.Request.URL.Host, fmt.Errorf("%w: %w", ErrRange, err))
		}
		b.From, b.SizeBytes, b.Undelimited = from, size, false
		if resp.ContentLength < 0 { // else net/http counts
			b.ReadCloser = &counted{resp.Body, to - from}
		}
	}
	return b, nil
}

// counted is a body that has to have left bytes more.
type counted struct {
	io.ReadCloser
	left int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.left -= int64(n); errors.Is(err, io.EOF) && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// version is a strong ETag, else the date of the last change.
func version(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$`)

func parseContentRange(s string) (from, to, size int64, err error) {
	m := contentRange.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, 0, fmt.Errorf("its Content-Range is %.80q", s)
	}
	from, _ = strconv.ParseInt(m[1], 10, 64)
	to, _ = strconv.ParseInt(m[2], 10, 64)
	to++
	size = -1
	if m[3] != "*" {
		size, _ = strconv.ParseInt(m[3], 10, 64)
	}
	if from >= to || size >= 0 && to > size {
		return 0, 0, 0, fmt.Errorf("its Content-Range is %.80q", s)
	}
	return from, to, size, nil
}

var connectionErrors = []syscall.Errno{syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE,
	syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ETIMEDOUT}

// ErrOffline is in the error of a vendor that was told by its user not to use a network.
var ErrOffline = errors.New("no network is to be used")

// Temporary says whether the same request may succeed later: the network failed, the server is busy or
// broken. What a person has to mend is not: a wrong name, a missing licence, a full disk. Nor is a context that
// ended.
func Temporary(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if e, ok := errors.AsType[*messages.Error](err); ok && e.Code != messages.CodeInternal {
		return e.Code.Retryable() || e.Code == messages.CodeTimeout
	}
	if e, ok := errors.AsType[*StatusError](err); ok {
		switch e.Status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return true
		}
		return e.Status >= 500
	}
	if e, ok := errors.AsType[net.Error](err); ok { // also url.Error, OpError, DNSError
		number, plain := e.(syscall.Errno) // a number that nothing of the network wraps may be the disk's
		return !plain || slices.Contains(connectionErrors, number)
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}

// maxWait bounds what a server may have us wait.
const maxWait = 10 * time.Minute

var rateReset = regexp.MustCompile(`(?:^|[;,\s])t=(\d{1,9})`)

// Wait is how long the server that answered err wants to be left alone, at most 10 minutes; 0 if it does
// not say. It is in Retry-After (RFC 9110, 10.2.3: seconds or a date), or, from HuggingFace, t= of the
// RateLimit header (IETF draft ratelimit-headers).
func Wait(err error) time.Duration {
	e, ok := errors.AsType[*StatusError](err)
	if !ok {
		return 0
	}
	var d time.Duration
	if v := e.Header.Get("Retry-After"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 32); err == nil {
			d = time.Duration(n) * time.Second
		} else if at, err := http.ParseTime(v); err == nil {
			d = time.Until(at)
		}
	} else if m := rateReset.FindStringSubmatch(e.Header.Get("RateLimit")); m != nil {
		n, _ := strconv.ParseInt(m[1], 10, 64)
		d = time.Duration(n) * time.Second
	}
	return min(max(d, 0), maxWait)
}

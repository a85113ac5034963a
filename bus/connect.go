// Package bus carries messages over NATS: connections that are what their credentials say,
// requests and micro services, jobs, token streams, and the registry's KV mirror. A Conn is safe for
// concurrent use.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/messages"
)

// Config says where and as whom to connect.
type Config struct {
	URL         string // nats://host:port, several separated by commas
	Credentials *Credentials
	Log         *slog.Logger
	// Wait makes Connect succeed although nobody answers yet; the connection comes up when the
	// server does. Without it Connect fails after 5 s at most.
	Wait bool
}

// Conn is one connection.
type Conn struct {
	Caller messages.Caller // role-name of the credentials

	nc      *nats.Conn
	js      jetstream.JetStream
	creds   *Credentials
	log     *slog.Logger
	refused atomic.Uint64
	// up is kept here because nats.go's own answer waits for a connect that is under way, seconds when the
	// server is frozen.
	up atomic.Bool

	mu          sync.Mutex
	onReconnect map[int]func()
	onError     func(error)
	pending     map[string][]chan struct{} // by subject: requests to fail when the server denies it
	next        int
	failedAt    time.Time // when a failed connect was last said
}

// Connect dials. The connection reconnects for ever, with jitter, and never buffers while it is
// down: a beat that arrives late says nothing.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cr := cfg.Credentials
	c := &Conn{Caller: cr.Role.Caller(cr.Name), creds: cr, log: cfg.Log,
		onReconnect: map[int]func(){}, pending: map[string][]chan struct{}{}}
	opts := []nats.Option{
		nats.Name("rbee-" + string(cr.Role) + "/" + cr.Name),
		nats.UserJWT(func() (string, error) { return cr.token(), nil },
			func(nonce []byte) ([]byte, error) { return cr.key.Sign(nonce) }),
		nats.CustomInboxPrefix(messages.InboxPrefix(string(cr.Role), cr.Name)),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectBufSize(-1),
		nats.CustomReconnectDelay(reconnectDelay), nats.Timeout(5 * time.Second),
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		nats.RetryOnFailedConnect(cfg.Wait), nats.ErrorHandler(c.asyncError),
		nats.ConnectHandler(func(*nats.Conn) { c.up.Store(true); c.reconnected() }),
		nats.ReconnectHandler(func(*nats.Conn) { c.up.Store(true); c.log.Info("bus connected again"); c.reconnected() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.connectFailed(err) }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			c.up.Store(false) // the library calls its handlers one after another, in order
			if err != nil && !nc.IsClosed() {
				c.log.Warn("bus connection lost", "error", err)
			}
		}),
	}
	var err error
	if c.nc, err = nats.Connect(cfg.URL, opts...); err != nil {
		return nil, messages.Errorf(messages.CodeUnavailable, "connect", "no NATS server of this rbee at %s: %w", cfg.URL, err).
			WithHint("start one with: rbee up")
	}
	c.up.Store(c.nc.IsConnected())
	if c.js, err = jetstream.New(c.nc); err != nil {
		c.Close()
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return c, nil
}

// reconnectDelay is 100 ms to 2 s with jitter: many clients that lost one server must not come back
// as one.
func reconnectDelay(attempts int) time.Duration {
	most := min(100*time.Millisecond<<min(attempts, 5), 2*time.Second)
	return 100*time.Millisecond + rand.N(most)
}

// connectFailed says every few seconds why the connection does not come up: nobody there, or credentials
// that the server does not know.
func (c *Conn) connectFailed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.failedAt) > 5*time.Second {
		c.failedAt = now
		c.log.Warn("bus not reachable, trying again", "error", err)
	}
}

// Close ends the connection and everything subscribed on it.
func (c *Conn) Close() { c.up.Store(false); c.nc.Close() }

// Flush returns when the server has seen everything published so far.
func (c *Conn) Flush(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
	}
	return c.nc.FlushWithContext(ctx)
}

// Connected says whether the connection is up now.
func (c *Conn) Connected() bool { return c.up.Load() }

// URL is the server the connection is to; "" while it is down.
func (c *Conn) URL() string { return c.nc.ConnectedUrl() }

// ClientIP is the address of this connection as the server sees it; "" if it does not say.
func (c *Conn) ClientIP() string {
	ip, err := c.nc.GetClientIP()
	if err != nil {
		return ""
	}
	return ip.String()
}

// Reconnect drops the connection and makes it anew, for credentials that were renewed.
func (c *Conn) Reconnect() error { return c.nc.ForceReconnect() }

// Credentials is who the connection is.
func (c *Conn) Credentials() *Credentials { return c.creds }

// JetStream is for the queen, which owns streams and buckets.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

// Refused counts requests that were not answered because of their reply subject.
func (c *Conn) Refused() uint64 { return c.refused.Load() }

// OnReconnect calls fn on a goroutine of the connection each time it is up again (and when it comes
// up first, with [Config.Wait]). The returned function ends that.
func (c *Conn) OnReconnect(fn func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	id := c.next
	c.onReconnect[id] = fn
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.onReconnect, id)
	}
}

// OnError calls fn with every error that the server reports later than the call that caused it:
// a denied publish or subscription, a slow consumer.
func (c *Conn) OnError(fn func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onError = fn
}

func (c *Conn) reconnected() {
	c.mu.Lock()
	var fns []func()
	for _, fn := range c.onReconnect {
		fns = append(fns, fn)
	}
	c.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
}

// asyncError is the only sign of a denied publish: Publish itself returns nil.
func (c *Conn) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if c.nc != nil && c.nc.IsClosed() {
		return
	}
	attrs := []any{"error", err}
	if sub != nil {
		attrs = append(attrs, "subject", sub.Subject)
	}
	c.log.Warn("bus", attrs...)
	c.mu.Lock()
	fn := c.onError
	if errors.Is(err, nats.ErrPermissionViolation) {
		if s, ok := deniedSubject(err); ok {
			for _, ch := range c.pending[s] {
				close(ch)
			}
			delete(c.pending, s)
		}
	}
	c.mu.Unlock()
	if fn != nil {
		fn(err)
	}
}

// deniedSubject reads the subject out of the server's text: Permissions Violation for Publish to "x".
func deniedSubject(err error) (string, bool) {
	_, rest, ok := strings.Cut(err.Error(), `ublish to "`)
	if !ok {
		return "", false
	}
	subject, _, ok := strings.Cut(rest, `"`)
	return subject, ok
}

// watchDenied returns a channel that is closed when the server denies a publish to subject.
func (c *Conn) watchDenied(subject string) (denied <-chan struct{}, stop func()) {
	ch := make(chan struct{})
	c.mu.Lock()
	c.pending[subject] = append(c.pending[subject], ch)
	c.mu.Unlock()
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		list := c.pending[subject]
		for i := range list {
			if list[i] == ch {
				c.pending[subject] = append(list[:i:i], list[i+1:]...)
				break
			}
		}
		if len(c.pending[subject]) == 0 {
			delete(c.pending, subject)
		}
	}
}

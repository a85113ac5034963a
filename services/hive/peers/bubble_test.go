package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// fakeBus stands for the bus where time is not real, which sockets do not know.
type fakeBus struct {
	locate func(r *messages.LocateRequest) (*messages.LocateReply, error)
	read   func(hive string, r *messages.ReadRequest) (*messages.ReadReply, error)
	began  time.Time
	mu     sync.Mutex
	asked  []string // "0 ask", "20 done", with the second
}

func (b *fakeBus) Request(ctx context.Context, subject string, req, reply any) error {
	var answer any
	var err error
	switch r := req.(type) {
	case *messages.LocateRequest:
		b.note(r)
		if r.Done {
			return nil
		}
		answer, err = b.locate(r)
	case *messages.ReadRequest:
		answer, err = b.read(messages.SubjectToken(subject, 2), r)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		<-ctx.Done()
		return messages.Errorf(messages.CodeTimeout, "request", "no answer")
	}
	if err != nil {
		return err
	}
	return messages.Decode(messages.MustEncode(answer), reply)
}

func (b *fakeBus) note(r *messages.LocateRequest) {
	what := "ask"
	if r.Fetching {
		what = "fetching"
	} else if r.Done {
		what = "done"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, fmt.Sprintf("%d %s", int(time.Since(b.began).Seconds()), what))
}

func (b *fakeBus) heard(what string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.asked, what)
}

// count is how often it was asked so.
func (b *fakeBus) count(what string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.asked {
		if strings.HasSuffix(a, " "+what) {
			n++
		}
	}
	return n
}

// bubble is a hive whose time is not real, and one file.
type bubble struct {
	*Peers
	disk
	bus     *fakeBus
	content []byte
	digest  string
	// silent says whether the source gives nothing now.
	silent func() bool
	mu     sync.Mutex
	opened []time.Duration // when the source was asked
	said   []string
}

func newBubble(t *testing.T) *bubble {
	t.Helper()
	b := &bubble{disk: disk(t.TempDir()), bus: &fakeBus{began: time.Now()}, silent: func() bool { return false }}
	b.content, b.digest = file(3<<20, 1)
	b.Peers = New(Config{Hive: "me", Caller: "hive-me", Bus: b.bus, Files: b.disk, Log: discard})
	return b
}

func (b *bubble) age() time.Duration { return time.Since(b.bus.began) }

// source gives 64 KiB a second a stream.
func (b *bubble) source(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened = append(b.opened, b.age())
	to := r.To
	if to < 0 {
		to = int64(len(b.content))
	}
	return &vendor.Body{ReadCloser: &trickle{ctx, b, b.content[r.From:to]}, From: r.From, SizeBytes: int64(len(b.content))}, nil
}

type trickle struct {
	ctx  context.Context
	b    *bubble
	rest []byte
}

func (s *trickle) Close() error { return nil }

func (s *trickle) Read(p []byte) (int, error) {
	for {
		select {
		case <-time.After(time.Second):
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
		if !s.b.silent() {
			break
		}
	}
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 64<<10)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// reads answers a read as a hive that has the file.
func (b *bubble) reads(_ string, r *messages.ReadRequest) (*messages.ReadReply, error) {
	return &messages.ReadReply{Data: b.content[r.From : r.From+r.Bytes], SizeBytes: int64(len(b.content))}, nil
}

// pull downloads the file and says how long it took.
func (b *bubble) pull(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	var mu sync.Mutex
	err := get(ctx, b.Peers, b.disk, b.digest, int64(len(b.content)), b.source, func(s string) {
		mu.Lock()
		defer mu.Unlock()
		b.said = append(b.said, s)
	})
	return time.Since(began), err
}

var (
	outsideReply = &messages.LocateReply{Outside: true}
	waitReply    = &messages.LocateReply{Wait: true, Hive: "other"}
	otherReply   = &messages.LocateReply{Hive: "other", Ticket: "t"}
)

func inBubble(t *testing.T, fn func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(t, newBubble(t)) })
}

// sayings are a hive's answers over HTTP.
type sayings func(*http.Request) (*http.Response, error)

func (s sayings) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

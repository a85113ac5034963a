package queen

import (
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// slowLink is the address of a port that leads to a NATS server, whose words take delay on the way.
func slowLink(t *testing.T, server string, delay *atomic.Int64) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ln := listen(t)
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { relaySlowly(ctx, client, u.Host, delay) })
		}
	})
	return "nats://" + ln.Addr().String()
}

func relaySlowly(ctx context.Context, client net.Conn, server string, delay *atomic.Int64) {
	defer client.Close()
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { client.Close(); up.Close() })()
	type word struct {
		due  time.Time
		data []byte
	}
	words := make(chan word, 1024)
	var all sync.WaitGroup
	all.Go(func() { _, _ = io.Copy(up, client); up.Close() })
	all.Go(func() {
		for w := range words {
			select {
			case <-time.After(time.Until(w.due)):
				_, _ = client.Write(w.data)
			case <-ctx.Done():
			}
		}
		client.Close()
	})
	for {
		b := make([]byte, 64<<10)
		n, err := up.Read(b)
		if err != nil {
			break
		}
		words <- word{time.Now().Add(time.Duration(delay.Load())), b[:n]}
	}
	close(words)
	all.Wait()
}

// A store that answers slowly does not make a list end early: all of it comes, or an error.
func TestListFromASlowStore(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h9 := w.s.Connect(t, bus.RoleHive, "h9")
	w.tells(t, h9, "slow", `{"n":1}`, `{"n":2}`)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	var delay atomic.Int64
	conn, err := bus.Connect(ctx, bus.Config{URL: slowLink(t, w.s.URL, &delay), Credentials: w.s.Credentials(t, bus.RoleQueen, "slow")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	delay.Store(int64(1100 * time.Millisecond))
	began := time.Now()
	r, err := (&Queen{conn: conn}).eventList(ctx, nil, &messages.EventListRequest{Kind: "slow"})
	switch {
	case err == nil && len(r.Events) != 2:
		t.Errorf("%d events and no error", len(r.Events))
	case err != nil && (ctx.Err() == nil && time.Since(began) < 4*time.Second || messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "the store does not answer")):
		t.Error(err)
	}
	t.Logf("%d events, %v", len(r.Events), err)
}

package peers

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// While a file comes from outside the claim is renewed, and the queen hears of the end.
func TestClaimIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.bus.locate = func(*messages.LocateRequest) (*messages.LocateReply, error) { return outsideReply, nil }
		took, err := b.pull(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n, want := b.bus.count("fetching"), int(took/messages.LocateEvery); n < want-1 || n > want || want < 5 {
			t.Errorf("renewed %d times in %v", n, took)
		}
		if b.bus.count("ask") != 1 || b.bus.count("done") != 1 {
			t.Errorf("asked %v", b.bus.asked)
		}
		b.has(t, b.digest, b.content)
	})
}

// Nobody waits for ever, whatever the queen says.
func TestWaitEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		locate   func(*messages.LocateRequest) (*messages.LocateReply, error)
		min, max time.Duration // until the source is asked
	}{
		"wait, always": {func(*messages.LocateRequest) (*messages.LocateReply, error) { return waitReply, nil }, aloneAfter, aloneAfter + time.Second},
		"nobody answers": {func(*messages.LocateRequest) (*messages.LocateReply, error) {
			return nil, messages.Errorf(messages.CodeUnavailable, "request", "nobody answers")
		}, queenLimit, queenLimit + time.Second},
		"no answer": {func(*messages.LocateRequest) (*messages.LocateReply, error) { return nil, context.DeadlineExceeded }, queenLimit, queenLimit + askLimit},
		"denied": {func(*messages.LocateRequest) (*messages.LocateReply, error) {
			return nil, messages.Errorf(messages.CodeDenied, "request", "no")
		}, 0, time.Second},
		"neither":                    {func(*messages.LocateRequest) (*messages.LocateReply, error) { return &messages.LocateReply{}, nil }, 0, time.Second},
		"a hive that brings nothing": {func(*messages.LocateRequest) (*messages.LocateReply, error) { return otherReply, nil }, aloneAfter / 2, aloneAfter + 20*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.bus.locate = tc.locate
				b.bus.read = func(string, *messages.ReadRequest) (*messages.ReadReply, error) {
					return &messages.ReadReply{SizeBytes: int64(len(b.content))}, nil
				}
				if _, err := b.pull(t.Context()); err != nil {
					t.Fatal(err)
				}
				if at := b.opened[0]; at < tc.min || at > tc.max {
					t.Errorf("the source is asked after %v", at)
				}
				b.has(t, b.digest, b.content)
			})
		})
	}
}

// A wait for a hive that does go on in the end is no reason to go outside.
func TestWaitIsHeeded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.bus.read = b.reads
		b.bus.locate = func(*messages.LocateRequest) (*messages.LocateReply, error) {
			if b.age() < 50*time.Second {
				return waitReply, nil
			}
			return otherReply, nil
		}
		if _, err := b.pull(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(b.opened) > 0 {
			t.Errorf("the source is asked after %v", b.opened)
		}
		b.has(t, b.digest, b.content)
	})
}

// A queen that is away for a moment, because she is started again, is waited for.
func TestQueenIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.bus.read = b.reads
		b.bus.locate = func(*messages.LocateRequest) (*messages.LocateReply, error) {
			if b.age() < 8*time.Second {
				return nil, messages.Errorf(messages.CodeUnavailable, "request", "nobody answers")
			}
			return otherReply, nil
		}
		if _, err := b.pull(t.Context()); err != nil || len(b.opened) > 0 {
			t.Errorf("%v; the source is asked after %v", err, b.opened)
		}
	})
}

// Who went outside because no queen answered is found by the others when she is back, or copies from one.
func TestQueenComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.bus.read = b.reads
		b.bus.locate = func(r *messages.LocateRequest) (*messages.LocateReply, error) {
			switch {
			case b.age() < 15*time.Second:
				return nil, messages.Errorf(messages.CodeUnavailable, "request", "nobody answers")
			case !r.Fetching:
				t.Error("it does not say that it fetches")
			}
			return otherReply, nil
		}
		took, err := b.pull(t.Context())
		if err != nil || took > 20*time.Second || len(b.opened) == 0 {
			t.Errorf("%v, after %v; the source is asked after %v", err, took, b.opened)
		}
		b.has(t, b.digest, b.content)
	})
}

// Whose source brings nothing frees the others from waiting, is offered no more, and copies when another gets it.
func TestSourceStandsStill(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.bus.read = b.reads
		b.silent = func() bool { return b.age() > 3*time.Second }
		var freed atomic.Int64
		b.bus.locate = func(r *messages.LocateRequest) (*messages.LocateReply, error) {
			if b.age() < 40*time.Second {
				return outsideReply, nil
			}
			return otherReply, nil
		}
		go func() {
			for ; freed.Load() == 0 && t.Context().Err() == nil; time.Sleep(100 * time.Millisecond) { // of the bubble
				if b.age() > 4*time.Second && !b.fetches(b.digest) {
					freed.Store(int64(b.age()))
				}
			}
		}()
		took, err := b.pull(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if at := time.Duration(freed.Load()); at < idleAfter || at > idleAfter+6*time.Second || !b.bus.heard("24 done") {
			t.Errorf("freed after %v: %v", at, b.bus.asked)
		}
		if took > time.Minute {
			t.Errorf("it took %v", took)
		}
		b.has(t, b.digest, b.content)
	})
}

// When all bytes are there and the disk is slow to take them, that is no standstill.
func TestAllThere(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.bus.locate = func(*messages.LocateRequest) (*messages.LocateReply, error) { return outsideReply, nil }
		if _, err := b.pull(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := &route{p: b.Peers, f: wanted(b.digest, len(b.content)), life: t.Context()}
		r.takeOutside()
		r.progress.Store(1)
		before := b.bus.count("done")
		r.renewOnce()
		if !r.fetches() || b.bus.count("done") > before {
			t.Error("a file that is there counts as standing still")
		}
		if _, err := download.Discard(b.partial(b.digest)); err != nil {
			t.Fatal(err)
		}
		_ = b.remove()
		r.renewOnce()
		if r.fetches() || b.bus.count("done") != before+1 {
			t.Error("a file that is not there does not count as standing still")
		}
	})
}

// A hive that cannot be reached is left for the source, and stays left, though the queen names it again.
func TestUnreachableHive(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.bus.read = func(string, *messages.ReadRequest) (*messages.ReadReply, error) {
			return nil, messages.Errorf(messages.CodeUnavailable, "request", "nobody answers")
		}
		b.bus.locate = func(r *messages.LocateRequest) (*messages.LocateReply, error) {
			if r.Bad != "" {
				return waitReply, nil
			}
			return otherReply, nil
		}
		took, err := b.pull(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if at := b.opened[0]; at > aloneAfter+10*time.Second || took > at+30*time.Second {
			t.Errorf("the source is asked after %v, and it took %v", at, took)
		}
		b.has(t, b.digest, b.content)
	})
}

// A copy that falls silent is left.
func TestCopyFallsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.bus.read = func(hive string, r *messages.ReadRequest) (*messages.ReadReply, error) {
			if hive == "other" && r.From > 0 {
				return nil, context.DeadlineExceeded
			}
			return b.reads(hive, r)
		}
		b.bus.locate = func(r *messages.LocateRequest) (*messages.LocateReply, error) {
			if r.Bad == "other" {
				return &messages.LocateReply{Hive: "third", Ticket: "t"}, nil
			}
			return otherReply, nil
		}
		took, err := b.pull(t.Context())
		if err != nil || took > silentFor+10*time.Second || len(b.opened) > 0 {
			t.Errorf("%v after %v; the source is asked after %v", err, took, b.opened)
		}
		b.has(t, b.digest, b.content)
	})
}

// A hive that is busy is asked again, with pauses.
func TestBusyHive(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var asked atomic.Int64
		b.bus.read = func(hive string, r *messages.ReadRequest) (*messages.ReadReply, error) {
			if asked.Add(1); r.From > 0 && b.age() < 5*time.Second {
				return nil, messages.Errorf(messages.CodeBusy, "read", "busy")
			}
			return b.reads(hive, &messages.ReadRequest{From: r.From, Bytes: min(r.Bytes, 100_000)})
		}
		b.bus.locate = func(r *messages.LocateRequest) (*messages.LocateReply, error) {
			if r.Bad != "" {
				t.Error("it is called bad")
			}
			return otherReply, nil
		}
		if _, err := b.pull(t.Context()); err != nil || len(b.opened) > 0 || asked.Load() > 500 {
			t.Errorf("%v after %d questions; the source is asked after %v", err, asked.Load(), b.opened)
		}
		b.has(t, b.digest, b.content)
	})
}

// A copy over HTTP that falls silent is left before the download itself loses patience.
func TestPortFallsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.client.Transport = sayings(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, ContentLength: int64(len(b.content)), Header: http.Header{}, Request: r,
				Body: &trickle{r.Context(), &bubble{silent: func() bool { return true }}, nil}}, nil
		})
		r := &route{p: b.Peers, f: wanted(b.digest, len(b.content)), life: t.Context()}
		r.take(&way{hive: "other", url: "http://10.0.0.1:1", ticket: "t"}, "")
		body, err := r.copyFrom(t.Context(), r.current(), vendor.Whole)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		_, err = body.Read(make([]byte, 10))
		if messages.CodeOf(err) != messages.CodeUnavailable || r.current() != nil || b.age() > silentFor+time.Second {
			t.Errorf("%v after %v", err, b.age())
		}
	})
}

// A size that is none, or changes, ends a copy over the bus.
func TestSizeOverTheBus(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		sizes := []int64{-5}
		b.bus.read = func(string, *messages.ReadRequest) (*messages.ReadReply, error) {
			size := sizes[0]
			sizes = sizes[1:]
			return &messages.ReadReply{Data: []byte("x"), SizeBytes: size}, nil
		}
		if _, err := b.overBus(t.Context(), &way{hive: "other"}, b.digest, vendor.Whole); messages.CodeOf(err) != messages.CodeUnavailable {
			t.Errorf("no size: %v", err)
		}
		sizes = []int64{100, 100, 101}
		body, err := b.overBus(t.Context(), &way{hive: "other"}, b.digest, vendor.Whole)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); len(got) != 2 || messages.CodeOf(err) != messages.CodeUnavailable {
			t.Errorf("another size: %q, %v", got, err)
		}
	})
}

// A download that nobody goes on with gives what it has, and is not waited for; one that somebody does is, a while.
func TestNobodyFetches(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.bus.locate = func(*messages.LocateRequest) (*messages.LocateReply, error) { return outsideReply, nil }
		b.silent = func() bool { return b.age() > 3*time.Second }
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := b.pull(ctx); err == nil {
			t.Fatal("it is whole")
		}
		for fetched, want := range map[bool]time.Duration{false: growLook, true: growLimit} {
			g, err := b.open(b.digest)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			g.ctx = t.Context()
			if fetched {
				g.fetched = func() bool { return true }
			}
			if n, err := g.Read(make([]byte, 10)); n != 10 || err != nil {
				t.Errorf("got %d bytes, %v", n, err)
			}
			g.at = g.size - 1
			began := time.Now()
			_, err = g.Read(make([]byte, 10))
			if took := time.Since(began); messages.CodeOf(err) != messages.CodeUnavailable || took < want || took > want+growLook {
				t.Errorf("fetched %v: %v after %v", fetched, err, took)
			}
		}
	})
}

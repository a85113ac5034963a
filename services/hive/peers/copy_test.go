package peers

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func noPort(c *Config) { c.Listen = "" }

// Three hives cost one copy from outside. Two have what the first has got while the rest is still to come.
func TestOneCopyFromOutside(t *testing.T) {
	for name, change := range map[string]func(*Config){"by port": nil, "over the bus": noPort} {
		t.Run(name, func(t *testing.T) {
			s := bustest.Start(t)
			content, digest := file(5<<20, 1)
			o := newOutside(t, content, 2<<20)
			q := newQueen(t, s)
			q.firstFetches("h1")
			h1, h2, h3 := newHive(t, s, "h1", change), newHive(t, s, "h2", change), newHive(t, s, "h3", change)
			ctx := deadline(t)
			pulls := []<-chan pulled{h1.pull(ctx, o, digest, nil), h2.pull(ctx, o, digest, nil), h3.pull(ctx, o, digest, nil)}
			for _, h := range []*hive{h1, h2, h3} {
				h.arrives(t, digest, 2<<20)
			}
			for _, copier := range []string{"h2", "h3"} {
				if o, err := q.offer(copier, digest, "t"); err != nil || o.Have || o.Partial {
					t.Errorf("%s, which copies, offers %+v, %v", copier, o, err)
				}
			}
			close(o.released)
			for i, h := range []*hive{h1, h2, h3} {
				got := recv(t, "the end of "+h.name, pulls[i])
				if got.err != nil {
					t.Errorf("%s: %v", h.name, got.err)
				}
				if copies := strings.Contains(strings.Join(got.said, "\n"), "copying from hive h1"); copies != (h != h1) {
					t.Errorf("%s says %q", h.name, got.said)
				}
				h.has(t, digest, content)
			}
			if n := o.by("h1", "h2", "h3"); n != int64(len(content)) {
				t.Errorf("%d bytes came from outside for a file of %d", n, len(content))
			}
			if n := q.count("h1 done"); n != 1 || q.count("h2 done")+q.count("h3 done") > 0 {
				t.Errorf("the queen heard of the end %d times: %v", n, q.asked)
			}
			if o, err := q.offer("h2", digest, ""); err != nil || !o.Have {
				t.Errorf("h2, which has it, offers %+v, %v", o, err)
			}
		})
	}
}

// What an earlier download left is offered by nobody: nobody waits for more of it.
func TestLeftOverIsNotOffered(t *testing.T) {
	s := bustest.Start(t)
	content, digest := file(3<<20, 2)
	o := newOutside(t, content, 1<<20)
	q := newQueen(t, s)
	q.firstFetches("h1")
	h1 := newHive(t, s, "h1", nil)
	ctx, cancel := context.WithCancel(deadline(t))
	end := h1.pull(ctx, o, digest, nil)
	h1.arrives(t, digest, 1<<20)
	if o, err := q.offer("h1", digest, "good"); err != nil || !o.Partial || o.Have {
		t.Errorf("while it fetches it offers %+v, %v", o, err)
	}
	cancel()
	if got := recv(t, "the end", end); got.err == nil {
		t.Error("it succeeded")
	}
	if n := q.count("h1 done"); n != 1 {
		t.Errorf("the queen heard of the end %d times", n)
	}
	if _, partial := h1.Locate(digest); partial == "" {
		t.Error("nothing is left")
	}
	if o, err := q.offer("h1", digest, "late"); err != nil || o.Partial || o.Have {
		t.Errorf("afterwards it offers %+v, %v", o, err)
	}
	if h1.tickets.opens("late", digest, now()) {
		t.Error("a ticket was taken for a file that is not offered")
	}
}

// The end of one of two downloads of a file does not end the other's claim.
func TestTwoDownloadsOfOneHive(t *testing.T) {
	s := bustest.Start(t)
	content, digest := file(3<<20, 3)
	o := newOutside(t, content, 1<<20)
	q := newQueen(t, s)
	q.firstFetches("h1")
	h1 := newHive(t, s, "h1", nil)
	ctx, cancel := context.WithCancel(deadline(t))
	first := h1.pull(ctx, o, digest, nil)
	h1.arrives(t, digest, 1<<20)
	second := h1.pull(deadline(t), o, digest, nil)
	for ctx := deadline(t); h1.count(digest) < 2; {
		if ctx.Err() != nil {
			t.Fatal("no second download")
		}
	}
	cancel()
	recv(t, "the end of the first", first)
	if n := q.count("h1 done"); n != 0 {
		t.Error("the queen heard of an end")
	}
	close(o.released)
	if got := recv(t, "the end of the second", second); got.err != nil {
		t.Error(got.err)
	}
	if n := q.count("h1 done"); n != 1 {
		t.Errorf("the queen heard of the end %d times", n)
	}
	h1.has(t, digest, content)
}

// What one download owes the queen another of that file pays, though it never asked.
func TestEndIsOwed(t *testing.T) {
	s := bustest.Start(t)
	content, digest := file(1<<20, 3)
	o := newOutside(t, content, 1<<20)
	q := newQueen(t, s)
	q.firstFetches("h1")
	h1 := newHive(t, s, "h1", nil)
	from, first := h1.Around(deadline(t), wanted(digest, len(content)), o.source("h1"))
	_, second := h1.Around(deadline(t), wanted(digest, len(content)), o.source("h1"))
	b, err := from(deadline(t), vendor.Whole)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	first(nil)
	if n := q.count("h1 done"); n != 0 {
		t.Error("the queen heard of an end")
	}
	second(nil)
	if n := q.count("h1 done"); n != 1 {
		t.Errorf("the queen heard of the end %d times", n)
	}
}

// What another hive calls its version of the file does not count: the digest does.
func TestVersionStaysThere(t *testing.T) {
	s := bustest.Start(t)
	content, digest := file(3<<20, 7)
	port := newOutside(t, content, 1<<20) // it says a version
	q := newQueen(t, s)
	h := newHive(t, s, "h1", nil)
	q.does(func(string, *messages.LocateRequest) (*messages.LocateReply, error) {
		return &messages.LocateReply{Hive: "h2", Ticket: "t", URL: port.URL, Host: h.host}, nil
	})
	end := h.pull(deadline(t), port, digest, nil)
	h.arrives(t, digest, 1<<20)
	p, err := download.OpenPartial(h.partial(digest))
	if err != nil {
		t.Fatal(err)
	}
	if v := p.Version(); v != "" {
		t.Errorf("a copy took over the version %q", v)
	}
	p.Close()
	close(port.released)
	if got := recv(t, "the end", end); got.err != nil {
		t.Error(got.err)
	}
	if port.by("h1") > 0 {
		t.Error("the source was asked")
	}
	h.has(t, digest, content)
}

func (p *Peers) count(digest string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.routes[digest])
}

// A hive that fetches and is told that another does turns to it, and what it had asked outside ends.
func TestFetcherTurnsToAnother(t *testing.T) {
	s := bustest.Start(t)
	content, digest := file(4<<20, 4)
	o := newOutside(t, content, 1<<20)
	q := newQueen(t, s)
	q.firstFetches("h1")
	h1, h2 := newHive(t, s, "h1", nil), newHive(t, s, "h2", nil)
	said := make(chan string, 16)
	end := h1.pull(deadline(t), o, digest, said)
	h1.arrives(t, digest, 1<<20)
	h2.put(t, digest, content)
	q.firstFetches("h2")
	for recv(t, "it turns", said) != "copying from hive h2" {
	}
	if got := recv(t, "the end", end); got.err != nil {
		t.Error(got.err)
	}
	h1.has(t, digest, content)
	if n := o.by("h1"); n > 2<<20 {
		t.Errorf("%d bytes came from outside", n)
	}
}

// A file of no bytes, and a range at the end, are no reason to wait.
func TestNothingToRead(t *testing.T) {
	s := bustest.Start(t)
	h1, h2 := newHive(t, s, "h1", nil), newHive(t, s, "h2", nil)
	_, none := file(0, 0)
	content, some := file(1000, 5)
	h1.put(t, none, nil)
	h1.put(t, some, content)
	for digest, rng := range map[string]vendor.Range{none: vendor.Whole, some: {From: 1000, To: 1000}} {
		h1.tickets.admit("t", digest, now())
		b, err := h2.overBus(deadline(t), &way{hive: "h1", ticket: "t"}, digest, rng)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(b); len(got) > 0 || err != nil {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	}
	h1.tickets.admit("t", none, now())
	b, err := h2.openAt(deadline(t), &way{hive: "h1", ticket: "t", url: h1.url()}, none, vendor.Whole)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := io.ReadAll(b); len(got) > 0 || err != nil || b.SizeBytes != 0 {
		t.Errorf("got %d of %d bytes, %v", len(got), b.SizeBytes, err)
	}
}

// A hive that is gone in the middle of a copy over the bus, or that was restarted and knows no ticket, is no end
// of the download.
func TestHolderGoes(t *testing.T) {
	for name, goes := range map[string]func(*hive){
		"gone":      func(h *hive) { h.stop() },
		"restarted": func(h *hive) { h.tickets.mu.Lock(); clear(h.tickets.byHash); h.tickets.mu.Unlock() },
		"removed":   func(h *hive) { _ = h.remove() },
	} {
		t.Run(name, func(t *testing.T) {
			s := bustest.Start(t)
			content, digest := file(6<<20, 6)
			o := newOutside(t, content, int64(len(content)))
			q := newQueen(t, s)
			h1, h2 := newHive(t, s, "h1", noPort), newHive(t, s, "h2", noPort)
			h1.put(t, digest, content)
			h1.tickets.admit("ticket-of-h1", digest, now())
			q.does(func(string, *messages.LocateRequest) (*messages.LocateReply, error) {
				return &messages.LocateReply{Hive: "h1", Ticket: "ticket-of-h1"}, nil
			})
			ctx := deadline(t)
			from, done := h2.Around(ctx, wanted(digest, len(content)), o.source("h2"))
			defer done(nil)
			b, err := from(ctx, vendor.Range{From: 0, To: int64(len(content))})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if _, err := io.ReadFull(b, make([]byte, messages.MaxPiece)); err != nil {
				t.Fatal(err)
			}
			goes(h1)
			q.does(func(_ string, r *messages.LocateRequest) (*messages.LocateReply, error) {
				if r.Bad != "h1" {
					t.Errorf("h1 is not called bad: %+v", r)
				}
				return &messages.LocateReply{Outside: true}, nil
			})
			_, err = io.Copy(io.Discard, b)
			if !vendor.Temporary(err) || messages.CodeOf(err) != messages.CodeUnavailable {
				t.Errorf("the copy ends with %v", err)
			}
			b2, err := from(ctx, vendor.Whole)
			if err != nil {
				t.Fatal(err)
			}
			defer b2.Close()
			if got, err := io.ReadAll(b2); err != nil || len(got) != len(content) || o.by("h2") == 0 {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
}

// Who copies from a hive whose download ends without success does not wait there for more.
func TestFetcherGivesUp(t *testing.T) {
	for name, change := range map[string]func(*Config){"by port": nil, "over the bus": noPort} {
		t.Run(name, func(t *testing.T) {
			s := bustest.Start(t)
			content, digest := file(3<<20, 8)
			o := newOutside(t, content, 1<<20)
			q := newQueen(t, s)
			q.firstFetches("h1")
			h1, h2 := newHive(t, s, "h1", change), newHive(t, s, "h2", change)
			ctx, cancel := context.WithCancel(deadline(t))
			first := h1.pull(ctx, o, digest, nil)
			second := h2.pull(deadline(t), o, digest, nil)
			h2.arrives(t, digest, 1<<20)
			began := time.Now()
			q.does(func(string, *messages.LocateRequest) (*messages.LocateReply, error) {
				return &messages.LocateReply{Outside: true}, nil
			})
			cancel()
			recv(t, "the end of the first", first)
			close(o.released)
			if got := recv(t, "the end of the second", second); got.err != nil {
				t.Error(got.err)
			}
			h2.has(t, digest, content)
			t.Log("after", time.Since(began))
			if n := o.by("h2"); n > 2<<20+1 {
				t.Errorf("%d bytes came from outside that were there", n-2<<20)
			}
		})
	}
}

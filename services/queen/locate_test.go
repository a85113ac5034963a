package queen

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

var (
	aDigest = "sha256:" + strings.Repeat("a", 64)
	bDigest = "sha256:" + strings.Repeat("b", 64)
)

// An answer that comes late because the machine is busy is none that does not come.
func init() { offerLimit, ticketLimit = 10*time.Second, 10*time.Second }

// fakeOfferer is a hive that says of files what the test wants, and asks the queen for them.
type fakeOfferer struct {
	c  *bus.Conn
	id messages.HiveID

	mu      sync.Mutex
	offer   messages.OfferReply // of aDigest
	mute    bool                // it gives no answer
	greedy  bool                // nor one to a ticket
	hangs   bool                // and that not at once
	asked   int
	tickets map[string]bool
}

// offerer runs a hive on w's bus, and has it known.
func (w *world) offerer(t *testing.T, id messages.HiveID) *fakeOfferer {
	t.Helper()
	h := newOfferer(t, w.s, id)
	h.appear(t, w)
	return h
}

func newOfferer(t *testing.T, s *bustest.Server, id messages.HiveID) *fakeOfferer {
	t.Helper()
	h := &fakeOfferer{c: s.Connect(t, bus.RoleHive, string(id)), id: id, tickets: map[string]bool{}}
	svc, err := h.c.Serve(context.Background(), "rbee-hive", "dev", "fake", []bus.Endpoint{{Name: "offer", Subject: messages.HiveSubject(id, messages.OpOffer),
		Handle: bus.Handle(func(ctx context.Context, _ *bus.Call, r *messages.OfferRequest) (*messages.OfferReply, error) {
			h.mu.Lock()
			mute, hangs := h.mute || h.greedy && r.Ticket != "", h.hangs
			h.mu.Unlock()
			if mute && hangs {
				<-ctx.Done()
			}
			if mute {
				return nil, messages.Errorf(messages.CodeUnavailable, messages.OpOffer, "not now")
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.asked++
			if r.Digest != aDigest {
				return &messages.OfferReply{}, nil
			}
			if r.Ticket != "" {
				h.tickets[r.Ticket] = true
			}
			reply := h.offer
			return &reply, nil
		})}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	return h
}

// appear has the hive beat, and the queen hear it.
func (h *fakeOfferer) appear(t *testing.T, w *world) {
	t.Helper()
	if err := h.c.Publish(messages.HiveBeatSubject(h.id), &messages.HiveBeat{Hive: messages.HiveInfo{ID: h.id, Incarnation: "i"}}); err != nil {
		t.Fatal(err)
	}
	w.until(t, string(h.id)+" is known", func() bool {
		for _, i := range w.q.registry.HivesHere() {
			if i.ID == h.id {
				return true
			}
		}
		return false
	})
}

func (h *fakeOfferer) offers(o messages.OfferReply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offer = o
}

func (h *fakeOfferer) isMute(mute bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mute = mute
}

// wants is what the queen answers to the hive, in short: "outside", "wait", "wait h1", or the hive whose ticket it is.
func (h *fakeOfferer) wants(t *testing.T, w *world, change func(*messages.LocateRequest), want string, from ...*fakeOfferer) {
	t.Helper()
	r := &messages.LocateRequest{Digest: aDigest, SizeBytes: 5}
	if change != nil {
		change(r)
	}
	var reply messages.LocateReply
	if err := h.c.Request(deadline(t), messages.DoSubject(h.c.Caller, messages.OpLocate), r, &reply); err != nil {
		t.Errorf("%s: %v", h.id, err)
		return
	}
	got := string(reply.Hive)
	switch {
	case reply.Outside:
		got = "outside"
	case reply.Wait:
		got = strings.TrimSpace("wait " + got)
	}
	if got != want {
		t.Errorf("%s gets %q, want %q", h.id, got, want)
	}
	for _, o := range from {
		o.mu.Lock()
		if reply.Ticket == "" || !o.tickets[reply.Ticket] {
			t.Errorf("%s gets ticket %q, which %s does not know", h.id, reply.Ticket, o.id)
		}
		o.mu.Unlock()
	}
	if reply.Ticket != "" && (reply.Outside || reply.Wait) {
		t.Errorf("%s gets a ticket for nothing: %+v", h.id, reply)
	}
}

func fetching(r *messages.LocateRequest) { r.Fetching = true }
func isDone(r *messages.LocateRequest)   { r.Done = true }

func bad(id messages.HiveID) func(*messages.LocateRequest) {
	return func(r *messages.LocateRequest) { r.Bad = id }
}

// lapse has the claim on the file end by itself.
func (w *world) lapse() {
	w.q.claims.mu.Lock()
	defer w.q.claims.mu.Unlock()
	held := w.q.claims.byDigest[aDigest]
	held.until = time.Now().Add(-time.Second)
	w.q.claims.byDigest[aDigest] = held
}

// One hive goes outside; the others wait until it has begun, copy while it fetches, and when it has the file.
func TestLocate(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h1, h2, h3 := w.offerer(t, "h1"), w.offerer(t, "h2"), w.offerer(t, "h3")
	h1.wants(t, w, nil, "outside")
	h2.wants(t, w, nil, "wait h1")
	h1.offers(messages.OfferReply{Partial: true, URL: "http://10.0.0.1:7", Host: "m"})
	h2.wants(t, w, nil, "h1", h1)
	h1.wants(t, w, fetching, "outside")
	h1.offers(messages.OfferReply{Have: true})
	h3.wants(t, w, nil, "h1", h1)
	h1.wants(t, w, isDone, "")
	h3.wants(t, w, nil, "h1", h1)
	w.lapse()
	h3.wants(t, w, nil, "h1", h1)
	h2.wants(t, w, func(r *messages.LocateRequest) { r.Digest = bDigest }, "outside")
}

// While a hive fetches, nobody but that one is asked for each hive that waits.
func TestWaitingIsCheap(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h1, h2, h3 := w.offerer(t, "h1"), w.offerer(t, "h2"), w.offerer(t, "h3")
	h1.wants(t, w, nil, "outside")
	h3.mu.Lock()
	before := h3.asked
	h3.mu.Unlock()
	for range 5 {
		h2.wants(t, w, nil, "wait h1")
	}
	if h3.mu.Lock(); h3.asked > before {
		t.Errorf("h3 was asked %d times", h3.asked-before)
	}
	h3.mu.Unlock()
}

// A hive whose fetch failed is out of the way at once; one that says nothing is waited for, as long as a claim lasts.
func TestLocateAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h1, h2 := w.offerer(t, "h1"), w.offerer(t, "h2")
	h1.wants(t, w, nil, "outside")
	h1.wants(t, w, isDone, "")
	h2.wants(t, w, nil, "outside") // it was asked and has nothing
	h2.wants(t, w, isDone, "")
	h2.isMute(true)
	h1.wants(t, w, nil, "wait h2") // most likely it has the file
	w.lapse()
	h1.wants(t, w, nil, "outside")
}

// Nobody tells this queen who fetches: it was started again, or another was asked. The hives know.
func TestFetcherUnknownToTheQueen(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h1, h2, h3 := w.offerer(t, "h1"), w.offerer(t, "h2"), w.offerer(t, "h3")
	h1.offers(messages.OfferReply{Partial: true})
	h2.wants(t, w, nil, "h1", h1)
	h3.wants(t, w, nil, "h1", h1)
	h1.wants(t, w, fetching, "outside")
	h2.wants(t, w, fetching, "h1", h1) // went outside without a queen
}

// A hive was frozen, and another has taken over: it copies from that one, also when that one is done.
func TestFrozenHive(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h1, h2 := w.offerer(t, "h1"), w.offerer(t, "h2")
	h1.wants(t, w, nil, "outside")
	w.lapse()
	h2.wants(t, w, nil, "outside")
	h1.wants(t, w, fetching, "wait h2")
	h2.offers(messages.OfferReply{Partial: true})
	h1.wants(t, w, fetching, "h2", h2)
	h1.wants(t, w, isDone, "")
	h2.wants(t, w, fetching, "outside")
	h2.offers(messages.OfferReply{Have: true})
	h2.wants(t, w, isDone, "")
	h1.wants(t, w, fetching, "h2", h2)
	w.lapse()
	h1.wants(t, w, fetching, "h2", h2)
}

// What did not arrive from a hive is not fetched anew at once: it may be starting again. No ticket leads there.
func TestBadHive(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h1, h2, h3 := w.offerer(t, "h1"), w.offerer(t, "h2"), w.offerer(t, "h3")
	h1.offers(messages.OfferReply{Have: true})
	h2.wants(t, w, bad("h1"), "wait h1")
	h3.offers(messages.OfferReply{Have: true})
	h2.wants(t, w, bad("h1"), "h3", h3)
	h3.offers(messages.OfferReply{})
	h1.isMute(true)
	h2.wants(t, w, bad("h1"), "wait h1")
	h1.isMute(false)
	h2.wants(t, w, bad("gone"), "h1", h1)
	h1.offers(messages.OfferReply{})
	h2.wants(t, w, bad("gone"), "wait gone")
	h2.wants(t, w, bad("h1"), "outside") // it has nothing
	h2.offers(messages.OfferReply{Partial: true})
	h3.wants(t, w, bad("h2"), "wait h2") // it fetches, and is no better for that
	h3.wants(t, w, nil, "h2", h2)
	h2.offers(messages.OfferReply{})
	h3.wants(t, w, bad("h2"), "wait h2") // it is about to
	h2.wants(t, w, isDone, "")
	h3.wants(t, w, bad("h2"), "outside") // its fetch has failed
}

// A mute hive does not keep others from fetching. One that has the file and takes no ticket in time is passed over
// for another; if there is none, it is waited for.
func TestHiveThatTakesNoTicket(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h1, h2, h3 := w.offerer(t, "h1"), w.offerer(t, "h2"), w.offerer(t, "h3")
	h1.mu.Lock()
	h1.mute, h1.hangs = true, true
	h1.mu.Unlock()
	h2.wants(t, w, nil, "outside")
	h2.wants(t, w, isDone, "")
	h1.mu.Lock()
	h1.mute, h1.greedy, h1.hangs = false, true, false
	h1.mu.Unlock()
	h1.offers(messages.OfferReply{Have: true})
	h2.wants(t, w, nil, "wait h1")
	h3.offers(messages.OfferReply{Have: true})
	h2.wants(t, w, nil, "h3", h3)
}

// Only hives are told, and only about files.
func TestLocateRefuses(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h1 := w.offerer(t, "h1")
	for _, digest := range []string{"", "sha256:", strings.ToUpper(aDigest), aDigest + "0", "sha256:" + strings.Repeat("z", 64), "../../etc/passwd", aDigest + "\n"} {
		err := h1.c.Request(deadline(t), messages.DoSubject(h1.c.Caller, messages.OpLocate), &messages.LocateRequest{Digest: digest}, nil)
		wantCode(t, err, messages.CodeBadRequest)
	}
	wantCode(t, w.do(t, messages.OpLocate, &messages.LocateRequest{Digest: aDigest}, nil), messages.CodeDenied)
}

// What a hive says of its address is not passed on without bounds.
func TestLongAddress(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h1, h2 := w.offerer(t, "h1"), w.offerer(t, "h2")
	h1.offers(messages.OfferReply{Have: true, URL: "http://10.0.0.1:7" + strings.Repeat("/", 9000), Host: strings.Repeat("m", 1000)})
	h2.wants(t, w, nil, "h1", h1)
	if r, err := w.q.ticket(deadline(t), aDigest, "h1"); err != nil || r == nil {
		t.Errorf("%v, %v", r, err)
	} else if r.URL != "" || r.Host != "" {
		t.Errorf("%d and %d bytes are passed on", len(r.URL), len(r.Host))
	}
}

// A queen that was started again hears of her hives one after another. Until those that she knew have beaten, or
// had the time to, nothing is fetched that one of them may have.
func TestLocateAfterARestart(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t)
	first := beginOn(t, s, Config{Name: "q", Route: "bus"})
	h1 := first.offerer(t, "h1")
	h1.offers(messages.OfferReply{Have: true})
	for ctx := deadline(t); len(first.keys(t, messages.HivesBucket)) == 0; {
		if ctx.Err() != nil {
			t.Fatal("h1 is not in the bucket")
		}
	}
	h2 := newOfferer(t, s, "h2")
	first.stop()

	w := beginOn(t, s, Config{Name: "q", Route: "bus"})
	h2.appear(t, w)
	h2.wants(t, w, nil, "wait")
	h1.appear(t, w)
	h2.wants(t, w, nil, "h1", h1)
	h1.offers(messages.OfferReply{})
	h2.wants(t, w, nil, "outside")
}

// A hive that is gone for good is waited for a few seconds only.
func TestFormerHiveIsGone(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t)
	first := beginOn(t, s, Config{Name: "q", Route: "bus"})
	first.offerer(t, "h1")
	for ctx := deadline(t); len(first.keys(t, messages.HivesBucket)) == 0; {
		if ctx.Err() != nil {
			t.Fatal("h1 is not in the bucket")
		}
	}
	first.stop()
	w := beginOn(t, s, Config{Name: "q", Route: "bus"})
	if !w.q.awaitsHives(deadline(t), "h2") {
		t.Error("nobody is waited for")
	}
	if w.q.awaitsHives(deadline(t), "h1") {
		t.Error("it waits for itself")
	}
	w.q.joined = w.q.joined.Add(-beatWait)
	if w.q.awaitsHives(deadline(t), "h2") {
		t.Error("it is waited for still")
	}
}

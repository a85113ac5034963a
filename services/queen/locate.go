package queen

import (
	"context"
	"crypto/rand"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// offerLimit is how long the hives have to say whether they have a file.
const offerLimit = 1500 * time.Millisecond

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// doLocate tells a hive where to get a file: from a hive that has it, from the one that is fetching it, or
// from outside, which then is its task alone.
func (q *Queen) doLocate(ctx context.Context, call *bus.Call, r *messages.LocateRequest) (*messages.LocateReply, error) {
	me := messages.HiveID(call.Caller.Name())
	switch {
	case call.Caller.Role() != string(bus.RoleHive):
		return nil, messages.Errorf(messages.CodeDenied, messages.OpLocate, "%s is no hive", call.Caller)
	case !digestForm.MatchString(r.Digest):
		return nil, messages.Errorf(messages.CodeBadRequest, messages.OpLocate, "%.80q is no digest", r.Digest)
	case r.Done:
		q.claims.end(r.Digest, me)
		return &messages.LocateReply{}, nil
	}
	alive := func(h messages.HiveID) bool {
		return slices.ContainsFunc(q.registry.HivesHere(), func(i messages.HiveInfo) bool { return i.ID == h })
	}
	if r.Fetching && q.claims.take(r.Digest, me, time.Now(), alive) == me {
		return &messages.LocateReply{Outside: true}, nil
	}
	offers := q.offers(ctx, r, me)
	have := func(o offer) bool { return o.Have }
	if reply := q.ticket(ctx, r.Digest, offers, have); reply != nil {
		return reply, nil
	}
	holder := q.claims.take(r.Digest, me, time.Now(), alive)
	if holder == me {
		// Who was fetching it a moment ago may have it now.
		if slices.ContainsFunc(offers, func(o offer) bool { return o.Partial }) {
			if reply := q.ticket(ctx, r.Digest, q.offers(ctx, r, me), have); reply != nil {
				q.claims.end(r.Digest, me)
				return reply, nil
			}
		}
		return &messages.LocateReply{Outside: true}, nil
	}
	if reply := q.ticket(ctx, r.Digest, offers, func(o offer) bool { return o.Partial && o.hive == holder }); reply != nil {
		return reply, nil
	}
	return &messages.LocateReply{Wait: true, Hive: holder}, nil
}

type offer struct {
	messages.OfferReply
	hive messages.HiveID
}

// offers asks every other hive whether it has the file.
func (q *Queen) offers(ctx context.Context, r *messages.LocateRequest, me messages.HiveID) []offer {
	ctx, cancel := context.WithTimeout(ctx, offerLimit)
	defer cancel()
	var mu sync.Mutex
	var out []offer
	var wg sync.WaitGroup
	for _, h := range q.registry.HivesHere() {
		if h.ID == me || h.ID == r.Bad {
			continue
		}
		wg.Go(func() {
			o := offer{hive: h.ID}
			if q.conn.Request(ctx, messages.HiveSubject(h.ID, messages.OpOffer), &messages.OfferRequest{Digest: r.Digest}, &o.OfferReply) == nil {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, o)
			}
		})
	}
	wg.Wait()
	return out
}

// ticket hands a ticket to one of the hives that suit, any of them, and tells where it is. Nil if none takes it.
func (q *Queen) ticket(ctx context.Context, digest string, offers []offer, suits func(offer) bool) *messages.LocateReply {
	ctx, cancel := context.WithTimeout(ctx, offerLimit)
	defer cancel()
	for _, o := range offers { // in the order of their answers: who is busy comes late
		if !suits(o) {
			continue
		}
		t := rand.Text()
		var confirmed messages.OfferReply
		err := q.conn.Request(ctx, messages.HiveSubject(o.hive, messages.OpOffer), &messages.OfferRequest{Digest: digest, Ticket: t}, &confirmed)
		if err == nil && (confirmed.Have || confirmed.Partial) {
			return &messages.LocateReply{Hive: o.hive, URL: confirmed.URL, Host: confirmed.Host, Ticket: t}
		}
	}
	return nil
}

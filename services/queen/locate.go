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

const (
	maxTries   = 3   // hives that are offered a ticket for one question
	maxAddress = 300 // bytes of a hive's URL, and of its machine's name
)

// Tests have more time.
var (
	offerLimit  = 1500 * time.Millisecond // for hives to say whether they have a file
	ticketLimit = time.Second             // for a hive to take a ticket
)

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
		q.claims.end(r.Digest, me, time.Now())
		return &messages.LocateReply{}, nil
	case r.Fetching && q.claims.renew(r.Digest, me, time.Now()):
		return &messages.LocateReply{Outside: true}, nil
	}
	if holder := q.claims.holder(r.Digest, time.Now()); holder != "" && holder != me {
		if reply := q.fromHolder(ctx, r, holder); reply != nil {
			return reply, nil
		}
	}
	if reply := q.fromAny(ctx, r, me); reply != nil {
		return reply, nil
	}
	switch {
	case r.Fetching:
	case r.Bad != "" && q.mayHave(ctx, r.Digest, r.Bad): // the file is not fetched anew because of a moment
		return &messages.LocateReply{Wait: true, Hive: r.Bad}, nil
	case q.awaitsHives(ctx, me):
		return &messages.LocateReply{Wait: true}, nil
	}
	if holder := q.claims.take(r.Digest, me, time.Now()); holder != me {
		return &messages.LocateReply{Wait: true, Hive: holder}, nil
	}
	return &messages.LocateReply{Outside: true}, nil
}

// fromHolder sends to the hive whose claim holds. Nil: it has ended, and that hive has not got the file.
func (q *Queen) fromHolder(ctx context.Context, r *messages.LocateRequest, holder messages.HiveID) *messages.LocateReply {
	if holder != r.Bad {
		reply, err := q.ticket(ctx, r.Digest, holder)
		if reply != nil {
			return reply
		}
		if err == nil && q.claims.forget(r.Digest, holder) {
			return nil
		}
	} else if !q.mayHave(ctx, r.Digest, holder) && q.claims.forget(r.Digest, holder) {
		return nil
	}
	return &messages.LocateReply{Wait: true, Hive: holder}
}

// mayHave says whether a hive has the file or fetches it, or gives no answer: it may be starting again.
func (q *Queen) mayHave(ctx context.Context, digest string, hive messages.HiveID) bool {
	ctx, cancel := context.WithTimeout(ctx, ticketLimit)
	defer cancel()
	var o messages.OfferReply
	err := q.conn.Request(ctx, messages.HiveSubject(hive, messages.OpOffer), &messages.OfferRequest{Digest: digest}, &o)
	return err != nil || o.Have || o.Partial
}

// fromAny asks every other hive, and sends to one that has the file, else to one that fetches it, of which this
// queen did not know. Nil: nobody does.
func (q *Queen) fromAny(ctx context.Context, r *messages.LocateRequest, me messages.HiveID) *messages.LocateReply {
	offers := q.offers(ctx, r, me)
	have := slices.DeleteFunc(slices.Clone(offers), func(o offer) bool { return !o.Have })
	for _, o := range have[:min(len(have), maxTries)] { // in the order of their answers: who is busy comes late
		if reply, _ := q.ticket(ctx, r.Digest, o.hive); reply != nil {
			return reply
		}
	}
	if len(have) > 0 {
		return &messages.LocateReply{Wait: true, Hive: have[0].hive}
	}
	i := slices.IndexFunc(offers, func(o offer) bool { return o.Partial })
	if i < 0 {
		return nil
	}
	holder := q.claims.take(r.Digest, offers[i].hive, time.Now())
	if holder == me {
		return nil
	}
	if reply, _ := q.ticket(ctx, r.Digest, holder); reply != nil {
		return reply
	}
	return &messages.LocateReply{Wait: true, Hive: holder}
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

// ticket hands a ticket to a hive and tells where it is. Nil without an error: it neither has the file nor
// fetches it.
func (q *Queen) ticket(ctx context.Context, digest string, hive messages.HiveID) (*messages.LocateReply, error) {
	ctx, cancel := context.WithTimeout(ctx, ticketLimit)
	defer cancel()
	t := rand.Text()
	var o messages.OfferReply
	err := q.conn.Request(ctx, messages.HiveSubject(hive, messages.OpOffer), &messages.OfferRequest{Digest: digest, Ticket: t}, &o)
	if err != nil || !o.Have && !o.Partial {
		return nil, err
	}
	reply := &messages.LocateReply{Hive: hive, Ticket: t}
	if len(o.URL) <= maxAddress && len(o.Host) <= maxAddress {
		reply.URL, reply.Host = o.URL, o.Host
	}
	return reply, nil
}

// beatWait is how long hives that an earlier life of a queen knew have to beat.
const beatWait = messages.HiveBeatEvery + time.Second

// awaitsHives says whether a hive that an earlier life of a queen knew has not beaten yet, and may: it could
// have the file, or be fetching it.
func (q *Queen) awaitsHives(ctx context.Context, me messages.HiveID) bool {
	if time.Since(q.joined) >= beatWait {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, offerLimit)
	defer cancel()
	kv, err := q.conn.JetStream().KeyValue(ctx, messages.HivesBucket)
	if err != nil {
		return false // there is none, or no store: then nobody is waited for
	}
	keys, err := kv.ListKeys(ctx)
	if err != nil {
		return false
	}
	defer func() { _ = keys.Stop() }()
	here := q.registry.HivesHere()
	for k := range keys.Keys() {
		if k != string(me) && !slices.ContainsFunc(here, func(h messages.HiveInfo) bool { return string(h.ID) == k }) {
			return true
		}
	}
	return false
}

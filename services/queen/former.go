package queen

import (
	"context"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// formerWait is how long the workers of an earlier life of the queen have to beat.
const formerWait = messages.HeartbeatEvery + time.Second

// learnFormer reads which workers an earlier life of a queen knew. They are not picked before they beat;
// but until they had the time to, no other is started in their stead.
func (q *Queen) learnFormer(ctx context.Context) {
	defer close(q.former.known)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	kv, err := q.conn.JetStream().KeyValue(ctx, messages.WorkersBucket)
	if err != nil {
		return // there is none, or no store: then nobody is waited for
	}
	keys, err := kv.ListKeys(ctx)
	if err != nil {
		return
	}
	for k := range keys.Keys() {
		q.former.ids = append(q.former.ids, messages.WorkerID(k))
	}
}

// former is the workers of an earlier life; ids is read after known is closed.
type former struct {
	known chan struct{}
	ids   []messages.WorkerID
}

// awaitFormer returns when each of them has beaten, or had the time to.
func (q *Queen) awaitFormer(ctx context.Context) {
	limit := time.NewTimer(time.Until(q.joined.Add(formerWait)))
	defer limit.Stop()
	select {
	case <-q.former.known:
	case <-limit.C:
		return
	case <-ctx.Done():
		return
	}
	for {
		changed := q.heard.wait()
		missing := false
		for _, id := range q.former.ids {
			_, here := q.registry.Worker(id)
			missing = missing || !here
		}
		if !missing {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

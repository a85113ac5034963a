package queen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/messages"
)

// waitForBus returns when the connection is up, and says every 5 s that it is not.
func (q *Queen) waitForBus(ctx context.Context) error {
	back := make(chan struct{}, 1)
	defer q.conn.OnReconnect(func() {
		select {
		case back <- struct{}{}:
		default:
		}
	})()
	said := time.NewTicker(5 * time.Second)
	defer said.Stop()
	for first := true; !q.conn.Connected(); first = false {
		if first {
			q.log.Warn("waiting for the bus")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-back:
		case <-said.C:
			q.log.Warn("waiting for the bus")
		}
	}
	return nil
}

// storeAgain is how often a store that does not work is tried.
const storeAgain = 2 * time.Second

// keepStreams makes the streams, and makes them anew when the server comes back: its store may be empty.
func (q *Queen) keepStreams(ctx context.Context) {
	due := make(chan struct{}, 1)
	defer q.conn.OnReconnect(func() {
		select {
		case due <- struct{}{}:
		default:
		}
	})()
	trouble := q.troubleWith("streams")
	tick := time.NewTicker(storeAgain)
	defer tick.Stop()
	for {
		err := q.makeStreams(ctx)
		if ctx.Err() != nil {
			return
		}
		trouble(err)
		if q.store.has("jobs") {
			try, cancel := context.WithTimeout(ctx, time.Second)
			_ = q.jobs.CheckStore(try) // it says how it went
			cancel()
		}
		for mend := false; !mend; {
			select {
			case <-ctx.Done():
				return
			case <-due:
				mend = true
			case <-tick.C:
				mend = q.store.String() != ""
			}
		}
	}
}

// streamBytes are the sizes that a stream may have: the server reserves them, so a small disk gets a small
// one.
var streamBytes = []int64{256 << 20, 32 << 20, 4 << 20}

func (q *Queen) makeStreams(ctx context.Context) error {
	meta := map[string]string{"rbee_schema": "1"}
	for _, c := range []jetstream.StreamConfig{
		{Name: messages.JobsStream, Subjects: []string{messages.JobWildcard}, MaxAge: 7 * 24 * time.Hour, Metadata: meta},
		{Name: messages.EventsStream, Subjects: []string{messages.EventWildcard}, MaxAge: 30 * 24 * time.Hour, NoAck: true, Metadata: meta},
	} {
		if err := q.makeStream(ctx, c); err != nil {
			return fmt.Errorf("stream %s: %w", c.Name, err)
		}
	}
	return nil
}

// makeStream takes the largest size that the disk has room for; a stream that is there keeps its own.
func (q *Queen) makeStream(ctx context.Context, c jetstream.StreamConfig) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if !q.conn.Connected() {
		return errors.New("no connection to the NATS server")
	}
	if s, err := q.conn.JetStream().Stream(ctx, c.Name); err == nil {
		c.MaxBytes = s.CachedInfo().Config.MaxBytes
		_, err = q.conn.JetStream().UpdateStream(ctx, c)
		return err
	}
	for _, c.MaxBytes = range streamBytes {
		_, err = q.conn.JetStream().CreateStream(ctx, c)
		if e, ok := errors.AsType[*jetstream.APIError](err); !ok || e.ErrorCode != insufficientStorage {
			return err
		}
	}
	return err
}

// insufficientStorage is JSStorageResourcesExceededErr of nats-server's errors.json.
const insufficientStorage jetstream.ErrorCode = 10047

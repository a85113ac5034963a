package queen

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

func (q *Queen) jobList(context.Context, *bus.Call, *messages.Versioned) (*messages.JobListReply, error) {
	r := &messages.JobListReply{Jobs: []messages.JobInfo{}}
	bytes := 0
	for _, j := range q.keeper.List() {
		j = brief(j)
		data, err := json.Marshal(&j)
		if bytes += len(data); err != nil || bytes > messages.PageBytes {
			break
		}
		r.Jobs = append(r.Jobs, j)
	}
	return r, nil
}

// brief is j with its texts cut: a list shows many.
func brief(j messages.JobInfo) messages.JobInfo {
	const most = 500
	cut := func(s string) string {
		if len(s) > most {
			return strings.ToValidUTF8(s[:most], "") + "…"
		}
		return s
	}
	j.Text = cut(j.Text)
	if j.Error != nil {
		e := *j.Error
		e.Message, e.Hint = cut(e.Message), cut(e.Hint)
		j.Error = &e
	}
	return j
}

func (q *Queen) jobGet(ctx context.Context, _ *bus.Call, ref *messages.JobRef) (*messages.JobInfo, error) {
	if err := messages.CheckID("job id", string(ref.Job)); err != nil {
		return nil, err
	}
	if i, ok := q.keeper.Get(ref.Job); ok {
		return &i, nil
	}
	// Of jobs long past only the stream knows.
	var last *messages.JobEvent
	for after := uint64(0); ; {
		past, err := q.jobEvents(ctx, nil, &messages.JobRef{Job: ref.Job, After: after})
		if err != nil {
			return nil, err
		}
		if n := len(past.Events); n > 0 {
			last = &past.Events[n-1]
		}
		if after = past.Next; after == 0 {
			break
		}
	}
	if last == nil {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpJobGet, "no job %q", ref.Job).WithHint("rbee job list")
	}
	return &messages.JobInfo{Job: last.Job, Executor: last.Executor, Op: last.Op, State: last.State, Text: last.Text, Error: last.Error,
		StartedAt: last.StartedAt, UpdatedAt: last.At}, nil
}

// jobEvents replays a job's history from the stream, a page at a time.
func (q *Queen) jobEvents(ctx context.Context, _ *bus.Call, ref *messages.JobRef) (*messages.JobEventsReply, error) {
	if err := messages.CheckID("job id", string(ref.Job)); err != nil {
		return nil, err
	}
	r := &messages.JobEventsReply{Events: []messages.JobEvent{}}
	var err error
	r.Next, err = q.page(ctx, messages.JobsStream, bus.AnyJobSubject(ref.Job), ref.After, time.Time{}, func(m jetstream.Msg, _ uint64) {
		var e messages.JobEvent
		if messages.Decode(m.Data(), &e) == nil {
			r.Events = append(r.Events, e)
		}
	})
	return r, err
}

// maxEvent bounds an event that is shown, in bytes.
const maxEvent = 64 << 10

// eventList reads what happened from the stream, a page at a time.
func (q *Queen) eventList(ctx context.Context, _ *bus.Call, req *messages.EventListRequest) (*messages.EventListReply, error) {
	kind := req.Kind
	if kind == "" {
		kind = ">"
	}
	if err := messages.CheckKind(kind); err != nil {
		return nil, err
	}
	var since time.Time
	if req.SinceMillis > 0 {
		const most = 365 * 24 * time.Hour
		since = time.Now().Add(-min(time.Duration(min(req.SinceMillis, most.Milliseconds()))*time.Millisecond, most))
	}
	r := &messages.EventListReply{Events: []messages.StoredEvent{}}
	var err error
	r.Next, err = q.page(ctx, messages.EventsStream, messages.EventSubject("*", "*", kind), req.After, since, func(m jetstream.Msg, seq uint64) {
		// A hive may publish anything under its own name; what is no event is not shown.
		if len(m.Data()) <= maxEvent && json.Valid(m.Data()) {
			r.Events = append(r.Events, messages.StoredEvent{Seq: seq, Subject: m.Subject(), Event: m.Data()})
		}
	})
	return r, err
}

// page reads a stream behind number after, or since a time, until a page is full. next is where the
// following one begins, 0 if there is nothing more.
func (q *Queen) page(ctx context.Context, stream, filter string, after uint64, since time.Time, take func(jetstream.Msg, uint64)) (next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}, DeliverPolicy: jetstream.DeliverAllPolicy, InactiveThreshold: 10 * time.Second,
		MaxResetAttempts: 1} // a reset does not know ctx: without a bound it would go on for ever
	switch {
	case after > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, after+1
	case !since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	unavailable := func(err error) error {
		return messages.Errorf(messages.CodeUnavailable, "history", "the store does not answer: %w", err)
	}
	c, err := q.conn.JetStream().OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return 0, unavailable(err)
	}
	left := c.CachedInfo().NumPending
	for bytes := 0; left > 0; {
		// FetchNoWait gives up after a second without a word, which looks like the end.
		batch, err := c.Fetch(int(min(left, 200)), jetstream.FetchContext(ctx))
		if err != nil {
			return 0, unavailable(err)
		}
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				continue
			}
			if bytes += len(m.Data()) + len(m.Subject()) + 32; bytes > messages.PageBytes && next > 0 {
				return next, nil
			}
			take(m, meta.Sequence.Stream)
			next, left = meta.Sequence.Stream, meta.NumPending
		}
		if err := batch.Error(); err != nil {
			return 0, unavailable(err)
		}
		if err := ctx.Err(); err != nil && left > 0 {
			return 0, unavailable(err)
		}
	}
	return 0, nil
}

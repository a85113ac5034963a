package jobs

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

func TestMain(m *testing.M) {
	bustest.VerifyNoLeaks(m)
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// office is a server with the stream of jobs.
type office struct {
	s     *bustest.Server
	queen *bus.Conn
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{s: bustest.Start(t)}
	o.queen = o.s.Connect(t, bus.RoleQueen, "q")
	_, err := o.queen.JetStream().CreateStream(deadline(t), jetstream.StreamConfig{Name: messages.JobsStream, Subjects: []string{messages.JobWildcard}})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// keep runs a Keeper until the test ends; its channel gets each end that it tells.
func (o *office) keep(t *testing.T, conn *bus.Conn) (*Keeper, <-chan messages.JobState) {
	t.Helper()
	ended := make(chan messages.JobState, 64)
	k := NewKeeper(conn, slog.New(slog.DiscardHandler), func(_ string, s messages.JobState) { ended <- s })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the keeper ended with %v", err)
		}
	})
	k.List() // it listens
	if err := conn.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return k, ended
}

// job runs as hive name until the test or goOn ends it.
func (o *office) job(t *testing.T, name string, id messages.JobID) (goOn func(error)) {
	t.Helper()
	jobs := o.s.ConnectLoose(t, bus.RoleHive, name).NewJobs(context.Background())
	t.Cleanup(jobs.Close)
	end := make(chan error, 1)
	_, err := jobs.Start(id, "model.pull", "a model", func(ctx context.Context, _ *bus.Job) (any, error) {
		select {
		case err := <-end:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(err error) { end <- err }
}

// until asks again and again until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, tick := deadline(t), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// stored is that the stream has the job's last event, and that k knows its number.
func (k *Keeper) stored(id messages.JobID) bool {
	return ask(k, func(t *Table) bool { j := t.jobs[id]; return j != nil && j.last > 0 })
}

func (o *office) events(t *testing.T) uint64 {
	t.Helper()
	s, err := o.queen.JetStream().Stream(deadline(t), messages.JobsStream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func recv[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-deadline(t).Done():
		t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

func TestKeeperFollowsAJob(t *testing.T) {
	o := newOffice(t)
	k, ended := o.keep(t, o.queen)
	finish := o.job(t, "h1", "j1")
	until(t, "it is stored", func() bool { return k.stored("j1") })
	if i, ok := k.Get("j1"); !ok || i.State != messages.JobStarted || i.Executor != "hive-h1" || i.Text != "a model" || k.Open() != 1 || len(k.List()) != 1 {
		t.Errorf("%+v, %v", i, ok)
	}
	finish(errors.New("boom"))
	if s := recv(t, "its end", ended); s != messages.JobFailed {
		t.Errorf("it ended as %s", s)
	}
	// The stream tells of the end too; that is no second end.
	until(t, "the stored end is heard", func() bool { return ask(k, func(t *Table) bool { return t.jobs["j1"].last == 2 }) })
	if i, _ := k.Get("j1"); i.Error == nil || k.Open() != 0 || len(ended) > 0 {
		t.Errorf("%+v, %d more ends", i, len(ended))
	}
}

// TestKeeperOfAnotherLife: what was begun and ended before it was there, the stream tells, but it is no news; and what goes on
// after the server was away, too.
func TestKeeperOfAnotherLife(t *testing.T) {
	o := newOffice(t)
	finish := o.job(t, "h1", "j1")
	finish(nil)
	goOn := o.job(t, "h2", "j2")
	until(t, "the events are stored", func() bool { return o.events(t) == 3 })
	k, ended := o.keep(t, o.queen)
	until(t, "both are known", func() bool { return k.stored("j1") && k.stored("j2") })
	if i, _ := k.Get("j1"); i.State != messages.JobSucceeded || k.Open() != 1 || len(ended) > 0 {
		t.Errorf("j1 is %s, %d open, %d ends told that were before", i.State, k.Open(), len(ended))
	}
	o.s.Restart(t)
	goOn(nil)
	if s := recv(t, "the end of j2", ended); s != messages.JobSucceeded {
		t.Errorf("it ended as %s", s)
	}
	until(t, "the stored end is read again", func() bool { return ask(k, func(t *Table) bool { return t.jobs["j2"].last == 4 }) })
	if len(ended) > 0 {
		t.Errorf("%d more ends", len(ended))
	}
}

// TestLostExecutor: both queens hear of it, one end is written, and the dead one that comes back is told.
func TestLostExecutor(t *testing.T) {
	o := newOffice(t)
	k1, ended1 := o.keep(t, o.queen)
	k2, ended2 := o.keep(t, o.s.Connect(t, bus.RoleQueen, "q2"))
	finish := o.job(t, "h1", "j1")
	o.job(t, "h2", "j2")
	until(t, "they are stored", func() bool { return k1.stored("j1") && k2.stored("j1") && k1.stored("j2") })
	k1.Lost("hive-h1", "it was cut")
	k2.Lost("hive-h1", "it was cut")
	for _, ended := range []<-chan messages.JobState{ended1, ended2} {
		if s := recv(t, "the end", ended); s != messages.JobFailed {
			t.Errorf("it ended as %s", s)
		}
	}
	finish(nil) // not dead after all, but too late
	until(t, "both read the end", func() bool {
		last := func(t *Table) uint64 { return t.jobs["j1"].last }
		return ask(k1, last) == 3 && ask(k2, last) == 3
	})
	if n := o.events(t); n != 3 { // two began, one end
		t.Errorf("%d events", n)
	}
	for _, k := range []*Keeper{k1, k2} {
		i, _ := k.Get("j1")
		if j, _ := k.Get("j2"); i.State != messages.JobFailed || messages.CodeOf(i.Error) != messages.CodeUnavailable || j.State != messages.JobStarted {
			t.Errorf("%+v, %+v", i, j)
		}
	}
}

// TestForeignEvents: an executor is believed about its own jobs alone.
func TestForeignEvents(t *testing.T) {
	o := newOffice(t)
	k, _ := o.keep(t, o.queen)
	rogue := o.s.ConnectLoose(t, bus.RoleHive, "h2")
	event := func(executor messages.Caller, job messages.JobID, s messages.JobState) []byte {
		data, _ := messages.Encode(messages.JSON, &messages.JobEvent{Job: job, Executor: executor, Op: "model.pull", Seq: 1000, State: s})
		return data
	}
	tick := func(job messages.JobID) []byte {
		data, _ := messages.Encode(messages.JSON, &messages.JobTick{Job: job, Done: 99, Total: 100})
		return data
	}
	const done = messages.JobSucceeded
	for name, say := range map[string]func(id messages.JobID) (subject string, data []byte){
		"another's name": func(id messages.JobID) (string, []byte) {
			return messages.JobSubject("hive-h2", id), event("hive-h1", id, done)
		},
		"another's job": func(id messages.JobID) (string, []byte) {
			return messages.JobSubject("hive-h2", id), event("hive-h2", id, done)
		},
		"on the subject of a third": func(id messages.JobID) (string, []byte) {
			return messages.JobSubject("hive-h2", "x"), event("hive-h2", id, done)
		},
		"noise": func(id messages.JobID) (string, []byte) {
			return messages.JobSubject("hive-h2", id), []byte("\xdf\xff\xff\xff\xff")
		},
		"another's tick": func(id messages.JobID) (string, []byte) { return messages.TickSubject("hive-h2", id), tick(id) },
		"a tick of a third": func(id messages.JobID) (string, []byte) {
			return messages.TickSubject("hive-h2", "x"), tick(id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			id, mark := messages.JobID(messages.NewID("j")), messages.JobID(messages.NewID("mark"))
			o.job(t, "h1", id)
			until(t, "it is stored", func() bool { return k.stored(id) })
			subject, data := say(id)
			// The mark follows on the same connection: when it is heard, what was before it was.
			err := errors.Join(rogue.PublishRaw(subject, "", data),
				rogue.PublishRaw(messages.JobSubject("hive-h2", mark), "", event("hive-h2", mark, messages.JobStarted)))
			if err != nil {
				t.Fatal(err)
			}
			until(t, "the mark", func() bool { _, ok := k.Get(mark); return ok })
			if err := rogue.PublishRaw(messages.TickSubject("hive-h2", mark), "", tick(mark)); err != nil {
				t.Fatal(err)
			}
			until(t, "its tick", func() bool { i, _ := k.Get(mark); return i.Done == 99 })
			if i, _ := k.Get(id); i.State != messages.JobStarted || i.Executor != "hive-h1" || i.Done != 0 {
				t.Errorf("%+v", i)
			}
		})
	}
}

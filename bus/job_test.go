package bus_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// jobService runs fn as a job for each request on a hive's subject.
func jobService(t *testing.T, s *bustest.Server, fn func(context.Context, *bus.Job) (any, error)) (q *bus.Conn, jobs *bus.Jobs) {
	t.Helper()
	q = s.Connect(t, bus.RoleQueen, "q")
	_, err := q.JetStream().CreateStream(deadline(t), jetstream.StreamConfig{Name: messages.JobsStream, Subjects: []string{messages.JobWildcard}})
	if err != nil {
		t.Fatal(err)
	}
	h := s.Connect(t, bus.RoleHive, "h")
	jobs = h.NewJobs(context.Background())
	t.Cleanup(jobs.Close)
	svc, err := h.Serve(context.Background(), "rbee-hive", "dev", "test", []bus.Endpoint{{Name: "pull", Subject: "rbee.hive.h.model.pull",
		Handle: func(_ context.Context, call *bus.Call) (any, error) {
			var req messages.PullRequest
			if err := call.Decode(&req); err != nil {
				return nil, err
			}
			return jobs.Start(req.Job, "model.pull", req.Model, fn)
		}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	return q, jobs
}

func TestJobTellsItsStepsAndItsResult(t *testing.T) {
	var runs atomic.Int32
	q, _ := jobService(t, bustest.Start(t), func(_ context.Context, job *bus.Job) (any, error) {
		runs.Add(1)
		job.Step("one")
		job.Tick("half", 50, 100, "%")
		return &messages.Done{OK: true}, nil
	})
	var texts []string
	var ticks atomic.Int32
	var done messages.Done
	req := &messages.PullRequest{Job: "j1", Model: "m"}
	w := bus.Watcher{Event: func(e messages.JobEvent) { texts = append(texts, string(e.State)+e.Text) }, Tick: func(messages.JobTick) { ticks.Add(1) }}
	if err := q.RunJob(deadline(t), "rbee.hive.h.model.pull", "j1", req, &done, w); err != nil || !done.OK {
		t.Fatalf("%+v %v", done, err)
	}
	if !slices.Equal(texts, []string{"startedm", "stepone", "succeeded"}) {
		t.Errorf("events %q", texts)
	}
	// The same id twice is one execution.
	var accepted messages.Accepted
	if err := q.Request(deadline(t), "rbee.hive.h.model.pull", req, &accepted); err != nil || accepted.Executor != "hive-h" || !accepted.Known {
		t.Errorf("%+v %v", accepted, err)
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

func TestJobFailsAndIsCancelled(t *testing.T) {
	s := bustest.Start(t)
	q, jobs := jobService(t, s, func(ctx context.Context, job *bus.Job) (any, error) {
		if job.ID == "fails" {
			return nil, messages.Errorf(messages.CodeNoMemory, "spawn", "too large").WithHint("--force")
		}
		<-ctx.Done()
		return nil, errors.New("whatever it says then")
	})
	err := q.RunJob(deadline(t), "rbee.hive.h.model.pull", "fails", &messages.PullRequest{Job: "fails"}, nil, bus.Watcher{})
	if messages.CodeOf(err) != messages.CodeNoMemory {
		t.Errorf("got %v", err)
	}
	end := make(chan error, 1)
	go func() {
		end <- q.RunJob(deadline(t), "rbee.hive.h.model.pull", "waits", &messages.PullRequest{Job: "waits"}, nil, bus.Watcher{})
	}()
	for !jobs.Cancel("waits") {
		select {
		case err := <-end:
			t.Fatalf("it ended before: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := <-end; messages.CodeOf(err) != messages.CodeCancelled {
		t.Errorf("got %v", err)
	}
}

// TestOneExecutionOnAllExecutors: an executor that never saw the id, another or the same one restarted,
// does not run it again.
func TestOneExecutionOnAllExecutors(t *testing.T) {
	s := bustest.Start(t)
	var runs atomic.Int32
	fn := func(context.Context, *bus.Job) (any, error) { runs.Add(1); return nil, nil }
	q, _ := jobService(t, s, fn)
	if err := q.RunJob(deadline(t), "rbee.hive.h.model.pull", "j1", &messages.PullRequest{Job: "j1"}, nil, bus.Watcher{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"h", "other"} {
		jobs := s.Connect(t, bus.RoleHive, name).NewJobs(context.Background())
		a, err := jobs.Start("j1", "model.pull", "m", fn)
		if err != nil || !a.Known {
			t.Errorf("hive %s: %+v, %v", name, a, err)
		}
		jobs.Close()
	}
	if runs.Load() != 1 {
		t.Errorf("it ran %d times", runs.Load())
	}
}

// TestJobThatWasEndedElsewhere: an executor that comes back to a job that the queen has ended says
// nothing more, and stops.
func TestJobThatWasEndedElsewhere(t *testing.T) {
	s := bustest.Start(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	stopped := make(chan error, 1)
	q, _ := jobService(t, s, func(ctx context.Context, job *bus.Job) (any, error) {
		close(began)
		<-goOn
		job.Step("back again")
		stopped <- context.Cause(ctx)
		return &messages.Done{OK: true}, nil
	})
	if err := q.Request(deadline(t), "rbee.hive.h.model.pull", &messages.PullRequest{Job: "j1"}, nil); err != nil {
		t.Fatal(err)
	}
	<-began
	end := &messages.JobEvent{Job: "j1", Executor: "hive-h", Op: "model.pull", Seq: 2, State: messages.JobFailed, Error: messages.Errorf(messages.CodeUnavailable, "job", "gone")}
	if err := q.EndJob(deadline(t), end, 7); messages.CodeOf(err) != messages.CodeConflict {
		t.Fatalf("behind a message that is not there: %v", err)
	}
	if err := q.EndJob(deadline(t), end, 1); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	if err := <-stopped; messages.CodeOf(err) != messages.CodeCancelled {
		t.Errorf("the job goes on: %v", err)
	}
	str, err := q.JetStream().Stream(deadline(t), messages.JobsStream)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := str.Info(deadline(t)); err != nil || i.State.Msgs != 2 {
		t.Errorf("%d events, %v", i.State.Msgs, err)
	}
}

// TestJobRunsWithoutAStore: events are heard live, the job is done.
func TestJobRunsWithoutAStore(t *testing.T) {
	s := bustest.Start(t)
	q, _ := jobService(t, s, func(_ context.Context, job *bus.Job) (any, error) {
		job.Step("one")
		return &messages.Done{OK: true}, nil
	})
	str, err := q.JetStream().Stream(deadline(t), messages.JobsStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := str.CachedInfo().Config
	cfg.MaxBytes, cfg.Discard = 1, jetstream.DiscardNew // full
	if _, err := q.JetStream().UpdateStream(deadline(t), cfg); err != nil {
		t.Fatal(err)
	}
	var done messages.Done
	if err := q.RunJob(deadline(t), "rbee.hive.h.model.pull", "j1", &messages.PullRequest{Job: "j1"}, &done, bus.Watcher{}); err != nil || !done.OK {
		t.Errorf("%+v, %v", done, err)
	}
}

package bus_test

import (
	"context"
	"errors"
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
			return jobs.Start(req.Job, "model.pull", fn)
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
	if len(texts) != 2 || texts[0] != "stepone" || texts[1] != "succeeded" {
		t.Errorf("events %q", texts)
	}
	// The same id twice is one execution.
	var accepted messages.Accepted
	if err := q.Request(deadline(t), "rbee.hive.h.model.pull", req, &accepted); err != nil || accepted.Executor != "hive-h" {
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

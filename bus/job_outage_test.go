package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// TestJobEndedDuringAnOutage: an executor that could not store a step does not forget where it was: what the
// queen wrote meanwhile is the end, and nothing follows it.
func TestJobEndedDuringAnOutage(t *testing.T) {
	s := bustest.Start(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	told := make(chan struct{})
	stopped := make(chan error, 1)
	q, _ := jobService(t, s, func(ctx context.Context, job *bus.Job) (any, error) {
		close(began)
		<-goOn
		job.Step("nobody hears this")
		close(told)
		<-goOn
		for range 500 { // until its connection is back
			job.Step("back again")
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
				continue
			}
			break
		}
		stopped <- context.Cause(ctx)
		return &messages.Done{OK: true}, nil
	})
	if err := q.Request(deadline(t), "rbee.hive.h.model.pull", &messages.PullRequest{Job: "j1"}, nil); err != nil {
		t.Fatal(err)
	}
	<-began
	s.Stop()
	goOn <- struct{}{}
	<-told
	s.Restart(t)
	end := &messages.JobEvent{Job: "j1", Executor: "hive-h", Op: "model.pull", Seq: 2, State: messages.JobFailed, Error: messages.Errorf(messages.CodeUnavailable, "job", "gone")}
	for ctx := deadline(t); ; {
		err := q.EndJob(ctx, end, 1)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	goOn <- struct{}{}
	select {
	case err := <-stopped:
		if messages.CodeOf(err) != messages.CodeCancelled {
			t.Errorf("the job goes on: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it hangs")
	}
	str, err := q.JetStream().Stream(deadline(t), messages.JobsStream)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := str.Info(deadline(t)); err != nil || i.State.Msgs != 2 {
		t.Errorf("%d events, %v", i.State.Msgs, err)
	}
}

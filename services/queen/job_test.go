package queen

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// pulls runs a job on a hive's connection; it ends with goOn, or its context.
func pulls(t *testing.T, c *bus.Conn, id messages.JobID, steps ...string) (goOn chan<- error) {
	t.Helper()
	jobs := c.NewJobs(context.Background())
	t.Cleanup(jobs.Close)
	end, said := make(chan error, 1), make(chan struct{})
	_, err := jobs.Start(id, messages.OpModelPull, "a model", func(ctx context.Context, job *bus.Job) (any, error) {
		for _, s := range steps {
			job.Step("%s", s)
		}
		close(said)
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
	recv(t, "its steps", said)
	return end
}

func (w *world) jobInfo(t *testing.T, id messages.JobID) (messages.JobInfo, error) {
	t.Helper()
	var i messages.JobInfo
	err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpJobGet), &messages.JobRef{Job: id}, &i)
	return i, err
}

// jobIs waits until the queen says so of a job.
func (w *world) jobIs(t *testing.T, id messages.JobID, want messages.JobState) messages.JobInfo {
	t.Helper()
	for ctx := deadline(t); ; {
		i, err := w.jobInfo(t, id)
		if err == nil && i.State == want {
			return i
		}
		if ctx.Err() != nil {
			t.Fatalf("job %s: %+v, %v; want %s", id, i, err, want)
		}
	}
}

func TestJobEndpoints(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hive(t)
	done := pulls(t, h.c, "done")
	done <- nil
	w.jobIs(t, "done", messages.JobSucceeded)
	pulls(t, h.c, "runs", "one", "two")
	i := w.jobIs(t, "runs", messages.JobStep)
	for ctx := deadline(t); i.Text == "one" && ctx.Err() == nil; { // its second step is on its way
		i = w.jobIs(t, "runs", messages.JobStep)
	}
	if i.Executor != "hive-h1" || i.Op != messages.OpModelPull || i.Text != "two" || i.StartedAt.IsZero() {
		t.Errorf("%+v", i)
	}
	for _, req := range [][]byte{nil, messages.MustEncode(&messages.Versioned{})} {
		answer, err := w.client.RequestRaw(deadline(t), messages.QueenSubject(messages.OpJobList), req)
		var list messages.JobListReply
		if err == nil {
			err = messages.Decode(answer, &list)
		}
		if err != nil || len(list.Jobs) != 2 || list.Jobs[0].Job != "runs" || list.Jobs[1].State != messages.JobSucceeded {
			t.Errorf("%+v, %v", list, err)
		}
	}
	var s messages.StatusReply
	if err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpStatus), &messages.Versioned{}, &s); err != nil || s.Jobs != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	var ok messages.Done
	if err := w.do(t, messages.OpJobCancel, &messages.JobRef{Job: "runs"}, &ok); err != nil || !ok.OK {
		t.Errorf("%+v, %v", ok, err)
	}
	if got := recv(t, "the hive's cancel", h.cancelled); got != "runs" {
		t.Errorf("cancelled %s", got)
	}
	wantCode(t, w.do(t, messages.OpJobCancel, &messages.JobRef{Job: "done"}, nil), messages.CodeConflict)
	if len(h.cancelled) > 0 {
		t.Errorf("the hive was asked to cancel %s", <-h.cancelled)
	}
	for id, want := range map[messages.JobID]messages.Code{"nobody": messages.CodeNotFound, "a.b": messages.CodeBadRequest, "*": messages.CodeBadRequest, "": messages.CodeBadRequest} {
		_, err := w.jobInfo(t, id)
		wantCode(t, err, want)
		wantCode(t, w.do(t, messages.OpJobCancel, &messages.JobRef{Job: id}, nil), want)
	}
	wantCode(t, w.client.Request(deadline(t), messages.QueenSubject(messages.OpJobEvents), &messages.JobRef{Job: ">"}, nil), messages.CodeBadRequest)
}

// TestJobOfThePast: the table forgets, the stream does not; its last word counts, on whatever page it is.
func TestJobOfThePast(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hive(t)
	long := []string{strings.Repeat("x", 400_000), strings.Repeat("y", 400_000), "the last step"}
	for id, steps := range map[messages.JobID][]string{"short": nil, "long": long} {
		pulls(t, h.c, id, steps...) <- messages.Errorf(messages.CodeBadModel, messages.OpModelPull, "no such model")
		w.jobIs(t, id, messages.JobFailed)
	}
	known := func() bool {
		_, ok1 := w.q.keeper.Get("short")
		_, ok2 := w.q.keeper.Get("long")
		return ok1 || ok2
	}
	// More than one wave: the stream may tell of them again, and then the table has them.
	for ctx, wave := deadline(t), 0; ; wave++ {
		if ctx.Err() != nil {
			t.Fatal("they are never forgotten")
		}
		for i := range 501 {
			id := messages.JobID(fmt.Sprintf("j%d-%d", wave, i))
			e := &messages.JobEvent{Job: id, Op: "x", Executor: "hive-h1", Seq: 1, State: messages.JobSucceeded}
			if err := h.c.PublishJSON(messages.JobSubject("hive-h1", id), e); err != nil {
				t.Fatal(err)
			}
		}
		w.jobIs(t, messages.JobID(fmt.Sprintf("j%d-500", wave)), messages.JobSucceeded)
		if known() {
			continue
		}
		short, err1 := w.jobInfo(t, "short")
		long, err2 := w.jobInfo(t, "long")
		if known() {
			continue
		}
		if wave < 4 && (short.State == messages.JobStep || long.State == messages.JobStep) {
			continue // the table had them, told of again, for as long as the answer took
		}
		for _, i := range []messages.JobInfo{short, long} {
			if err1 != nil || err2 != nil || i.State != messages.JobFailed || messages.CodeOf(i.Error) != messages.CodeBadModel || i.Executor != "hive-h1" || i.StartedAt.IsZero() {
				t.Errorf("%s: state %s, error %v; %v, %v", i.Job, i.State, i.Error, err1, err2)
			}
		}
		return
	}
}

func TestJobEventPages(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hive(t)
	var steps []string
	for i := range 15 {
		steps = append(steps, fmt.Sprint(i, " ", strings.Repeat("x", 100_000)))
	}
	pulls(t, h.c, "big", steps...) <- nil
	w.jobIs(t, "big", messages.JobSucceeded)
	var all []messages.JobEvent
	pages := 0
	for after := uint64(0); ; pages++ {
		var r messages.JobEventsReply
		if err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpJobEvents), &messages.JobRef{Job: "big", After: after}, &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r.Events...)
		if after = r.Next; after == 0 {
			break
		}
	}
	if len(all) != 17 || pages < 2 {
		t.Fatalf("%d events on %d pages", len(all), pages+1)
	}
	for i, e := range all {
		if e.Seq != i+1 {
			t.Errorf("event %d has number %d", i, e.Seq)
		}
	}
	var told []int
	err := w.client.WatchJob(deadline(t), "big", nil, bus.Watcher{Event: func(e messages.JobEvent) { told = append(told, e.Seq) }})
	if err != nil || len(told) != 17 {
		t.Errorf("watched %v, %v", told, err)
	}
}

// TestListOfFailures: however much the last jobs have to say, they can be listed.
func TestListOfFailures(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hive(t)
	text := strings.Repeat("ggml: no such device\n", 200) // as long as a worker's stderr
	for i := range 300 {
		id := messages.JobID(fmt.Sprint("j", i))
		e := &messages.JobEvent{Job: id, Op: messages.OpSpawn, Executor: "hive-h1", Seq: 1, State: messages.JobFailed, Text: text,
			Error: messages.Errorf(messages.CodeSpawnFailed, messages.OpSpawn, "%s", text)}
		if err := h.c.PublishJSON(messages.JobSubject("hive-h1", id), e); err != nil {
			t.Fatal(err)
		}
	}
	for ctx := deadline(t); w.q.keeper.Open() > 0 || len(w.q.keeper.List()) < 300; {
		if ctx.Err() != nil {
			t.Fatal("they are never heard")
		}
	}
	var list messages.JobListReply
	if err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpJobList), &messages.Versioned{}, &list); err != nil || len(list.Jobs) < 100 {
		t.Errorf("%d jobs, %v", len(list.Jobs), err)
	}
}

// TestSilentExecutor: a hive's process that was stopped says nothing, and its connection stands.
func TestSilentExecutor(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hive(t)
	e := &messages.JobEvent{Job: "j1", Op: messages.OpModelPull, Executor: "hive-h1", Seq: 1, State: messages.JobStarted, StartedAt: time.Now()}
	began := time.Now()
	if err := h.c.PublishJSON(messages.JobSubject("hive-h1", "j1"), e); err != nil {
		t.Fatal(err)
	}
	err := w.client.WatchJob(deadline(t), "j1", nil, bus.Watcher{})
	wantCode(t, err, messages.CodeUnavailable)
	if took := time.Since(began); took < 14*time.Second || took > 22*time.Second {
		t.Errorf("it took %v", took)
	}
	if i := w.jobIs(t, "j1", messages.JobFailed); !strings.Contains(i.Text, "hive-h1 is gone") {
		t.Errorf("%+v", i)
	}
}

// TestJobOfALostHive: what a hive had begun ends with it, within seconds.
func TestJobOfALostHive(t *testing.T) {
	t.Parallel()
	w := begin(t)
	h := w.hive(t)
	pulls(t, h.c, "j1")
	other := w.s.Connect(t, bus.RoleHive, "h2")
	pulls(t, other, "j2")
	w.jobIs(t, "j1", messages.JobStarted)
	began := time.Now()
	h.c.Close()
	wantCode(t, w.client.WatchJob(deadline(t), "j1", nil, bus.Watcher{}), messages.CodeUnavailable)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	w.jobIs(t, "j2", messages.JobStarted)
}

// pair is two queens on one bus.
func pair(t *testing.T) (w1, w2 *world) {
	t.Helper()
	s := bustest.Start(t)
	return beginOn(t, s, Config{Name: "q1", Route: "bus"}), beginOn(t, s, Config{Name: "q2", Route: "bus"})
}

// TestTwoQueensCancelJobs: whichever is asked, the one that runs the job ends it.
func TestTwoQueensCancelJobs(t *testing.T) {
	w1, w2 := pair(t)
	for name, tc := range map[string]struct{ runs, asked *world }{"own": {w1, w1}, "the other's": {w1, w2}, "and back": {w2, w1}} {
		t.Run(name, func(t *testing.T) {
			id := messages.JobID(messages.NewID("j"))
			cause := make(chan error, 1)
			_, err := tc.runs.q.jobs.Start(id, messages.OpSpawn, "m", func(ctx context.Context, _ *bus.Job) (any, error) {
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return nil, ctx.Err()
			})
			if err != nil {
				t.Fatal(err)
			}
			done, err := tc.asked.q.doJobCancel(deadline(t), &bus.Call{}, &messages.JobRef{Job: id})
			if err != nil || !done.OK {
				t.Fatalf("%+v, %v", done, err)
			}
			wantCode(t, recv(t, "its end", cause), messages.CodeCancelled)
			w1.jobIs(t, id, messages.JobCancelled)
			for _, w := range []*world{w1, w2} { // both come to know that it is over
				for ctx := deadline(t); ; {
					_, err := w.q.doJobCancel(ctx, &bus.Call{}, &messages.JobRef{Job: id})
					if messages.CodeOf(err) == messages.CodeConflict {
						break
					}
					if ctx.Err() != nil {
						t.Fatalf("cancelled again: %v", err)
					}
				}
			}
		})
	}
	began := time.Now()
	_, err := w1.q.doJobCancel(deadline(t), &bus.Call{}, &messages.JobRef{Job: "nobody"})
	wantCode(t, err, messages.CodeNotFound)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("nobody's job: %v", took)
	}
}

// TestTwoQueensCancelRequests: a request lives at one of them; its cancel is asked of both, in turn.
func TestTwoQueensCancelRequests(t *testing.T) {
	w1, w2 := pair(t)
	f := newWorker(t, w1.s, "w1", 100)
	f.hold = true
	f.beat(t, messages.StatusReady)
	for _, w := range []*world{w1, w2} {
		w.until(t, "the worker is known", func() bool { _, ok := w.q.registry.Worker("w1"); return ok })
	}
	runs := func(w *world) bool { n, _, _ := w.q.dispatcher.Counts(); return n > 0 }
	seen := map[string]bool{}
	for i := 0; len(seen) < 4 && i < 200; i++ {
		id := fmt.Sprint("r", i)
		r := infer(t, w1.client, id)
		if _, err := r.Next(deadline(t)); err != nil {
			t.Fatal(err)
		}
		asked := w1
		if i%2 == 1 {
			asked = w2
		}
		seen[fmt.Sprint(runs(w1), asked == w1)] = true
		call := &bus.Call{Caller: "client-bob"}
		if i < 4 {
			if done, err := asked.q.doCancel(deadline(t), call, &messages.CancelRequest{ID: id}); err != nil || done.OK {
				t.Errorf("bob cancels it: %+v, %v", done, err)
			}
		}
		call.Caller = w1.client.Caller
		if done, err := asked.q.doCancel(deadline(t), call, &messages.CancelRequest{ID: id}); err != nil || !done.OK {
			t.Fatalf("request %d: %+v, %v", i, done, err)
		}
		recv(t, "the worker's cancel", f.told)
		_, err := text(deadline(t), r)
		wantCode(t, err, messages.CodeCancelled)
		for ctx := deadline(t); runs(w1) || runs(w2); {
			if ctx.Err() != nil {
				t.Fatal("it never ended")
			}
			_ = w1.client.Flush(ctx)
		}
	}
	if len(seen) < 4 {
		t.Errorf("only seen: %v", seen)
	}
}

package queen

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// shelf runs a hive that verifies the one model it has.
func (w *world) shelf(t *testing.T, id messages.HiveID, model string) {
	t.Helper()
	h := newOfferer(t, w.s, id)
	jobs := h.c.NewJobs(context.Background())
	t.Cleanup(jobs.Close)
	verify := func(_ context.Context, _ *bus.Call, r *messages.VerifyRequest) (*messages.Accepted, error) {
		return jobs.Start(r.Job, messages.OpModelCheck, "", func(context.Context, *bus.Job) (any, error) {
			for _, m := range r.Models { // the first that is not there is said, as the catalog does
				if m != model {
					return nil, messages.Errorf(messages.CodeModelUnknown, messages.OpModelCheck, "no model %q on this machine", m)
				}
			}
			return &messages.VerifyReply{Files: []messages.VerifiedFile{{Hive: id, Model: model}}}, nil
		})
	}
	svc, err := h.c.Serve(context.Background(), "rbee-hive", "dev", "fake",
		[]bus.Endpoint{{Name: "verify", Subject: messages.HiveSubject(id, messages.OpModelCheck), Handle: bus.Handle(verify)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	h.appear(t, w)
}

// Models that are asked for together need not lie on one hive.
func TestModelsOnSeveralHives(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.shelf(t, "h1", "a")
	w.shelf(t, "h2", "b")
	verify := func(models ...string) ([]string, error) {
		var got []string
		var out messages.VerifyReply
		id := messages.JobID(messages.NewID("j-"))
		err := w.client.RunJob(deadline(t), messages.DoSubject(w.client.Caller, messages.OpModelCheck), id,
			&messages.VerifyRequest{Job: id, Models: models}, &out, bus.Watcher{})
		for _, f := range out.Files {
			got = append(got, string(f.Hive)+"/"+f.Model)
		}
		slices.Sort(got)
		return got, err
	}
	for _, models := range [][]string{nil, {"a", "b"}} {
		if got, err := verify(models...); err != nil || !slices.Equal(got, []string{"h1/a", "h2/b"}) {
			t.Errorf("%q: %q, %v", models, got, err)
		}
	}
	_, err := verify("a", "c")
	if messages.CodeOf(err) != messages.CodeModelUnknown || !strings.Contains(err.Error(), "no hive has it") || !strings.Contains(err.Error(), `"c"`) {
		t.Errorf("a model that nobody has: %v", err)
	}
	var m messages.Model
	err = w.client.Request(deadline(t), messages.QueenSubject(messages.OpModelGet), &messages.ModelRef{Model: "a", Hive: "h3"}, &m)
	if messages.CodeOf(err) != messages.CodeNotFound || !strings.Contains(err.Error(), `"h3"`) {
		t.Errorf("of a hive that there is not: %v", err)
	}
}

package queen

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// stocked runs a hive that has these models and lists them by three pages or more; without any it does not answer.
func (w *world) stocked(t *testing.T, id messages.HiveID, models []messages.Model) *fakeOfferer {
	t.Helper()
	h := &fakeOfferer{c: w.s.Connect(t, bus.RoleHive, string(id)), id: id}
	if models != nil {
		list := func(_ context.Context, _ *bus.Call, r *messages.ModelListRequest) (*messages.ModelListReply, error) {
			rest := models[slices.IndexFunc(models, func(m messages.Model) bool { return m.ID == r.After })+1:]
			n := min(len(rest), len(models)/3)
			out := &messages.ModelListReply{Models: rest[:n]}
			if n < len(rest) {
				out.Next = rest[n-1].ID
			}
			return out, nil
		}
		svc, err := h.c.Serve(context.Background(), "rbee-hive", "dev", "fake",
			[]bus.Endpoint{{Name: "list", Subject: messages.HiveSubject(id, messages.OpModelList), Handle: bus.Handle(list)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(svc.Stop)
	}
	return h
}

func shelfOf(n, bytes int) (models []messages.Model) {
	for i := range n {
		models = append(models, messages.Model{ID: fmt.Sprintf("org/m%05d:Q4", i), Refs: []string{strings.Repeat("r", bytes)}})
	}
	return models
}

func TestModelListPages(t *testing.T) {
	t.Parallel()
	w := begin(t)
	hives := []*fakeOfferer{w.stocked(t, "h1", shelfOf(600, 1000)), w.stocked(t, "h2", nil),
		w.stocked(t, "h3", shelfOf(7, 10)), w.stocked(t, "h4", shelfOf(40, 40<<10))}
	awake := func() { // however slow the test is
		for _, h := range hives {
			h.appear(t, w)
		}
	}
	for name, format := range map[string]messages.Format{"program": messages.Msgpack, "by hand": messages.JSON} {
		t.Run(name, func(t *testing.T) {
			var got []string
			away, pages := 0, 0
			for req := (&messages.ModelListRequest{}); ; pages++ {
				data, err := messages.Encode(format, req)
				if err != nil {
					t.Fatal(err)
				}
				awake()
				answer, err := w.client.RequestRaw(deadline(t), messages.QueenSubject(messages.OpModelList), data)
				var r messages.ModelListReply
				if err == nil {
					err = messages.Decode(answer, &r)
				}
				if err != nil || len(r.Models) == 0 || len(answer) > messages.MaxPayload {
					t.Fatalf("page %d: %d models, %v", pages, len(r.Models), err)
				}
				for i := range r.Models {
					got = append(got, string(r.Models[i].Hive)+"/"+r.Models[i].ID)
				}
				if slices.Contains(r.Away, "h2") {
					away++
				}
				if req.After = r.Next; req.After == "" {
					break
				}
			}
			if want := 600 + 7 + 40; len(got) != want || !slices.IsSorted(got) || len(slices.Compact(got)) != want {
				t.Errorf("%d models, want %d, sorted and each once", len(got), want)
			}
			if away != 1 || pages < 6 {
				t.Errorf("that h2 is away was said %d times on %d pages", away, pages+1)
			}
		})
	}
	var r messages.ModelListReply
	for after, want := range map[string]string{"h3/org/m00005:Q4": "org/m00006:Q4", "h3/org/m00005:Q4x": "", "h9/x": "", "h1": "org/m00000:Q4"} {
		awake()
		r = messages.ModelListReply{}
		if err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpModelList), &messages.ModelListRequest{After: after}, &r); err != nil ||
			want != "" && (len(r.Models) == 0 || r.Models[0].ID != want) {
			t.Errorf("after %q: %d models, %v", after, len(r.Models), err)
		}
	}
}

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
			rest := slices.DeleteFunc(slices.Clone(models), func(m messages.Model) bool { return m.ID <= r.After })
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
	for after, want := range map[string]string{"h3/org/m00005:Q4": "h3/org/m00006:Q4", "h3/org/m00005:Q4x": "h3/org/m00006:Q4", "h3/": "h3/org/m00000:Q4", "h9/x": "", "h1": "h1/org/m00000:Q4"} {
		awake()
		r = messages.ModelListReply{}
		err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpModelList), &messages.ModelListRequest{After: after}, &r)
		got := ""
		if len(r.Models) > 0 {
			got = string(r.Models[0].Hive) + "/" + r.Models[0].ID
		}
		if err != nil || got != want {
			t.Errorf("after %q: %q, want %q; %v", after, got, want, err)
		}
	}
}

// What a hive answers may be of an older rbee, or nonsense: a page has an end, and the list too.
func TestModelListOfOddHives(t *testing.T) {
	models := shelfOf(5, 300<<10) // two fit a page
	reply := func(next string, models ...messages.Model) *answer[messages.ModelListReply] {
		return &answer[messages.ModelListReply]{reply: messages.ModelListReply{Models: models, Next: next}}
	}
	for name, tc := range map[string]struct {
		after string
		a     *answer[messages.ModelListReply]
		took  int
		last  string
		full  bool
	}{
		"all of it":                      {"", reply("", models[:2]...), 2, models[1].ID, false},
		"it has more":                    {"", reply("x", models[:2]...), 2, models[1].ID, true},
		"too much for a page":            {"", reply("", models...), 2, models[1].ID, true},
		"it knows no pages":              {models[2].ID, reply("", models...), 2, models[4].ID, false},
		"it knows none and says more":    {models[4].ID, reply("x", models...), 0, models[4].ID, false},
		"more of nothing":                {"", reply("x"), 0, "", false},
		"more of nothing, in the middle": {"m", reply("x"), 0, "m", false},
	} {
		out, page := &messages.ModelListReply{}, messages.Page{Format: messages.JSON}
		last, full, err := take(out, &page, "h1", tc.after, tc.a)
		if err != nil || len(out.Models) != tc.took || last != tc.last || full != tc.full {
			t.Errorf("%s: took %d, last %q, full %v, %v", name, len(out.Models), last, full, err)
		}
	}
}

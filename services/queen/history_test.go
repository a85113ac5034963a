package queen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// tells has c say events of a kind and returns when the stream has them.
func (w *world) tells(t *testing.T, c *bus.Conn, kind string, data ...string) {
	t.Helper()
	s, err := w.q.conn.JetStream().Stream(deadline(t), messages.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	subject := messages.EventSubject("hive", c.Credentials().Name, kind)
	count := func() uint64 {
		i, err := s.Info(deadline(t), jetstream.WithSubjectFilter(subject))
		if err != nil {
			t.Fatal(err)
		}
		return i.State.Subjects[subject]
	}
	before := count()
	for _, d := range data {
		if err := c.PublishRaw(subject, "", []byte(d)); err != nil {
			t.Fatal(err)
		}
	}
	for ctx := deadline(t); count() < before+uint64(len(data)); {
		if ctx.Err() != nil {
			t.Fatal("the stream does not take the events")
		}
	}
}

// page asks for events, as a program or by hand.
func (w *world) page(t *testing.T, byHand bool, req *messages.EventListRequest) (messages.EventListReply, error) {
	t.Helper()
	data := messages.MustEncode(req)
	if byHand {
		data, _ = messages.Encode(messages.JSON, req)
	}
	var r messages.EventListReply
	answer, err := w.client.RequestRaw(deadline(t), messages.QueenSubject(messages.OpEventList), data)
	if err != nil {
		return r, err
	}
	return r, messages.Decode(answer, &r)
}

// list reads every page.
func (w *world) list(t *testing.T, byHand bool, req messages.EventListRequest) (out []messages.StoredEvent, pages int) {
	t.Helper()
	for pages = 1; ; pages++ {
		r, err := w.page(t, byHand, &req)
		if err != nil {
			t.Fatalf("page %d after %d: %v", pages, req.After, err)
		}
		if out = append(out, r.Events...); r.Next == 0 {
			return out, pages
		}
		req.After = r.Next
	}
}

func kinds(events []messages.StoredEvent) (out []string) {
	for _, e := range events {
		_, kind, _ := strings.Cut(strings.TrimPrefix(e.Subject, "rbee.event."), ".")
		_, kind, _ = strings.Cut(kind, ".")
		out = append(out, kind)
	}
	slices.Sort(out)
	return out
}

func TestEventKinds(t *testing.T) {
	t.Parallel()
	w := begin(t)
	c := w.s.Connect(t, bus.RoleHive, "h9")
	for _, kind := range []string{"a.b", "a.c", "d.b", "d"} {
		w.tells(t, c, kind, `{}`)
	}
	for kind, want := range map[string]string{"": "[a.b a.c d d.b]", ">": "[a.b a.c d d.b]", "a.b": "[a.b]", "a.*": "[a.b a.c]", "*.b": "[a.b d.b]", "*": "[d]", "a.>": "[a.b a.c]", "x": "[]"} {
		for _, byHand := range []bool{true, false} {
			if got, _ := w.list(t, byHand, messages.EventListRequest{Kind: kind}); fmt.Sprint(kinds(got)) != want {
				t.Errorf("%q: %v, want %s", kind, kinds(got), want)
			}
		}
	}
	for name, kind := range map[string]string{"empty token": "a..b", "dot": ".", "end": "a.", "space": "a b", "tail inside": "a.>.b", "tail first": ">.a", "stars": "**",
		"part": "a*", "newline": "a\nb", "NUL": "a\x00", "umlaut": "ä", "long token": strings.Repeat("x", 65)} {
		began := time.Now()
		_, err := w.page(t, false, &messages.EventListRequest{Kind: kind})
		if code := messages.CodeOf(err); code != messages.CodeBadRequest || time.Since(began) > 2*time.Second {
			t.Errorf("%s: code %q after %v: %.200v", name, code, time.Since(began), err)
		}
	}
}

// TestEndlessKind: what a reader asks for must not cost the queen its connection.
func TestEndlessKind(t *testing.T) {
	t.Parallel()
	w := begin(t)
	ctx, cancel := context.WithTimeout(deadline(t), 5*time.Second)
	defer cancel()
	for _, tokens := range []int{3000, 300_000} {
		err := w.client.Request(ctx, messages.QueenSubject(messages.OpEventList), &messages.EventListRequest{Kind: strings.Repeat("a.", tokens) + "a"}, nil)
		wantCode(t, err, messages.CodeBadRequest)
		if err := w.client.Request(deadline(t), messages.QueenSubject(messages.OpStatus), &messages.Versioned{}, nil); err != nil {
			t.Fatalf("after %d tokens: %v", tokens, err)
		}
	}
}

func TestEventsSince(t *testing.T) {
	w := begin(t)
	c := w.s.Connect(t, bus.RoleHive, "h9")
	w.tells(t, c, "old", `{}`)
	old := time.Now()
	<-time.After(1500 * time.Millisecond) // the stream's clock is the real one
	w.tells(t, c, "young", `{}`)
	for name, tc := range map[string]struct {
		millis int64
		want   string
	}{
		"everything":     {0, "[old young]"},
		"the last":       {time.Since(old.Add(700 * time.Millisecond)).Milliseconds(), "[young]"},
		"an hour":        {3_600_000, "[old young]"},
		"more than time": {1 << 62, "[old young]"},
		"the future":     {-5, "[old young]"},
	} {
		if got, _ := w.list(t, true, messages.EventListRequest{SinceMillis: tc.millis}); fmt.Sprint(kinds(got)) != tc.want {
			t.Errorf("%s: %v, want %s", name, kinds(got), tc.want)
		}
	}
}

func TestEventPages(t *testing.T) {
	t.Parallel()
	w := begin(t)
	c := w.s.Connect(t, bus.RoleHive, "h9")
	var sent []string
	for i := range 300 {
		sent = append(sent, fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, strings.Repeat("x", 10_000)))
	}
	w.tells(t, c, "big", sent...)
	for _, byHand := range []bool{true, false} {
		all, pages := w.list(t, byHand, messages.EventListRequest{Kind: "big"})
		if pages < 4 || pages > 6 || len(all) != len(sent) {
			t.Fatalf("by hand %v: %d events on %d pages", byHand, len(all), pages)
		}
		for i, e := range all {
			if string(e.Event) != sent[i] || i > 0 && e.Seq <= all[i-1].Seq {
				t.Fatalf("event %d is %.30s, number %d", i, e.Event, e.Seq)
			}
		}
	}
	all, _ := w.list(t, false, messages.EventListRequest{Kind: "big"})
	if rest, _ := w.list(t, false, messages.EventListRequest{Kind: "big", After: all[280].Seq}); len(rest) != 19 || rest[0].Seq != all[281].Seq {
		t.Errorf("%d are left after the 281st", len(rest))
	}
	if none, _ := w.list(t, false, messages.EventListRequest{After: 1 << 60}); len(none) > 0 {
		t.Errorf("%d in the future", len(none))
	}
}

// TestEventsOfAnybody: a hive may put whatever it wants under its own name; the others' events are shown
// all the same.
func TestEventsOfAnybody(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{"noise": "\xdf\xff\xff\xff\xff", "empty": "", "half": `{"kind":`, "number": "7",
		"as large as the bus allows": `"` + strings.Repeat("x", 1<<20-2) + `"`, "grows in JSON": `"` + strings.Repeat("<", 400_000) + `"`} {
		t.Run(name, func(t *testing.T) {
			w := begin(t)
			c := w.s.Connect(t, bus.RoleHive, "h9")
			w.tells(t, c, "good", `{"n":1}`)
			w.tells(t, c, "bad", data)
			w.tells(t, c, "good", `{"n":2}`)
			for _, byHand := range []bool{true, false} {
				req, good := messages.EventListRequest{}, 0
				for range 10 {
					r, err := w.page(t, byHand, &req)
					if err != nil {
						t.Fatalf("by hand %v, after %d: %v", byHand, req.After, err)
					}
					for _, e := range r.Events {
						var v struct {
							N int `json:"n"`
						}
						if json.Unmarshal(e.Event, &v) == nil && v.N > 0 {
							good++
						}
					}
					if req.After = r.Next; r.Next == 0 {
						break
					}
				}
				if good != 2 {
					t.Errorf("by hand %v: %d of 2 good events", byHand, good)
				}
			}
		})
	}
}

// TestEventsWithoutAStore: it says so, and soon.
func TestEventsWithoutAStore(t *testing.T) {
	t.Parallel()
	w := begin(t)
	if err := w.q.conn.JetStream().DeleteStream(deadline(t), messages.EventsStream); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := w.page(t, false, &messages.EventListRequest{})
	wantCode(t, err, messages.CodeUnavailable)
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("after %v: %v", took, errors.Unwrap(err))
	}
}

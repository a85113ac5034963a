package worker_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

// timeless is a without the second in which each object was made.
func timeless(t *testing.T, a answer) []string {
	t.Helper()
	if a.err != nil {
		t.Fatal(a.err)
	}
	var out []string
	for _, o := range a.objects {
		var m map[string]any
		if err := json.Unmarshal([]byte(o), &m); err != nil {
			t.Fatalf("%q: %v", o, err)
		}
		if m["id"] != "r1" || m["model"] != "fake" {
			t.Errorf("id or model is wrong in %s", o)
		}
		delete(m, "created")
		b, _ := json.Marshal(m)
		out = append(out, string(b))
	}
	return out
}

func TestBusAndHTTPAnswerAlike(t *testing.T) {
	r := ready(t, worker.Config{}, &enginetest.Fake{})
	want := messages.Usage{PromptTokens: 5, CompletionTokens: 7}
	for _, stream := range []bool{true, false} {
		onBus := read(t, r.ask(t, chat("r1", stream, 7)))
		overHTTP := readHTTP(t, r.post(t, deadline(t), chat("r1", stream, 7)))
		b, h := timeless(t, onBus), timeless(t, overHTTP)
		if !slices.Equal(b, h) {
			t.Errorf("stream %t: bus\n%s\nHTTP\n%s", stream, strings.Join(b, "\n"), strings.Join(h, "\n"))
		}
		if onBus.usage != want || overHTTP.usage != want {
			t.Errorf("stream %t: usage %+v on the bus, %+v over HTTP, want %+v", stream, onBus.usage, overHTTP.usage, want)
		}
		if !strings.Contains(strings.Join(b, ""), `"completion_tokens":7`) || (len(b) == 1) == stream {
			t.Errorf("stream %t: no usage in, or wrong number of, objects: %q", stream, b)
		}
	}
}

func TestBusy(t *testing.T) {
	gate := make(chan struct{})
	r := ready(t, worker.Config{}, &enginetest.Fake{Slots: 1, Gate: gate})
	first := r.ask(t, chat("first", true, 2))
	give(t, gate, struct{}{})
	if _, err := first.Next(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if i := r.Info(); i.Status != messages.StatusBusy || i.SlotsUsed != 1 {
		t.Errorf("with every slot used the worker says %+v", i)
	}
	wantCode(t, "bus", read(t, r.ask(t, chat("second", true, 2))).err, messages.CodeBusy)
	wantCode(t, "HTTP", readHTTP(t, r.post(t, deadline(t), chat("second", true, 2))).err, messages.CodeBusy)
	give(t, gate, struct{}{})
	if a := read(t, first); a.err != nil {
		t.Error(a.err)
	}
}

func TestRefusesBadRequests(t *testing.T) {
	r := ready(t, worker.Config{}, &enginetest.Fake{})
	for name, tc := range map[string]struct {
		change func(*messages.InferRequest)
		want   messages.Code
	}{
		"another model": {func(q *messages.InferRequest) { q.Model = "other" }, messages.CodeModelUnknown},
		"no model":      {func(q *messages.InferRequest) { q.Model = "" }, messages.CodeBadRequest},
		"unknown task":  {func(q *messages.InferRequest) { q.Task = "dance" }, messages.CodeBadRequest},
		"id with lines": {func(q *messages.InferRequest) { q.ID = "a 5\r\nPUB x 0\r\n" }, messages.CodeBadRequest},
		"id with dots":  {func(q *messages.InferRequest) { q.ID = "a.>" }, messages.CodeBadRequest},
		"n":             {func(q *messages.InferRequest) { q.Body = []byte(`{"n":2,"messages":[]}`) }, messages.CodeBadRequest},
		"long prompt": {func(q *messages.InferRequest) {
			q.Body, q.Task = []byte(`{"prompt":"`+strings.Repeat("bee ", 5000)+`"}`), messages.TaskCompletion
		}, messages.CodeContextFull},
	} {
		t.Run(name, func(t *testing.T) {
			q := chat("r1", true, 1)
			tc.change(q)
			s, err := r.queen.OpenStream(r.subject(messages.OpInfer), reply(), "", messages.MustEncode(q))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			wantCode(t, "bus", read(t, s).err, tc.want)
			wantCode(t, "HTTP", readHTTP(t, r.post(t, deadline(t), q)).err, tc.want)
		})
	}
}

func TestMalformedPayloadsDoNoHarm(t *testing.T) {
	r := ready(t, worker.Config{}, &enginetest.Fake{})
	payloads := []string{"", "{", "null", "[]", `{"id":7}`, `{"v":99,"id":"a","model":"fake","body":{}}`, "\xc1", "\xdf\xff\xff\xff\xff",
		"\xdb\xff\xff\xff\xffab", strings.Repeat("\x91", 5000), "cancel", strings.Repeat("x", messages.MaxPayload-1024)}
	for _, p := range payloads {
		for _, op := range []string{messages.OpInfo, messages.OpCtl, messages.OpCtl + ".", messages.OpCtl + ".nobody", "nosuch", "a.b.c"} {
			if op[len(op)-1] == '.' {
				continue
			}
			if err := r.queen.PublishRaw(r.subject(op), reply(), []byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		s, err := r.queen.OpenStream(r.subject(messages.OpInfer), reply(), "", []byte(p))
		if err != nil {
			t.Fatal(err)
		}
		err = read(t, s).err
		if c := messages.CodeOf(err); c != messages.CodeBadRequest && c != messages.CodeWrongVersion {
			t.Errorf("infer with %.20q: %v", p, err)
		}
		s.Close()
	}
	if a := read(t, r.ask(t, chat("sound", true, 3))); a.err != nil || a.usage.CompletionTokens != 3 {
		t.Errorf("a sound request after all that: %+v", a)
	}
}

func TestAnswersOnItsOwnRepliesAlone(t *testing.T) {
	r := ready(t, worker.Config{}, &enginetest.Fake{})
	var answered atomic.Int64
	for _, to := range []string{"x.reply.queen-q.w1.n", "rbee.reply.queen-q.w2.n", "rbee.reply.queen-q.w1", "rbee.heartbeat.w1.w1.n",
		"_INBOX_queen_q.w1", "rbee.answer.queen-q.w1.n", ""} {
		if to != "" {
			stop, err := r.queen.Subscribe(to, func(bus.Msg) { answered.Add(1) })
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
		}
		for _, op := range []string{messages.OpInfer, messages.OpInfo} {
			if err := r.queen.PublishRaw(r.subject(op), to, messages.MustEncode(chat("a", true, 1))); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := make(chan bus.Msg, 1)
	to := reply()
	stop, err := r.queen.Subscribe(to, func(m bus.Msg) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := r.queen.PublishRaw(r.subject(messages.OpInfo), to, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-got:
		var i messages.WorkerInfo
		if err := messages.Decode(m.Data, &i); err != nil || i.ID != id || messages.FormatOf(m.Data) != messages.JSON {
			t.Errorf("info: %s, %v", m.Data, err)
		}
	case <-time.After(patience):
		t.Fatal("no info")
	}
	r.cancel()
	if err := r.ended(t); err != nil { // every request in hand is done with
		t.Error(err)
	}
	flush(t, r.queen)
	if n := answered.Load(); n != 0 {
		t.Errorf("%d answers went where none belong", n)
	}
}

func TestTwoRequestsOfOneID(t *testing.T) {
	gate := make(chan struct{})
	r := ready(t, worker.Config{}, &enginetest.Fake{Gate: gate})
	first := r.ask(t, chat("same", true, 3))
	give(t, gate, struct{}{})
	if _, err := first.Next(deadline(t)); err != nil {
		t.Fatal(err)
	}
	// The refused ones have no reader: what the server says of that must not reach the first.
	for range 5 {
		if err := r.queen.PublishRaw(r.subject(messages.OpInfer), reply(), messages.MustEncode(chat("same", true, 3))); err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.queen.OpenStream(r.subject(messages.OpInfer), reply(), "", messages.MustEncode(chat("same", true, 3)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantCode(t, "the second", read(t, s).err, messages.CodeConflict)
	give(t, gate, struct{}{})
	give(t, gate, struct{}{})
	if a := read(t, first); a.err != nil || a.usage.CompletionTokens != 3 {
		t.Errorf("the first: %+v", a)
	}
	await(t, "the first has left", func() bool { return r.Info().SlotsUsed == 0 })
	again := r.ask(t, chat("same", true, 1))
	give(t, gate, struct{}{})
	if a := read(t, again); a.err != nil {
		t.Errorf("the id once it is free: %v", a.err)
	}
}

func TestReaderThatLeavesStopsTheEngine(t *testing.T) {
	gate := make(chan struct{})
	r := ready(t, worker.Config{}, &enginetest.Fake{Gate: gate})
	idle := func() bool { return r.Info().SlotsUsed == 0 }
	for name, leave := range map[string]func(t *testing.T){
		"HTTP client": func(t *testing.T) {
			ctx, cancel := context.WithCancel(deadline(t))
			go func() {
				select {
				case gate <- struct{}{}:
				case <-ctx.Done():
				}
			}()
			resp := r.post(t, ctx, chat("http", true, 1000))
			if idle() {
				t.Error("no slot is used")
			}
			cancel()
			resp.Body.Close()
		},
		"unsubscribe": func(t *testing.T) {
			got, to := make(chan struct{}, 1000), reply()
			stop, err := r.queen.Subscribe(to, func(bus.Msg) { got <- struct{}{} })
			if err != nil {
				t.Fatal(err)
			}
			if err := r.queen.PublishRaw(r.subject(messages.OpInfer), to, messages.MustEncode(chat("bus", true, 1000))); err != nil {
				t.Fatal(err)
			}
			give(t, gate, struct{}{})
			take(t, got)
			stop()
		},
		"cancel": func(t *testing.T) {
			s := r.ask(t, chat("cancelled", true, 1000)) // an id of its own: the one before may just be ending
			give(t, gate, struct{}{})
			if _, err := s.Next(deadline(t)); err != nil {
				t.Error(err)
			}
			s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			leave(t)
			await(t, "the slot is free", idle)
		})
	}
}

// renewing is a worker whose credentials, of which ttl is left, are due for renewal at once. sign is
// the queen's answer to its n-th request, counted from 1.
func renewing(t *testing.T, ttl time.Duration, sign func(r *rig, n int64, q *messages.SignRequest) (any, error)) (*rig, *bus.Credentials, *atomic.Int64) {
	t.Helper()
	srv := bustest.Start(t)
	r := &rig{srv: srv, queen: srv.Connect(t, bus.RoleQueen, "q")}
	r.hear(t)
	asked := &atomic.Int64{}
	svc, err := r.queen.Serve(t.Context(), "rbee-queen", "", "", []bus.Endpoint{{Name: "renew", Queue: messages.QueenQueue,
		Subject: messages.DoSubject("*", messages.OpRenew), Handle: func(_ context.Context, c *bus.Call) (any, error) {
			var q messages.SignRequest
			if err := c.Decode(&q); err != nil {
				return nil, err
			}
			if c.Caller != bus.RoleWorker.Caller(string(id)) || q.Worker != id {
				t.Errorf("%s asks for %s", c.Caller, q.Worker)
			}
			return sign(r, asked.Add(1), &q)
		}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	file, err := srv.Realm.Creds(bus.RoleWorker, string(id), ttl)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := bus.ParseCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	var conns []*bus.Conn
	for range 2 {
		c, err := bus.Connect(deadline(t), bus.Config{URL: srv.URL, Credentials: creds})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		conns = append(conns, c)
	}
	// OrphanAfter makes the worker look often.
	r.run(t, worker.Config{OrphanAfter: 40 * time.Second}, &enginetest.Fake{}, conns[0], conns[1],
		func(r *rig) { r.SetRenewAfter(time.Millisecond) })
	r.beat(t, patience, func(h messages.Heartbeat) bool { return h.Worker.Status == messages.StatusReady })
	return r, creds, asked
}

func TestCredentialsAreRenewed(t *testing.T) {
	// The second request comes over the connection that the first renewal made.
	r, creds, asked := renewing(t, 0, func(r *rig, n int64, q *messages.SignRequest) (any, error) {
		if n > 1 {
			return nil, messages.Errorf(messages.CodeDenied, "renew", "once is enough")
		}
		token, expires, err := r.srv.Realm.Mint(bus.RoleWorker, string(q.Worker), q.PublicKey, bus.WorkerTTL)
		return &messages.SignReply{JWT: token, ExpiresAt: expires}, err
	})
	await(t, "the second request", func() bool { return asked.Load() == 2 })
	if left := time.Until(creds.Expires()); left < bus.WorkerTTL-time.Hour || left > bus.WorkerTTL {
		t.Errorf("the credentials hold for %v", left)
	}
	await(t, "an answer on the bus", func() bool { return read(t, r.ask(t, chat("a", true, 2))).err == nil })
}

func TestNothingNewInTheLastHourOfCredentials(t *testing.T) {
	r, _, asked := renewing(t, 30*time.Minute, func(*rig, int64, *messages.SignRequest) (any, error) {
		return nil, messages.Errorf(messages.CodeDenied, "renew", "not you")
	})
	await(t, "the request", func() bool { return asked.Load() == 1 })
	wantCode(t, "a request", read(t, r.ask(t, chat("a", true, 2))).err, messages.CodeUnavailable)
}

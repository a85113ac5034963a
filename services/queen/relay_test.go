package queen

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// infer asks c's queen over the bus.
func infer(t *testing.T, c *bus.Conn, id string) *bus.Reader {
	t.Helper()
	req := messages.MustEncode(&messages.InferRequest{ID: id, Model: "m", Stream: true, Body: []byte(chatBody)})
	r, err := c.OpenStream(messages.DoSubject(c.Caller, messages.OpInfer), c.NewInbox(), "", req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func text(ctx context.Context, r *bus.Reader) (string, error) {
	var out strings.Builder
	for {
		o, err := r.Next(ctx)
		if err != nil {
			return out.String(), err
		}
		out.WriteString("data: " + string(o) + "\n\n")
	}
}

func TestRelay(t *testing.T) {
	t.Parallel()
	w := begin(t)
	f := w.ready(t, "w1")
	r := infer(t, w.client, "r1")
	onBus, err := text(deadline(t), r)
	if !errors.Is(err, io.EOF) || r.Usage() != (messages.Usage{PromptTokens: 3, CompletionTokens: 2}) {
		t.Errorf("%q, %v, %+v", onBus, err, r.Usage())
	}
	if status, body := w.chat(deadline(t)); status != 200 || body != onBus+"data: [DONE]\n\n" {
		t.Errorf("HTTP says %d %q, the bus %q", status, body, onBus)
	}
	f.fail = true
	if got, err := text(deadline(t), infer(t, w.client, "r2")); errors.Is(err, io.EOF) || !strings.Contains(got, "bzz") {
		t.Errorf("a broken answer: %q, %v", got, err)
	}
	if status, body := w.chat(deadline(t)); strings.Contains(body, "[DONE]") || !strings.Contains(body, "boom") || !strings.Contains(body, "then") {
		t.Errorf("a broken answer over HTTP: %d %q", status, body)
	}
	req := &messages.InferRequest{Model: "unknown", Body: json.RawMessage("{}")}
	r, err = w.client.OpenStream(messages.DoSubject(w.client.Caller, messages.OpInfer), w.client.NewInbox(), "", messages.MustEncode(req))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = text(deadline(t), r)
	wantCode(t, err, messages.CodeModelUnknown)
}

func TestRelayCancels(t *testing.T) {
	w := begin(t)
	f := w.ready(t, "w1")
	f.hold = true
	for name, end := range map[string]func(r *bus.Reader, id string){
		"infer.cancel": func(_ *bus.Reader, id string) {
			other := w.s.Connect(t, bus.RoleClient, "bob")
			var done messages.Done
			err := other.Request(deadline(t), messages.DoSubject(other.Caller, messages.OpCancel), &messages.CancelRequest{ID: id}, &done)
			if err != nil || done.OK {
				t.Errorf("bob cancelled alice's: %+v, %v", done, err)
			}
			if err := w.do(t, messages.OpCancel, &messages.CancelRequest{ID: id}, &done); err != nil || !done.OK {
				t.Errorf("cancel: %+v, %v", done, err)
			}
		},
		"the control subject": func(r *bus.Reader, _ string) { r.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			id := messages.NewID("r")
			r := infer(t, w.client, id)
			if _, err := r.Next(deadline(t)); err != nil {
				t.Fatal(err)
			}
			end(r, id)
			recv(t, "the worker's cancel", f.told)
		})
	}
	t.Run("a reader that vanished", func(t *testing.T) {
		c := w.s.Connect(t, bus.RoleClient, "carol")
		r := infer(t, c, "r9")
		if _, err := r.Next(deadline(t)); err != nil {
			t.Fatal(err)
		}
		c.Close() // the next keep-alive finds nobody
		recv(t, "the worker's cancel", f.told)
	})
	t.Run("HTTP", func(t *testing.T) {
		ctx, cancel := context.WithCancel(deadline(t))
		defer cancel()
		done := make(chan struct{})
		go func() { defer close(done); w.chat(ctx) }()
		for deadline := deadline(t); ; {
			if running, _, _ := w.q.dispatcher.Counts(); running > 0 {
				break
			}
			if deadline.Err() != nil {
				t.Fatal("never ran")
			}
			_ = w.client.Request(deadline, messages.QueenSubject(messages.OpStatus), &messages.Done{}, nil)
		}
		cancel()
		recv(t, "the worker's cancel", f.told)
		<-done
	})
}

// TestWorkerLostMidway: the registry's word ends a request that waits for the next token.
func TestWorkerLostMidway(t *testing.T) {
	w := begin(t)
	h := w.hive(t)
	f := w.ready(t, "w1")
	f.hold = true
	r := infer(t, w.client, "r1")
	if _, err := r.Next(deadline(t)); err != nil {
		t.Fatal(err)
	}
	h.exited(t, "w1", 100, "boom")
	_, err := text(deadline(t), r)
	wantCode(t, err, messages.CodeUnavailable)
	if err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v", err)
	}
}

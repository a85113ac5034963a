package llamacpp

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

// A chat that streams while the same model makes vectors is not changed, and both go on.
func TestEmbedWhileAChatStreams(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 2})
	req := chat("What does the queen do?", map[string]any{"max_tokens": 1000, "ignore_eos": true, "seed": 1, "temperature": 0.7})
	req.Stream = true
	alone := first(t, e, req).text
	if e.session.vectors != nil {
		t.Error("there is a context for vectors that nobody needs")
	}
	texts := words(24)
	want := [][]float32(nil)
	for round := range 2 { // the first makes the context
		got, begun, done := "", make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := e.Infer(t.Context(), req, func(raw []byte) error {
				if got == "" {
					close(begun)
				}
				var r reply
				r.add(t, raw)
				if len(r.choices) > 0 {
					got += r.choices[0].text
				}
				if got == "" {
					got = "\x00"
				}
				return nil
			})
			done <- err
		}()
		<-begun
		v, _ := embedded(t, e, texts)
		select {
		case err := <-done:
			t.Fatalf("the chat was over before: %v", err)
		default:
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got = strings.TrimPrefix(got, "\x00"); got != alone {
			t.Errorf("round %d: %q, alone %q", round, got, alone)
		}
		for i := range want {
			if d := apart(want[i], v[i]); d > 1e-5 {
				t.Errorf("text %d: %g apart", i, d)
			}
		}
		want = v
	}
	again, _ := embedded(t, e, texts)
	for i := range want {
		if d := apart(want[i], again[i]); d > 1e-5 {
			t.Errorf("text %d without the chat: %g apart", i, d)
		}
	}
	isFree(t, e)
}

// inTheMiddle starts a request for 2,048 vectors, waits until some are made, does what ends it, and
// returns how it ended.
func inTheMiddle(t *testing.T, e *Engine, end func(cancel context.CancelFunc)) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	input := make([]string, 2048)
	for i := range input {
		input[i] = strings.Repeat("queen ", 60)
	}
	done := make(chan error, 1)
	go func() {
		_, err := e.Infer(ctx, oneObject(messages.TaskEmbedding, map[string]any{"input": input}), func([]byte) error { return nil })
		done <- err
	}()
	limit := time.After(time.Minute)
	for before := e.Stats().Steps; e.Stats().Steps < before+3; {
		select {
		case err := <-done:
			t.Fatalf("it ended: %v", err)
		case <-limit:
			t.Fatal("no step is made")
		case <-time.After(time.Millisecond):
		}
	}
	end(cancel)
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
		return nil
	}
}

func TestVectorsCancelled(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Embed), Slots: 1})
	for range 2 {
		err := inTheMiddle(t, e, func(cancel context.CancelFunc) {
			fails(t, e, oneObject(messages.TaskEmbedding, map[string]any{"input": "a"}), messages.CodeBusy, "all 1 slots are busy")
			cancel()
		})
		if err == nil {
			t.Error("it was answered all the same")
		}
		isFree(t, e)
		at := e.Stats().Steps
		embedded(t, e, "a")
		if n := e.Stats().Steps - at; n > 3 {
			t.Errorf("%d steps for one text: the other goes on", n)
		}
	}
}

func TestCloseWhileVectorsAreMade(t *testing.T) {
	for _, model := range []string{bees.Embed, bees.Random} {
		e := loaded(t, Config{ModelPath: bee(t, model), Slots: 1})
		err := inTheMiddle(t, e, func(context.CancelFunc) {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		if messages.CodeOf(err) != messages.CodeUnavailable {
			t.Errorf("%s: %v", model, err)
		}
		isFree(t, e)
		fails(t, e, oneObject(messages.TaskEmbedding, map[string]any{"input": "a"}), messages.CodeUnavailable, "closing")
	}
}

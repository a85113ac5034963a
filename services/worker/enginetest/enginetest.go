// Package enginetest is one suite that every engine must pass.
package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/services/worker/engine"
)

// Patience is how long the suite waits for anything before it calls it lost.
const Patience = 30 * time.Second

// Options say what the suite may expect of the engine under test.
type Options struct {
	// Prompt is the user's message of every chat; "hello" if empty.
	Prompt string
	// Deaf is set for an engine whose step counter is not its own, such as an attached server.
	Deaf bool
}

// Run tests the engines that open makes. Each must be new, not loaded, and is loaded and closed
// here. At temperature 0 its model must answer Options.Prompt the same way every time, and never end
// an answer before max_tokens; one slot must be able to answer for longer than the tests take.
func Run(t *testing.T, open func(t *testing.T) engine.Engine, o Options) {
	if o.Prompt == "" {
		o.Prompt = "hello"
	}
	s := &suite{open: open, Options: o}
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"load reports progress in order", s.loads},
		{"load ends when its context does", s.loadCancelled},
		{"stats and info after load", s.describes},
		{"chat stream equals whole answer", s.streams("chat")},
		{"completion stream equals whole answer", s.streams("completion")},
		{"usage chunk on request", s.usageChunk},
		{"max_tokens counts exactly", s.maxTokens},
		{"stop strings are found and not shown", s.stops},
		{"same seed same text", s.seeds},
		{"cancel stops the engine", s.cancels},
		{"an error from emit stops the engine", s.emitFails},
		{"a full engine is busy", s.busy},
		{"bad bodies are named", s.badBodies},
		{"a long prompt is refused", s.overflows},
		{prefillIsTold, s.prefills},
		{"close ends running requests", s.closes},
	} {
		if s.Deaf && c.name == prefillIsTold { // the engine does not see its prompts
			continue
		}
		t.Run(c.name, c.test)
	}
}

const prefillIsTold = "prefill is told"

type suite struct {
	Options
	open func(t *testing.T) engine.Engine
}

// loaded is an engine that can answer and is closed with the test.
func (s *suite) loaded(t *testing.T) engine.Engine {
	t.Helper()
	e := s.open(t)
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if err := e.Load(ctx, func(float64) {}); err != nil {
		t.Fatalf("load: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

// request makes a request at temperature 0 with more fields on top.
func (s *suite) request(task string, fields map[string]any) engine.Request {
	body := map[string]any{"temperature": 0, "max_tokens": 24}
	if task == "chat" {
		body["messages"] = []any{map[string]any{"role": "user", "content": s.Prompt}}
	} else {
		body["prompt"] = s.Prompt
	}
	for k, v := range fields {
		body[k] = v
	}
	raw, _ := json.Marshal(body) // maps of plain values
	return engine.Request{ID: "req-1", Model: "public", Task: task, Body: raw}
}

// Answer is what came of one request, put together from its objects.
type Answer struct {
	Text, Finish string
	Usage        engine.Usage
	Objects      [][]byte
	Counts       *Counts // the "usage" object, if there was one
}

// Counts is OpenAI's "usage".
type Counts struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

// Object is what the suite reads of an emitted object.
type Object struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
	Choices []struct {
		Delta   struct{ Role, Content string } `json:"delta"`
		Message struct{ Role, Content string } `json:"message"`
		Text    string                         `json:"text"`
		Finish  *string                        `json:"finish_reason"`
	} `json:"choices"`
	Usage *Counts `json:"usage"`
}

// Ask runs one request to its end.
func Ask(ctx context.Context, e engine.Engine, req engine.Request) (Answer, error) {
	var a Answer
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	u, err := e.Infer(ctx, req, func(raw []byte) error {
		a.Objects = append(a.Objects, raw)
		return a.add(req, raw)
	})
	a.Usage = u
	return a, err
}

func (a *Answer) add(req engine.Request, raw []byte) error {
	var o Object
	if err := json.Unmarshal(raw, &o); err != nil {
		return fmt.Errorf("emitted %q: %w", raw, err)
	}
	if o.ID != req.ID || o.Model != req.Model || o.Created == 0 {
		return fmt.Errorf("id, model or created is wrong in %s", raw)
	}
	if o.Usage != nil {
		a.Counts = o.Usage
	}
	for _, c := range o.Choices {
		if a.Finish != "" {
			return fmt.Errorf("a choice after finish_reason: %s", raw)
		}
		a.Text += c.Delta.Content + c.Message.Content + c.Text
		if c.Finish != nil {
			a.Finish = *c.Finish
		}
	}
	return nil
}

func mustAsk(t *testing.T, e engine.Engine, req engine.Request) Answer {
	t.Helper()
	a, err := Ask(t.Context(), e, req)
	if err != nil {
		t.Fatalf("infer %s: %v", req.Body, err)
	}
	return a
}

// running is a request that streams until it is told to stop.
type running struct {
	cancel context.CancelFunc
	first  chan struct{} // closed with the first object
	done   chan error    // gets Infer's error
}

// start begins an endless streamed chat and waits for its first object.
func (s *suite) start(t *testing.T, e engine.Engine) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel: cancel, first: make(chan struct{}), done: make(chan error, 1)}
	req := s.request("chat", map[string]any{"max_tokens": 1 << 30})
	req.Stream = true
	var once sync.Once
	go func() {
		_, err := e.Infer(ctx, req, func([]byte) error {
			once.Do(func() { close(r.first) })
			return nil
		})
		r.done <- err
	}()
	t.Cleanup(cancel)
	select {
	case <-r.first:
	case err := <-r.done:
		t.Fatalf("the request ended before its first object: %v", err)
	case <-time.After(Patience):
		t.Fatal("no first object")
	}
	return r
}

// end waits for Infer to return.
func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(Patience):
		t.Fatal("Infer did not return")
		return nil
	}
}

// await polls until a fact holds. For facts that nothing announces.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(Patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("still not: %s", what)
		}
	}
}

func (s *suite) loads(t *testing.T) {
	e := s.open(t)
	var mu sync.Mutex
	var seen []float64
	err := e.Load(t.Context(), func(f float64) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, f)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	mu.Lock()
	defer mu.Unlock()
	if len(seen) < 2 || !slices.IsSorted(seen) || seen[0] < 0 || seen[len(seen)-1] != 1 {
		t.Errorf("progress %v: want sorted, from 0 or more to 1", seen)
	}
}

func (s *suite) loadCancelled(t *testing.T) {
	e := s.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := e.Load(ctx, func(float64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("load gave %v, want %v", err, context.Canceled)
	}
	if err := e.Close(); err != nil {
		t.Errorf("close after it: %v", err)
	}
}

func (s *suite) describes(t *testing.T) {
	e := s.loaded(t)
	i := e.Info()
	if i.Implementation == "" || i.Version == "" || i.Device == "" || len(i.Models) == 0 {
		t.Fatalf("info %+v has gaps", i)
	}
	if m := i.Models[0]; m.ID == "" || !m.Loaded || m.ContextLength <= 0 || m.Slots <= 0 {
		t.Errorf("model %+v has gaps", m)
	}
	if st := e.Stats(); st.SlotsUsed != 0 || st.TokensPerSecond != 0 {
		t.Errorf("an idle engine says %+v", st)
	}
}

func (s *suite) streams(task string) func(*testing.T) {
	return func(t *testing.T) {
		e := s.loaded(t)
		whole := mustAsk(t, e, s.request(task, map[string]any{"stream": true})) // the request wins
		req := s.request(task, map[string]any{"stream": false})
		req.Stream = true
		stream := mustAsk(t, e, req)
		if len(whole.Objects) != 1 || len(stream.Objects) < 3 {
			t.Errorf("%d objects whole, %d streamed", len(whole.Objects), len(stream.Objects))
		}
		if whole.Text == "" || whole.Text != stream.Text {
			t.Errorf("texts differ:\nwhole  %q\nstream %q", whole.Text, stream.Text)
		}
		if whole.Usage != stream.Usage || whole.Finish != "length" || stream.Finish != "length" {
			t.Errorf("whole %+v %s, stream %+v %s", whole.Usage, whole.Finish, stream.Usage, stream.Finish)
		}
		want := Counts{whole.Usage.PromptTokens, whole.Usage.CompletionTokens, whole.Usage.PromptTokens + whole.Usage.CompletionTokens}
		if whole.Counts == nil || *whole.Counts != want || stream.Counts != nil {
			t.Errorf("counts: whole %v, stream %v, want %v and none", whole.Counts, stream.Counts, want)
		}
		checkNames(t, task, whole.Objects[0], stream.Objects)
	}
}

// checkNames tests what each object calls itself.
func checkNames(t *testing.T, task string, whole []byte, chunks [][]byte) {
	t.Helper()
	wholeName, chunkName := "text_completion", "text_completion"
	if task == "chat" {
		wholeName, chunkName = "chat.completion", "chat.completion.chunk"
		if !strings.Contains(string(chunks[0]), `"role":"assistant"`) {
			t.Errorf("the first chunk has no role: %s", chunks[0])
		}
	}
	if !strings.Contains(string(whole), `"object":"`+wholeName+`"`) {
		t.Errorf("the whole answer is not a %s: %s", wholeName, whole)
	}
	for _, c := range chunks {
		if !strings.Contains(string(c), `"object":"`+chunkName+`"`) {
			t.Errorf("a chunk is not a %s: %s", chunkName, c)
		}
	}
}

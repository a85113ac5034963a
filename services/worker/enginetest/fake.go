package enginetest

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// Fake is an engine without a model, for tests of what is around one. Its tokens are words: " 1",
// " 2" and so on. It passes [Run]. A field must not be changed once Load was called.
type Fake struct {
	// Model is the public name; "fake" if empty.
	Model string
	// Slots is 2 if 0, ContextLength is 4096 if 0.
	Slots, ContextLength int
	// EndAfter ends every answer after so many tokens; 0 is never.
	EndAfter int
	// Cached is how many tokens of every prompt it says that it kept.
	Cached int
	// Gate, if not nil, gives one value for every token that may be made.
	Gate <-chan struct{}
	// LoadErr is what Load returns.
	LoadErr error

	steps, tokens atomic.Uint64
	mu            sync.Mutex
	used          int
	ready, closed bool
	closing       chan struct{}
	running       sync.WaitGroup
}

var _ engine.Engine = (*Fake)(nil)

// Load reports three fractions and is done.
func (f *Fake) Load(ctx context.Context, progress func(float64)) error {
	for _, p := range []float64{0, 0.5, 1} {
		if progress(p); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.LoadErr != nil {
		return f.LoadErr
	}
	f.ready, f.closing = true, make(chan struct{})
	return nil
}

func (f *Fake) size() (slots, contextLength int) {
	slots, contextLength = f.Slots, f.ContextLength
	if slots == 0 {
		slots = 2
	}
	if contextLength == 0 {
		contextLength = 4096
	}
	return slots, contextLength
}

// Info says what is served.
func (f *Fake) Info() engine.Info {
	name := f.Model
	if name == "" {
		name = "fake"
	}
	slots, contextLength := f.size()
	return engine.Info{Implementation: "fake", Version: "v1", Device: "CPU", Models: []engine.Model{
		{ID: name, Loaded: true, ContextLength: contextLength, Slots: slots, Capabilities: []string{messages.CanChat, messages.CanComplete}},
	}}
}

// Stats is the load now.
func (f *Fake) Stats() engine.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return engine.Stats{SlotsUsed: f.used, Steps: f.steps.Load(), Tokens: f.tokens.Load()}
}

// Health is always nil.
func (*Fake) Health() error { return nil }

// Close ends what runs and waits for it.
func (f *Fake) Close() error {
	f.mu.Lock()
	if f.ready && !f.closed {
		close(f.closing)
	}
	f.closed = true
	f.mu.Unlock()
	f.running.Wait()
	return nil
}

// Infer counts.
func (f *Fake) Infer(ctx context.Context, req engine.Request, emit func([]byte) error) (engine.Usage, error) {
	p, err := completion.Parse(req.Task, req.Body)
	if err != nil {
		return engine.Usage{}, err
	}
	if p.Choices != 1 || p.Tools != nil || p.Logprobs || !p.Format.Free() || p.PromptTokens != nil {
		return engine.Usage{}, messages.Errorf(messages.CodeBadRequest, "fake.infer", "the fake engine answers once, with words")
	}
	if err := f.enter(); err != nil {
		return engine.Usage{}, err
	}
	defer f.leave()
	u := engine.Usage{PromptTokens: len(strings.Fields(p.Prompt)) + 1}
	for _, m := range p.Messages {
		u.PromptTokens += len(strings.Fields(m.Content))
	}
	if _, n := f.size(); u.PromptTokens >= n {
		return engine.Usage{}, messages.Errorf(messages.CodeContextFull, "fake.infer", "%d tokens are more than %d", u.PromptTokens, n)
	}
	u.CachedTokens = min(f.Cached, u.PromptTokens)
	if req.Prefill != nil {
		req.Prefill(u.PromptTokens, u.PromptTokens)
	}
	a := fakeAnswer{
		stream: req.Stream, emit: emit, text: completion.NewText(p.Stops),
		writer: completion.NewWriter(req.Task, req.ID, req.Model, time.Now()),
	}
	reason, err := f.count(ctx, &a, p.MaxTokens, &u)
	if err != nil {
		return u, err
	}
	return u, a.finish(reason, p.IncludeUsage, u)
}

func (f *Fake) enter() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	slots, _ := f.size()
	switch {
	case f.closed || !f.ready:
		return messages.Errorf(messages.CodeUnavailable, "fake.infer", "not ready")
	case f.used == slots:
		return messages.Errorf(messages.CodeBusy, "fake.infer", "all %d slots are busy", slots)
	}
	f.used++
	f.running.Add(1)
	return nil
}

func (f *Fake) leave() {
	f.mu.Lock()
	f.used--
	f.mu.Unlock()
	f.running.Done()
}

// count makes tokens until something ends the answer.
func (f *Fake) count(ctx context.Context, a *fakeAnswer, limit int, u *engine.Usage) (reason string, err error) {
	for {
		switch {
		case u.CompletionTokens == limit:
			return completion.FinishLength, nil
		case f.EndAfter > 0 && u.CompletionTokens == f.EndAfter:
			return completion.FinishStop, nil
		}
		if err := f.next(ctx); err != nil {
			return "", err
		}
		u.CompletionTokens++
		f.steps.Add(1)
		f.tokens.Add(1)
		if err := a.add(" " + strconv.Itoa(u.CompletionTokens)); err != nil {
			return "", err
		}
		if a.text.Stopped() {
			return completion.FinishStop, nil
		}
	}
}

// next waits until a token may be made.
func (f *Fake) next(ctx context.Context) error {
	if f.Gate == nil {
		select {
		case <-f.closing:
			return messages.Errorf(messages.CodeUnavailable, "fake.infer", "closing")
		default:
			return ctx.Err()
		}
	}
	select {
	case <-f.Gate:
		return nil
	case <-f.closing:
		return messages.Errorf(messages.CodeUnavailable, "fake.infer", "closing")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fakeAnswer writes an answer in either shape.
type fakeAnswer struct {
	stream, begun bool
	emit          func([]byte) error
	text          *completion.Text
	writer        *completion.Writer
	whole         strings.Builder
}

func (a *fakeAnswer) add(token string) error { return a.show(a.text.Add(token)) }

func (a *fakeAnswer) show(s string) error {
	if !a.stream {
		a.whole.WriteString(s)
		return nil
	}
	if begin := a.writer.Begin(0); !a.begun && begin != nil {
		if err := a.emit(begin); err != nil {
			return err
		}
	}
	a.begun = true
	if s == "" {
		return nil
	}
	return a.emit(a.writer.Piece(0, completion.Piece{Content: s}))
}

func (a *fakeAnswer) finish(reason string, usage bool, u engine.Usage) error {
	if err := a.show(a.text.End()); err != nil {
		return err
	}
	counts := completion.Counts{Prompt: u.PromptTokens, Completion: u.CompletionTokens, Cached: u.CachedTokens}
	if !a.stream {
		whole := completion.Answer{Piece: completion.Piece{Content: a.whole.String()}, Reason: reason}
		return a.emit(a.writer.Whole([]completion.Answer{whole}, counts))
	}
	if err := a.emit(a.writer.Finish(0, reason)); err != nil || !usage {
		return err
	}
	return a.emit(a.writer.Usage(counts))
}

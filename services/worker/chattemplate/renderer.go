package chattemplate

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const (
	opNew    = "chattemplate.new"
	opRender = "chattemplate.render"
)

// Renderer renders one model's template in a child process, which it starts when there is something
// to render and again after one had to be killed. It must be closed. It may be used by many
// goroutines at once; they take turns.
type Renderer struct {
	compile []byte // the frame that a new child gets first
	caps    Caps
	turn    chan *process // holds the child, or nil, while nobody uses it
	closed  chan struct{}
	limit   time.Duration // of one answer: Deadline, but in tests
}

// New compiles source and learns by trial renders what it can do. It takes at most about [Deadline]
// and the start of a process; a caller that has no template gives [Builtin]("chatml"). Errors are
// *messages.Error: CodeBadRequest for a template that does not compile, does not render one user's
// message or breaks a limit, CodeInternal if no child can be started.
func New(ctx context.Context, source string, o Options) (*Renderer, error) {
	return newRenderer(ctx, source, o, Deadline)
}

func newRenderer(ctx context.Context, source string, o Options, limit time.Duration) (*Renderer, error) {
	if !mainCalled {
		return nil, messages.Errorf(messages.CodeInternal, opNew, "this program does not call chattemplate.Main")
	}
	if len(source) > MaxSource {
		return nil, messages.Errorf(messages.CodeBadRequest, opNew, "chat template: has %d bytes, at most %d", len(source), MaxSource)
	}
	compile, err := frameOf(request{Compile: &compileRequest{Source: source, Options: o}})
	if err != nil {
		return nil, messages.Errorf(messages.CodeBadRequest, opNew, "chat template: %w", err)
	}
	r := &Renderer{compile: compile, turn: make(chan *process, 1), closed: make(chan struct{}), limit: limit}
	p, answer, err := r.start(ctx)
	if err = failure(opNew, answer, err); err != nil {
		if p != nil {
			p.stop()
		}
		return nil, err
	}
	r.caps = answer.Caps
	r.turn <- p
	return r, nil
}

// Caps is what the template can do.
func (r *Renderer) Caps() Caps { return r.caps }

// Render writes the conversation as the model's prompt. Where a client's text spells a control token
// there is more than one part. A caller that waits for its turn stops when ctx ends. Errors are
// *messages.Error: CodeBadRequest for messages that the template refuses (in its own words) and for a
// template that runs too long, needs too much memory or writes too much; CodeCancelled and
// CodeTimeout when ctx ends; CodeUnavailable after Close.
func (r *Renderer) Render(ctx context.Context, in Input) ([]Part, error) {
	if n := in.size(); n > MaxInput {
		return nil, messages.Errorf(messages.CodeBadRequest, opRender, "messages: have %d bytes, at most %d", n, MaxInput)
	}
	if in.Date.IsZero() {
		in.Date = time.Now()
	}
	frame, err := frameOf(request{Render: &in})
	if err != nil {
		return nil, messages.Errorf(messages.CodeBadRequest, opRender, "messages: %w", err)
	}
	var p *process
	select {
	case <-ctx.Done():
		return nil, failure(opRender, response{}, ctx.Err())
	case <-r.closed:
		return nil, messages.Errorf(messages.CodeUnavailable, opRender, "the renderer is closed")
	case p = <-r.turn:
	}
	answer, p, err := r.render(ctx, p, frame)
	r.turn <- p
	if err := failure(opRender, answer, err); err != nil {
		return nil, err
	}
	return answer.Parts, nil
}

// render asks p, or a new child if p is nil or gone, and returns the child that lives then.
func (r *Renderer) render(ctx context.Context, p *process, frame []byte) (response, *process, error) {
	if err := ctx.Err(); err != nil {
		return response{}, p, err
	}
	for {
		if p != nil && !p.alive() {
			p.stop()
			p = nil
		}
		if p == nil {
			var answer response
			var err error
			if p, answer, err = r.start(ctx); err != nil || answer.Fail != "" {
				if p != nil {
					p.stop()
				}
				return answer, nil, err
			}
		}
		served := p.served
		answer, err := p.ask(ctx, r.limit, frame)
		if err == nil {
			return answer, p, nil
		}
		p.stop()
		p = nil
		// It may have been killed from outside before it was asked: the template gets one more try.
		if !errors.Is(err, errDied) || served < 2 {
			return answer, nil, err
		}
	}
}

// start starts a child and has it compile the template.
func (r *Renderer) start(ctx context.Context) (*process, response, error) {
	p, err := startProcess(ctx)
	if err != nil {
		return nil, response{}, err
	}
	answer, err := p.ask(ctx, r.limit, r.compile)
	return p, answer, err
}

// Close ends the child and waits for it, and for a render that runs. It is called once.
func (r *Renderer) Close() {
	close(r.closed)
	if p := <-r.turn; p != nil {
		p.stop()
	}
}

// failure is the error of an answer, nil if it is good.
func failure(op string, answer response, err error) error {
	bad := func(format string, args ...any) error {
		return messages.Errorf(messages.CodeBadRequest, op, format, args...)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return messages.Errorf(messages.CodeCancelled, op, "the caller went away: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return messages.Errorf(messages.CodeTimeout, op, "the caller's time ended: %w", err)
	case errors.Is(err, errDeadline):
		return bad("chat template: runs longer than %s", Deadline)
	case errors.Is(err, errDied):
		return bad("chat template: needs too much memory, or calls itself without end")
	case err != nil:
		return messages.Errorf(messages.CodeInternal, op, "start a process for chat templates: %w", err)
	}
	switch answer.Fail {
	case "":
		return nil
	case failRaised:
		return bad("messages: the model's chat template refuses them: %s", answer.Text)
	}
	return bad("chat template: %s", answer.Text)
}

func (in Input) size() (n int) {
	for _, list := range [][]json.RawMessage{in.Messages, in.Tools} {
		for _, raw := range list {
			n += len(raw)
		}
	}
	for name, raw := range in.Extra {
		n += len(name) + len(raw)
	}
	return n
}

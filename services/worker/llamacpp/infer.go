package llamacpp

import (
	"context"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// Infer answers one request. See [engine.Engine].
func (e *Engine) Infer(ctx context.Context, req engine.Request, emit func([]byte) error) (engine.Usage, error) {
	if err := ctx.Err(); err != nil {
		return engine.Usage{}, err
	}
	params, err := completion.Parse(req.Task, req.Body)
	if err != nil {
		return engine.Usage{}, err
	}
	slot, session, err := e.reserve()
	if err != nil {
		return engine.Usage{}, err
	}
	prompt, err := session.vocab.promptTokens(params, session.slotTokens)
	e.readers.Done()
	if err != nil {
		e.release(slot)
		return engine.Usage{}, err
	}
	j := newJob(params, prompt)
	if err := e.submit(slot, j); err != nil {
		return engine.Usage{}, err
	}
	d := delivery{job: j, req: req, emit: emit, stream: req.Stream}
	d.writer = completion.NewWriter(req.Task, req.ID, req.Model, time.Now())
	err = d.run(ctx)
	if err != nil && !d.mail.ended { // the reader gave up, not the loop
		j.cancelled.Store(true)
		e.poke()
		j.wait()
	}
	return engine.Usage{PromptTokens: len(prompt), CompletionTokens: j.take().tokens}, err
}

// reserve takes the first free slot: neighbours decode together faster. The session may be read until
// the caller says readers.Done.
func (e *Engine) reserve() (int, *session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch e.phase {
	case ready:
	case closed:
		return 0, nil, errClosed()
	default:
		return 0, nil, messages.Errorf(messages.CodeUnavailable, "llamacpp.infer", "the model is not loaded")
	}
	for i, u := range e.used {
		if !u {
			e.used[i] = true
			e.readers.Add(1)
			return i, e.session, nil
		}
	}
	return 0, nil, messages.Errorf(messages.CodeBusy, "llamacpp.infer", "all %d slots are busy", len(e.used))
}

func (e *Engine) release(slot int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.used[slot] = false
}

// submit hands a job with a slot to the loop.
func (e *Engine) submit(slot int, j *job) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase != ready {
		e.used[slot] = false
		return errClosed()
	}
	e.arrivals = append(e.arrivals, arrival{slot, j})
	e.poke()
	return nil
}

// delivery brings a job's mail to the client.
type delivery struct {
	job    *job
	req    engine.Request
	emit   func([]byte) error
	writer *completion.Writer
	stream bool

	mail  mail // the latest
	read  int  // prompt tokens that Prefill was told of
	begun bool
	whole strings.Builder
}

// run returns when the answer is complete or the client, or the loop, has given up.
func (d *delivery) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.job.ready:
		}
		d.mail = d.job.take()
		if d.mail.err != nil {
			return d.mail.err
		}
		if d.req.Prefill != nil && d.mail.read > d.read {
			d.read = d.mail.read
			d.req.Prefill(d.read, len(d.job.prompt))
		}
		if err := d.pass(); err != nil {
			return err
		}
		if d.mail.ended {
			return d.finish()
		}
	}
}

// pass sends on what text there is.
func (d *delivery) pass() error {
	if !d.stream {
		d.whole.WriteString(d.mail.text)
		return nil
	}
	if !d.begun && (d.mail.tokens > 0 || d.mail.ended) {
		d.begun = true
		if chunk := d.writer.Begin(); chunk != nil {
			if err := d.emit(chunk); err != nil {
				return err
			}
		}
	}
	if d.mail.text == "" {
		return nil
	}
	return d.emit(d.writer.Text(d.mail.text))
}

// finish sends what ends an answer.
func (d *delivery) finish() error {
	prompt, made := len(d.job.prompt), d.mail.tokens
	if !d.stream {
		return d.emit(d.writer.Whole(d.whole.String(), d.mail.reason, prompt, made))
	}
	if err := d.emit(d.writer.Finish(d.mail.reason)); err != nil {
		return err
	}
	if d.job.params.IncludeUsage {
		return d.emit(d.writer.Usage(prompt, made))
	}
	return nil
}

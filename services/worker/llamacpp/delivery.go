package llamacpp

import (
	"context"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// mostWhole is how many bytes of an answer that is not streamed are kept; a logprob counts as its size.
const mostWhole = 32 << 20

// delivery brings the answers of one request to its client. It owns the slots that the request has
// taken.
type delivery struct {
	engine *Engine
	of     *assignment
	req    engine.Request
	emit   func([]byte) error
	writer *completion.Writer

	ready   chan struct{} // any of the jobs has something
	choices []*choice
	begun   int // choices that have a job
	ended   int
	slots   int // taken
	read    int // prompt tokens that Prefill was told of
}

// choice is one answer of a request.
type choice struct {
	job   *job
	mail  mail // the latest
	begun bool // something was sent of it
	parts *parts
}

func newDelivery(e *Engine, of *assignment, req engine.Request, emit func([]byte) error) *delivery {
	d := &delivery{engine: e, of: of, req: req, emit: emit, ready: make(chan struct{}, 1), slots: 1}
	d.writer = completion.NewWriter(req.Task, req.ID, req.Model, time.Now())
	for range of.params.Choices {
		d.choices = append(d.choices, &choice{parts: newParts(of)})
	}
	return d
}

// run returns when all answers are complete, or the client or the loop has given up.
func (d *delivery) run(ctx context.Context) error {
	defer d.stop()
	d.slots += d.engine.reserveMore(len(d.choices) - 1)
	for d.begun < min(d.slots, len(d.choices)) {
		if err := d.start(); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.ready:
		}
		for i, c := range d.choices[:d.begun] {
			if err := d.look(i, c); err != nil {
				return err
			}
		}
		if d.ended == len(d.choices) {
			return d.finish()
		}
	}
}

// start gives the next choice a job.
func (d *delivery) start() error {
	j := d.of.job(d.ready)
	if err := d.engine.submit(j); err != nil {
		llama.SamplerFree(j.chain)
		return err
	}
	d.choices[d.begun].job = j
	d.begun++
	return nil
}

// look takes what is new of a choice.
func (d *delivery) look(i int, c *choice) error {
	if c.mail.ended {
		return nil
	}
	c.job.take(&c.mail)
	if c.mail.err != nil {
		return c.mail.err
	}
	if i == 0 && d.req.Prefill != nil && c.mail.read > d.read {
		d.read = c.mail.read
		d.req.Prefill(d.read, len(d.of.prompt))
	}
	if err := d.pass(i, c); err != nil || !c.mail.ended {
		return err
	}
	d.ended++
	if d.begun < len(d.choices) { // its slot is free for the next
		if err := d.start(); err != nil {
			return err
		}
	} else {
		d.slots--
		d.engine.release(1)
	}
	if !d.req.Stream {
		return nil
	}
	return d.emit(d.writer.Finish(i, c.parts.reason(c.mail.reason)))
}

// pass sends on, or keeps, what there is new.
func (d *delivery) pass(i int, c *choice) error {
	pieces := c.parts.split(string(c.mail.text), c.mail.logprobs, c.mail.ended)
	if !d.req.Stream {
		for _, p := range pieces {
			c.parts.keep(p)
		}
		if c.parts.size() > mostWhole {
			return messages.Errorf(messages.CodeBadRequest, "llamacpp.infer", "the answer has more than %d MiB", mostWhole>>20).
				WithHint("set max_tokens, or ask for a stream")
		}
		return nil
	}
	if !c.begun && (c.mail.tokens > 0 || c.mail.ended) {
		c.begun = true
		if chunk := d.writer.Begin(i); chunk != nil {
			if err := d.emit(chunk); err != nil {
				return err
			}
		}
	}
	for _, p := range pieces {
		if err := d.emit(d.writer.Piece(i, p)); err != nil {
			return err
		}
	}
	return nil
}

// finish sends what ends an answer.
func (d *delivery) finish() error {
	if !d.req.Stream {
		answers := make([]completion.Answer, len(d.choices))
		for i, c := range d.choices {
			answers[i] = c.parts.whole(c.mail.reason)
		}
		return d.emit(d.writer.Whole(answers, d.counts()))
	}
	if d.of.params.IncludeUsage {
		return d.emit(d.writer.Usage(d.counts()))
	}
	return nil
}

func (d *delivery) counts() completion.Counts {
	n := completion.Counts{Prompt: len(d.of.prompt)}
	for i, c := range d.choices[:d.begun] {
		n.Completion += c.mail.tokens
		if i == 0 {
			n.Cached = c.mail.cached
		}
	}
	return n
}

func (d *delivery) usage() engine.Usage {
	n := d.counts()
	return engine.Usage{PromptTokens: n.Prompt, CompletionTokens: n.Completion, CachedTokens: n.Cached}
}

// stop has the loop give up what still runs, and waits until it has: at most one step.
func (d *delivery) stop() {
	for _, c := range d.choices[:d.begun] {
		if !c.mail.ended {
			c.job.cancelled.Store(true)
		}
	}
	d.engine.poke()
	for _, c := range d.choices[:d.begun] {
		for !c.mail.ended {
			c.job.take(&c.mail)
			if !c.mail.ended {
				<-d.ready
			}
		}
	}
	d.engine.release(d.slots)
	d.of.free()
}

package llamacpp

import (
	"errors"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
)

// loop decodes for all slots of an engine. It is one goroutine; nothing in it is locked.
type loop struct {
	engine  *Engine
	session *session
	slots   []slot
	demands []demand
}

// slot is one sequence of the context, and the job that it works on.
type slot struct {
	job     *job // nil: free
	sampler llama.Sampler
	text    *completion.Text
	read    int         // prompt tokens read
	used    int         // cells in the context
	made    int         // answer tokens
	next    llama.Token // to be decoded, once the prompt is read
	output  int32       // where in the batch the wanted logits are; -1: none
}

func newLoop(e *Engine, s *session) *loop {
	return &loop{engine: e, session: s, slots: make([]slot, e.cfg.Slots), demands: make([]demand, e.cfg.Slots)}
}

// run decodes until the engine closes. While there is nothing to do it blocks.
func (l *loop) run() {
	for {
		arrivals, open := l.engine.takeArrivals()
		for _, a := range arrivals {
			l.begin(a.slot, a.job)
		}
		if !open {
			l.endAll(errClosed())
			return
		}
		busy := false
		for i := range l.slots {
			if j := l.slots[i].job; j != nil && j.cancelled.Load() {
				l.end(i, "", messages.Errorf(messages.CodeCancelled, "llamacpp.infer", "cancelled"))
			}
			busy = busy || l.slots[i].job != nil
		}
		if !busy {
			<-l.engine.wake
			continue
		}
		l.step()
	}
}

func (l *loop) begin(i int, j *job) {
	l.slots[i] = slot{job: j, text: completion.NewText(j.params.Stops)}
	if err := l.session.clearSlot(i); err != nil {
		l.end(i, "", err)
		return
	}
	l.slots[i].sampler = newSampler(j.params, len(l.session.vocab.pieces))
}

// end frees the slot, then tells the job: whoever sees its answer complete finds a free slot.
func (l *loop) end(i int, reason string, err error) {
	s := &l.slots[i]
	llama.SamplerFree(s.sampler)
	j, rest := s.job, ""
	if err == nil {
		rest = s.text.End()
	}
	*s = slot{}
	l.engine.release(i)
	j.put(func(m *mail) { m.text, m.ended, m.reason, m.err = m.text+rest, true, reason, err })
}

func (l *loop) endAll(err error) {
	for i := range l.slots {
		if l.slots[i].job != nil {
			l.end(i, "", err)
		}
	}
}

// step is one decode: a token for every slot that answers, a piece of the prompt for the others.
func (l *loop) step() {
	for i, s := range l.slots {
		l.demands[i] = demand{}
		if s.job != nil {
			left := len(s.job.prompt) - s.read
			l.demands[i] = demand{prompt: left, decoding: left == 0}
		}
	}
	share := planStep(l.demands, l.session.stepTokens, chunkTokens)
	err := l.fill(share)
	if err == nil {
		err = l.session.decode()
	}
	l.engine.steps.Add(1)
	if err != nil {
		l.engine.cfg.Log.Error("decode failed", keyError, err)
		l.endAll(messages.Errorf(messages.CodeInternal, "llamacpp.decode", "decode failed: %w", err))
		return
	}
	made := 0
	for i, n := range share {
		if n > 0 && l.advance(i, n) {
			made++
		}
	}
	l.engine.count(time.Now(), made)
}

// fill puts every slot's share into the batch.
func (l *loop) fill(share []int) error {
	position := int32(0)
	for i, n := range share {
		s := &l.slots[i]
		s.output = -1
		for k := range n {
			t, wanted := s.next, true
			if s.read < len(s.job.prompt) {
				t = s.job.prompt[s.read+k]
				wanted = s.read+k == len(s.job.prompt)-1 && s.job.params.MaxTokens != 0
			}
			if err := l.session.add(i, s.used+k, t, wanted); err != nil {
				_ = l.session.batch.Clear() // cannot fail
				return err
			}
			if wanted {
				s.output = position
			}
			position++
		}
	}
	return nil
}

// advance takes the step's result for a slot that had n tokens in it. It reports whether the answer
// has grown.
func (l *loop) advance(i, n int) bool {
	s := &l.slots[i]
	s.used += n
	if s.read < len(s.job.prompt) {
		s.read += n
		s.job.put(func(m *mail) { m.read = s.read })
		if s.read < len(s.job.prompt) {
			return false
		}
	}
	if s.output < 0 { // max_tokens is 0
		l.end(i, completion.FinishLength, nil)
		return false
	}
	return l.accept(i, llama.SamplerSample(s.sampler, l.session.ctx, s.output))
}

// accept adds a token to the slot's answer. It reports whether there was one to add.
func (l *loop) accept(i int, t llama.Token) bool {
	s, v := &l.slots[i], l.session.vocab
	if t < 0 || int(t) >= len(v.pieces) {
		l.end(i, "", messages.Errorf(messages.CodeInternal, "llamacpp.sample", "sampled token: %w", errors.New("not in the vocabulary")))
		return false
	}
	if v.ends[t] {
		l.end(i, completion.FinishStop, nil)
		return false
	}
	s.made, s.next = s.made+1, t
	text := s.text.Add(v.pieces[t])
	s.job.put(func(m *mail) { m.text, m.tokens = m.text+text, s.made })
	switch {
	case s.text.Stopped():
		l.end(i, completion.FinishStop, nil)
	case s.made == s.job.params.MaxTokens:
		l.end(i, completion.FinishLength, nil)
	case !l.makeRoom(s, i):
		l.end(i, completion.FinishLength, nil)
	}
	return true
}

// makeRoom reports whether the slot's next token still fits into its context.
func (l *loop) makeRoom(s *slot, i int) bool {
	if !l.session.shifts {
		return s.used+1 < l.session.slotTokens // prompt and answer together fill the slot, not more
	}
	if s.used >= l.session.slotTokens {
		s.used = l.session.shiftSlot(i, s.used)
	}
	return s.used < l.session.slotTokens
}

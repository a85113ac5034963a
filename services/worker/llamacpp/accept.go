package llamacpp

import (
	"slices"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
)

// advance takes the step's result for a slot that had n tokens in it. It reports whether the answer
// has grown.
func (l *loop) advance(i, n int) bool {
	s := &l.slots[i]
	if s.reading() {
		s.cells = append(s.cells, s.job.prompt[s.read:s.read+n]...)
		s.read += n
		s.job.putRead(s.read)
		l.joinReady(i)
		if s.reading() {
			return false
		}
	} else {
		s.cells = append(s.cells, s.next)
	}
	if s.output < 0 { // max_tokens is 0
		l.end(i, completion.FinishLength, nil)
		return false
	}
	t, err := l.sample(s, s.output)
	if err == nil && (t < 0 || int(t) >= len(l.session.vocab.pieces)) {
		err = messages.Errorf(messages.CodeInternal, "llamacpp.sample", "llama.cpp chose the token %d, which is none", t)
	}
	if err != nil {
		l.end(i, "", err)
		return false
	}
	return l.accept(i, t)
}

// accept adds a token to the slot's answer. It reports whether there was one to add.
func (l *loop) accept(i int, t llama.Token) bool {
	s, v := &l.slots[i], l.session.vocab
	piece := v.pieces[t]
	if v.ends[t] || piece == "" && slices.Contains(s.job.params.Stops, v.special[t]) {
		l.end(i, completion.FinishStop, nil)
		return false
	}
	if s.job.marks && piece == "" {
		piece = v.marks[t]
	}
	if s.rules != nil {
		if err := s.rules.accept(piece); err != nil {
			l.end(i, "", err)
			return false
		}
	}
	s.made, s.next = s.made+1, t
	var lp *completion.Logprob
	if s.job.params.Logprobs {
		lp = l.logprob(s, t)
	}
	keepsUp := s.job.putToken(s.text, piece, s.made, lp)
	switch {
	case !keepsUp:
		l.end(i, "", messages.Errorf(messages.CodeSlowConsumer, "llamacpp.infer", "the reader is %d MiB behind", mostUnread>>20))
	case s.text.Stopped(), s.rules.hold() && s.rules.state.MustEnd():
		l.end(i, completion.FinishStop, nil)
	case s.made == s.job.params.MaxTokens, !l.makeRoom(i):
		l.end(i, completion.FinishLength, nil)
	}
	return true
}

func (l *loop) logprob(s *slot, t llama.Token) *completion.Logprob {
	logits, err := llama.GetLogitsIth(l.session.ctx, s.output, len(l.session.vocab.pieces))
	if err != nil || logits == nil {
		return nil
	}
	lp := logprobs(logits, l.session.vocab, t, s.job.params.TopLogprobs)
	return &lp
}

// makeRoom reports whether the slot's next token still fits into its context.
func (l *loop) makeRoom(i int) bool {
	s := &l.slots[i]
	if !l.session.shifts {
		return len(s.cells)+1 < l.session.slotTokens // prompt and answer together fill the slot, not more
	}
	if len(s.cells) >= l.session.slotTokens {
		drop := l.session.shiftSlot(i, len(s.cells))
		if drop == 0 {
			l.engine.cfg.Log.Warn("this model's context cannot shift: answers end when it is full", keyModel, l.engine.cfg.PublicName)
			l.session.shifts = false
		}
		s.cells = append(s.cells[:min(shiftKeeps, len(s.cells))], s.cells[min(shiftKeeps+drop, len(s.cells)):]...)
		s.shifted = s.shifted || drop > 0
	}
	return len(s.cells) < l.session.slotTokens
}

package llamacpp

import (
	"math"
	"strings"
	"unsafe"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/grammar"
)

var negativeInfinity = float32(math.Inf(-1))

// rules bind what one answer may say. llama.cpp's own grammar sampler is not used: it ends the
// process when a grammar leaves no token, and takes any time for an ambiguous one.
type rules struct {
	state *grammar.State
	// thought has what the model says before the rules begin; nil once they hold.
	thought []byte
}

// thoughtEnd ends a model's thinking.
const thoughtEnd = "</think>"

func newRules(j *job) *rules {
	if j.rules == nil {
		return nil
	}
	r := &rules{state: j.rules.NewState()}
	if j.afterThought {
		r.thought = make([]byte, 0, 64)
	}
	return r
}

// hold says whether the next token is bound.
func (r *rules) hold() bool { return r != nil && r.thought == nil }

// accept takes what was said.
func (r *rules) accept(piece string) error {
	if r.hold() {
		return r.state.Accept(piece)
	}
	r.thought = append(r.thought, piece...)
	if _, rest, found := strings.Cut(string(r.thought), thoughtEnd); found {
		r.thought = nil
		if rest = strings.TrimLeft(rest, " \n"); rest != "" { // the token went on behind the end
			return r.state.Accept(rest)
		}
		return nil
	}
	if n := len(r.thought) - len(thoughtEnd); n > 0 {
		r.thought = append(r.thought[:0], r.thought[n:]...)
	}
	return nil
}

// sample chooses the token that follows output. Without rules llama.cpp does it all; with them a
// token that they forbid is drawn again among those that they allow.
func (l *loop) sample(s *slot, output int32) (llama.Token, error) {
	if !s.rules.hold() {
		t := llama.SamplerSample(s.chain, l.session.ctx, output)
		if s.rules != nil && t >= 0 && int(t) < len(l.session.vocab.ends) && l.session.vocab.ends[t] {
			return l.thinkOn(s, output)
		}
		return t, nil
	}
	logits, err := llama.GetLogitsIth(l.session.ctx, output, len(l.session.vocab.pieces))
	if err != nil || logits == nil {
		return 0, messages.Errorf(messages.CodeInternal, "llamacpp.sample", "no logits at %d", output)
	}
	if l.candidates == nil {
		l.candidates = make([]llama.TokenData, 0, len(logits))
	}
	c := l.candidates[:0]
	for t, v := range logits {
		c = append(c, llama.TokenData{Id: llama.Token(t), Logit: v})
	}
	if t, ok := apply(s.chain, c); ok && l.allowed(s.rules.state, t) {
		llama.SamplerAccept(s.chain, t)
		return t, nil
	}
	if c, err = l.allowedOnly(s.rules.state, logits, c[:0]); err != nil {
		return 0, err
	}
	t, ok := apply(s.chain, c)
	if !ok {
		return 0, messages.Errorf(messages.CodeBadRequest, "llamacpp.sample", "grammar: this model has no token that may follow")
	}
	llama.SamplerAccept(s.chain, t)
	return t, nil
}

// thinkOn is what follows where a model would end without having answered: the end of its thinking, or,
// where that is no token, any that is no end.
func (l *loop) thinkOn(s *slot, output int32) (llama.Token, error) {
	v := l.session.vocab
	for t, p := range v.pieces {
		if p == thoughtEnd || p == "" && v.marks[llama.Token(t)] == thoughtEnd {
			llama.SamplerAccept(s.chain, llama.Token(t))
			return llama.Token(t), nil
		}
	}
	logits, err := llama.GetLogitsIth(l.session.ctx, output, len(v.pieces))
	if err != nil || logits == nil {
		return 0, messages.Errorf(messages.CodeInternal, "llamacpp.sample", "no logits at %d", output)
	}
	c := l.candidates[:0]
	for t, x := range logits {
		if !v.ends[t] {
			c = append(c, llama.TokenData{Id: llama.Token(t), Logit: x})
		}
	}
	l.candidates = c[:0]
	t, ok := apply(s.chain, c)
	if !ok {
		return 0, messages.Errorf(messages.CodeInternal, "llamacpp.sample", "the model's thinking cannot go on")
	}
	llama.SamplerAccept(s.chain, t)
	return t, nil
}

// allowed says whether the rules let t follow.
func (l *loop) allowed(state *grammar.State, t llama.Token) bool {
	v := l.session.vocab
	if v.ends[t] {
		return state.CanEnd()
	}
	return v.pieces[t] != "" && state.Allows(v.pieces[t])
}

// allowedOnly has the tokens that may follow, and those that end where the answer may end.
func (l *loop) allowedOnly(state *grammar.State, logits []float32, c []llama.TokenData) ([]llama.TokenData, error) {
	v := l.session.vocab
	err := state.Mask(v.trie(), func(t int32) {
		if !v.ends[t] {
			c = append(c, llama.TokenData{Id: llama.Token(t), Logit: logits[t]})
		}
	})
	if err != nil {
		return nil, err
	}
	if state.CanEnd() {
		for t, ends := range v.ends {
			if ends {
				c = append(c, llama.TokenData{Id: llama.Token(t), Logit: logits[t]})
			}
		}
	}
	return c, nil
}

// apply runs the samplers over the candidates and returns the one that they select; not one whose
// probability is 0.
func apply(chain llama.Sampler, c []llama.TokenData) (llama.Token, bool) {
	if len(c) == 0 {
		return 0, false
	}
	a := llama.TokenDataArray{Data: unsafe.SliceData(c), Size: uint64(len(c)), Selected: -1}
	llama.SamplerApply(chain, &a)
	if a.Selected < 0 || a.Selected >= int64(a.Size) || a.Size > uint64(len(c)) {
		return 0, false
	}
	got := c[a.Selected]
	return got.Id, !math.IsInf(float64(got.Logit), -1)
}

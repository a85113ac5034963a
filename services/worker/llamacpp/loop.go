package llamacpp

import (
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
)

// loop decodes for all slots of an engine. It is one goroutine; nothing in it is locked.
type loop struct {
	engine  *Engine
	session *session
	slots   []slot
	saved   savedStates
	errands []errand
	clock   uint64 // counts jobs
	turn    int    // the slot that is first to read its prompt in the next step
	copying bool   // llama.cpp will copy contexts with the next decode

	pace       pace
	demands    []demand
	shares     []int
	holdings   []holding
	candidates []llama.TokenData // for [loop.sample]; as large as the vocabulary, once it is needed
}

func newLoop(e *Engine, s *session) *loop {
	n := e.cfg.Slots
	l := &loop{
		engine: e, session: s, slots: make([]slot, n), saved: savedStates{limit: e.cfg.CacheBytes},
		demands: make([]demand, n), shares: make([]int, n), holdings: make([]holding, n),
	}
	for i := range l.slots {
		l.slots[i] = slot{cells: make([]llama.Token, 0, s.slotTokens), follow: -1}
	}
	return l
}

// run decodes until the engine closes. While there is nothing to do it blocks.
func (l *loop) run() {
	for {
		arrivals, errands, open := l.engine.takeArrivals()
		for _, j := range arrivals {
			l.begin(j)
		}
		l.errands = append(l.errands, errands...)
		if !open {
			l.endAll(errClosed())
			for _, e := range l.errands {
				e.end(errClosed())
			}
			return
		}
		l.endCancelled()
		if len(l.errands) == 0 && !l.busy() {
			<-l.engine.wake
			continue
		}
		l.engine.stepBegan.Store(time.Now().UnixNano())
		l.runErrand()
		if l.busy() {
			l.step()
		}
		l.engine.stepBegan.Store(0)
	}
}

// runErrand does one piece of the errand that waits for longest, which then waits behind the others.
func (l *loop) runErrand() {
	if len(l.errands) == 0 {
		return
	}
	e := l.errands[0]
	l.errands = l.errands[1:]
	if more := e.advance(l.session); more {
		l.errands = append(l.errands, e)
	}
	l.engine.steps.Add(1)
}

func (l *loop) busy() bool {
	for i := range l.slots {
		if l.slots[i].job != nil {
			return true
		}
	}
	return false
}

func (l *loop) endCancelled() {
	for i := range l.slots {
		if j := l.slots[i].job; j != nil && j.cancelled.Load() {
			l.end(i, "", messages.Errorf(messages.CodeCancelled, "llamacpp.infer", "cancelled"))
		}
	}
}

// end frees the slot, then tells the job: whoever sees its answer complete finds a free slot.
func (l *loop) end(i int, reason string, err error) {
	s := &l.slots[i]
	j, rest := s.job, ""
	if err == nil {
		rest = s.text.End()
	}
	s.finish()
	for k := range l.slots {
		if l.slots[k].follow == i {
			l.join(k)
		}
	}
	j.putEnd(rest, reason, err)
}

func (l *loop) endAll(err error) {
	for i := range l.slots {
		if l.slots[i].job != nil {
			l.slots[i].follow = -1
			l.end(i, "", err)
		}
	}
}

// step is one decode: a token for every slot that answers, a piece of the prompt for the others.
func (l *loop) step() {
	decoding := l.demand()
	prompt := planStep(l.demands, l.session.stepTokens, l.pace.chunk(decoding), l.turn, l.shares)
	if i := l.fill(); i >= 0 {
		l.session.batch.clear()
		l.end(i, "", messages.Errorf(messages.CodeInternal, "llamacpp.decode", "a token of the request is out of bounds"))
		return
	}
	if l.session.batch.len() == 0 { // nobody is left to be waited for
		l.joinAll()
		return
	}
	l.turn = (l.turn + 1) % len(l.slots)
	began := time.Now()
	err := l.session.decode()
	now := time.Now()
	l.engine.steps.Add(1)
	if err != nil {
		l.fail(messages.Errorf(messages.CodeInternal, "llamacpp.decode", "decode failed: %w", err))
		return
	}
	l.pace.took(now.Sub(began), prompt)
	made := 0
	l.copying = false
	for i := range l.slots {
		l.slots[i].copied = false
	}
	for i, n := range l.shares {
		if n > 0 && l.advance(i, n) {
			made++
		}
	}
	l.engine.count(now, made)
}

// fail ends every job. What the slots hold is not known any more.
func (l *loop) fail(err error) {
	l.engine.cfg.Log.Error("decode failed", keyError, err)
	l.session.batch.clear()
	for i := range l.slots {
		l.slots[i].cells = l.slots[i].cells[:0]
	}
	l.endAll(err)
}

// demand says what the slots could do, and whether one of them decodes.
func (l *loop) demand() (decoding bool) {
	for i := range l.slots {
		s := &l.slots[i]
		l.demands[i] = demand{}
		if s.job == nil || s.follow >= 0 {
			continue
		}
		left := len(s.job.prompt) - s.read
		l.demands[i] = demand{prompt: left, decoding: left == 0}
		decoding = decoding || left == 0
	}
	return decoding
}

// fill puts every slot's share into the batch. It returns the slot that has a token out of bounds, which
// llama.cpp must not get; -1 if none has.
func (l *loop) fill() int {
	l.session.batch.clear()
	for i, n := range l.shares {
		s := &l.slots[i]
		s.output = -1
		for k := range n {
			t, wanted := s.next, true
			if s.reading() {
				t = s.job.prompt[s.read+k]
				wanted = s.read+k == len(s.job.prompt)-1 && s.job.params.MaxTokens != 0
			}
			if wanted {
				s.output = int32(l.session.batch.len())
			}
			if !l.session.add(i, len(s.cells)+k, t, wanted) {
				return i
			}
		}
	}
	return -1
}

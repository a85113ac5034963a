package llamacpp

import (
	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// begin gives a job a slot, and the slot as much of the prompt as is there already. The engine let
// no more jobs in than there are slots.
func (l *loop) begin(j *job) {
	for i := range l.slots {
		l.holdings[i] = l.slots[i].holding()
	}
	at, saved := l.saved.find(j.prompt, l.session.slides > 0 || !l.session.rewinds)
	p := pickSlot(l.holdings, j.prompt, saved)
	s := &l.slots[p.slot]
	if l.copying { // a copy still to be made would overwrite the state, or be made of it
		p.saved = 0
	}
	var state savedState
	if p.saved > 0 {
		state = l.saved.take(at)
	}
	if p.copied > 0 && !l.session.rewinds {
		p.copied, p.from = 0, -1 // it could not forget what the other has read since
	}
	l.saveBefore(p)
	l.clock++
	s.job, s.used, s.shifted, s.follow, s.read, s.made = j, l.clock, false, -1, 0, 0
	s.text, s.chain = completion.NewText(j.params.Stops), j.chain
	s.rules = newRules(j)
	switch {
	case p.saved > 0:
		l.restore(p.slot, state, p.saved)
	case p.copied > 0:
		l.keep(p.slot, 0)
		if s.job != nil {
			s.follow, s.until = p.from, p.copied
			if len(l.slots[p.from].cells) >= p.copied {
				l.join(p.slot)
			}
		}
	default:
		l.keep(p.slot, p.keep)
	}
	if s.job == nil { // the slot could not even be cleared
		return
	}
	if s.follow < 0 {
		s.job.putCached(s.read)
	}
}

// keep leaves the slot its first n cells and forgets the others.
func (l *loop) keep(i, n int) {
	s := &l.slots[i]
	if n > 0 && !l.session.cut(i, n) {
		n = 0 // such models cannot go back
	}
	if n == 0 {
		if err := l.session.clearSlot(i); err != nil {
			l.end(i, "", err)
			return
		}
	}
	s.cells = s.cells[:n]
	s.read = n
}

// join ends the slot's waiting for another: what the other has read of the prompt is copied.
func (l *loop) join(i int) {
	s := &l.slots[i]
	from := s.follow
	s.follow = -1
	src := &l.slots[from]
	n := 0
	if !src.shifted {
		n = min(shared(src.cells, s.job.prompt), len(s.job.prompt)-1)
	}
	if n >= leastReuse {
		l.copying, s.copied = true, true // also if the copy cannot be used: llama.cpp will make it
		if l.session.copySlot(from, i, n) {
			s.cells = append(s.cells[:0], s.job.prompt[:n]...)
			s.read = n
		}
	}
	s.job.putCached(s.read)
}

// joinReady ends the waiting of those for whom slot i has read enough.
func (l *loop) joinReady(i int) {
	for k := range l.slots {
		if s := &l.slots[k]; s.follow == i && s.job != nil && len(l.slots[i].cells) >= s.until {
			l.join(k)
		}
	}
}

// joinAll ends all waiting.
func (l *loop) joinAll() {
	for k := range l.slots {
		if s := &l.slots[k]; s.job != nil && s.follow >= 0 {
			l.join(k)
		}
	}
}

// saveBefore saves what a pick takes away from another chat.
func (l *loop) saveBefore(p pick) {
	s := &l.slots[p.slot]
	if l.saved.limit == 0 || s.copied || s.shifted || len(s.cells)-p.keep < leastReuse || l.saved.has(s.cells) {
		return
	}
	size := l.session.stateSize(p.slot)
	if size <= 0 || !l.saved.makeRoom(size+4*len(s.cells)) {
		return
	}
	if data := l.session.saveSlot(p.slot, size); data != nil {
		l.saved.put(savedState{tokens: append([]llama.Token(nil), s.cells...), data: data})
	}
}

// restore puts a saved state into the slot and keeps its first n tokens.
func (l *loop) restore(i int, state savedState, n int) {
	l.keep(i, 0)
	s := &l.slots[i]
	if s.job == nil || !l.session.restoreSlot(i, state.data) {
		return
	}
	s.cells = append(s.cells[:0], state.tokens...)
	l.keep(i, n)
}

package grammar

import "github.com/rbee-project/rbee/messages"

// State is how far a text has come in a grammar. A State and its clones share a cache, so only one
// goroutine may use them at a time.
//
// The text is looked at as bytes: a piece may end inside a character. Every text that is accepted can
// be continued to one that may end.
type State struct {
	m   *machine
	set *stacks
	err error // of the beginning
}

// NewState returns the state of the empty text. If already that is too ambiguous, every Accept and
// Mask of it is [ErrTooAmbiguous].
func (g *Grammar) NewState() *State {
	s := &State{m: newMachine(g)}
	s.m.work = maxWork
	if s.set, s.err = s.m.start(); s.err != nil {
		s.set = dead
	}
	return s
}

// Clone returns a state that goes its own way from here.
func (s *State) Clone() *State {
	c := *s
	return &c
}

// Accept appends piece to the text. If the grammar does not allow it, the error's code is
// [messages.CodeInternal], because the caller has not asked before; [ErrTooAmbiguous] is its other
// error. After an error the state is as before. The empty piece is not allowed.
func (s *State) Accept(piece string) error {
	set, err := s.after(piece)
	if err != nil {
		return err
	}
	if set == dead {
		return messages.Errorf(messages.CodeInternal, "grammar.accept", "grammar: does not allow %.80q here", piece)
	}
	s.set = set
	return nil
}

// Allows says whether Accept would take piece. It does not change the state.
func (s *State) Allows(piece string) bool {
	set, err := s.after(piece)
	return err == nil && set != dead
}

func (s *State) after(piece string) (*stacks, error) {
	if s.err != nil {
		return nil, s.err
	}
	if piece == "" {
		return dead, nil
	}
	m := s.m
	m.work = maxWork
	if s.set.generation != m.generation {
		fresh, err := m.fresh(s.set)
		if err != nil {
			return nil, err
		}
		s.set = fresh
	}
	set := s.set
	for i := 0; i < len(piece) && set != dead; i++ {
		next := set.next[m.g.classOf[piece[i]]]
		if next == nil {
			var err error
			if next, err = m.advance(set, piece[i]); err != nil {
				return nil, err
			}
		}
		set = next
	}
	return set, nil
}

// CanEnd says that the text is complete.
func (s *State) CanEnd() bool { return s.set.ends }

// MustEnd says that the text is complete and nothing can follow it.
func (s *State) MustEnd() bool { return s.set.ends && len(s.set.tops) == 0 }

// Mask calls allow for each token of v that Allows would allow, in no order that means anything. Its
// error is [ErrTooAmbiguous]; some tokens may have been allowed before it. It takes time for what is
// allowed, not for what is not.
func (s *State) Mask(v *Vocabulary, allow func(token int32)) error {
	if s.err != nil {
		return s.err
	}
	m := s.m
	m.work = maxWork
	if len(m.path) < v.deepest+1 {
		m.path = make([]*stacks, v.deepest+1)
	}
	defer clear(m.path[:v.deepest+1])
	m.path[0] = s.set
	for i := 0; i < len(v.nodes); {
		n := &v.nodes[i]
		set := m.path[n.depth]
		next := set.next[m.g.classOf[n.char]]
		if next == nil {
			var err error
			if set, err = m.fresh(set); err != nil {
				return err
			}
			m.path[n.depth] = set
			if next, err = m.advance(set, n.char); err != nil {
				return err
			}
		}
		if next == dead {
			i = int(n.skip)
			continue
		}
		m.path[n.depth+1] = next
		for _, token := range v.tokens[n.tokens:n.tokensEnd] {
			allow(token)
		}
		i++
	}
	return nil
}

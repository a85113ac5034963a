package llamacpp

import "github.com/hybridgroup/yzma/pkg/llama"

// savedStates keeps the contexts of chats that lost their slot, the last used ones, up to a number
// of bytes. The decode loop owns it.
type savedStates struct {
	limit, bytes int
	list         []savedState // the longest unused first
}

type savedState struct {
	tokens []llama.Token
	data   []byte
}

func (s savedState) size() int { return len(s.data) + 4*len(s.tokens) }

// find is the state that shares the longest beginning with prompt; index -1 if none shares any. With
// whole a state must be shared to its end.
func (s *savedStates) find(prompt []llama.Token, whole bool) (index, n int) {
	index = -1
	for i, st := range s.list {
		if m := shared(st.tokens, prompt); m > n && (!whole || m == len(st.tokens) && m < len(prompt)) {
			index, n = i, m
		}
	}
	return index, n
}

// has says whether tokens, or more, are saved.
func (s *savedStates) has(tokens []llama.Token) bool {
	_, n := s.find(tokens, false)
	return n == len(tokens)
}

// take is the state at index, which becomes the last used.
func (s *savedStates) take(index int) savedState {
	st := s.list[index]
	s.list = append(append(s.list[:index], s.list[index+1:]...), st)
	return st
}

// makeRoom lets go of the oldest states until size more bytes fit, and reports whether they do.
func (s *savedStates) makeRoom(size int) bool {
	if size > s.limit {
		return false
	}
	for s.bytes+size > s.limit {
		s.bytes -= s.list[0].size()
		s.list[0] = savedState{}
		s.list = s.list[1:]
	}
	return true
}

// put keeps a state. States that are a beginning of it are let go: it serves for them, too.
func (s *savedStates) put(st savedState) {
	kept := s.list[:0]
	for _, old := range s.list {
		if shared(old.tokens, st.tokens) == len(old.tokens) {
			s.bytes -= old.size()
			continue
		}
		kept = append(kept, old)
	}
	clear(s.list[len(kept):])
	s.list = kept
	if s.makeRoom(st.size()) {
		s.bytes += st.size()
		s.list = append(s.list, st)
	}
}

package grammar

import (
	"encoding/binary"
	"slices"

	"github.com/rbee-project/rbee/messages"
)

// Limits of matching. Over one of them is [ErrTooAmbiguous].
const (
	// maxStacks is in how many ways the text so far may be read at the same time.
	maxStacks = 1024
	// maxWeight is what the cache may hold, in words of 8 bytes. A text that needs more than half of
	// it at one moment is refused; else the cache is emptied when full.
	maxWeight = 1 << 20
	// maxWork is how many stacks one call may look at that are not in the cache.
	maxWork = 1 << 18
)

// ErrTooAmbiguous says that the text can be read in so many ways at once, or nests so deep, that
// following it would take too long or too much memory.
var ErrTooAmbiguous error = messages.Errorf(messages.CodeBadRequest, "grammar.match",
	"grammar: is too ambiguous, or the text too deeply nested, to be followed")

// frame is a place and, below it, where the rules that are open go on. Equal frames are the same
// pointer within a generation.
type frame struct {
	below *frame
	pc    int32
	id    int32
	added uint32 // the last step that has put this frame into its set
	back  uint32 // the last step that has returned to this frame
}

type frameKey struct {
	below *frame
	pc    int32
}

// stacks is a set of frames that wait for a byte, and whether the text may end. next is by class of
// bytes: nil is not known yet.
type stacks struct {
	tops       []*frame
	next       []*stacks
	generation uint32
	ends       bool
}

// machine follows a text through a grammar. It is an automaton whose states, sets of stacks, are
// made when first met and kept while there is room.
type machine struct {
	g          *Grammar
	frames     map[frameKey]*frame
	sets       map[string]*stacks
	generation uint32
	weight     int
	work       int
	lastID     int32

	// one step
	step uint32
	tops []*frame
	ends bool
	key  []byte

	path []*stacks // of [State.Mask]
}

// dead is what no text leads out of.
var dead = &stacks{}

func newMachine(g *Grammar) *machine {
	m := &machine{g: g}
	m.empty()
	return m
}

func (m *machine) empty() {
	m.generation++
	m.frames, m.sets = map[frameKey]*frame{}, map[string]*stacks{}
	m.weight, m.lastID = 0, 0
}

func (m *machine) start() (*stacks, error) {
	m.begin()
	if err := m.enter(m.g.starts[m.g.root], nil); err != nil {
		return nil, err
	}
	return m.set(), nil
}

func (m *machine) begin() {
	m.step++
	m.tops, m.ends = m.tops[:0], false
}

// advance works out what set s and byte b lead to.
func (m *machine) advance(s *stacks, b byte) (*stacks, error) {
	s, err := m.fresh(s)
	if err != nil {
		return nil, err
	}
	if known := s.next[m.g.classOf[b]]; known != nil {
		return known, nil
	}
	m.begin()
	m.work -= len(s.tops) / 4
	for _, f := range s.tops {
		p := m.g.places[f.pc]
		for _, e := range m.g.edges[p.x:p.y] {
			if e.lo <= b && b <= e.hi {
				if err := m.enter(e.to, f.below); err != nil {
					return nil, err
				}
				break
			}
		}
	}
	next := dead
	if len(m.tops) > 0 || m.ends {
		next = m.set()
	}
	s.next[m.g.classOf[b]] = next
	return next, nil
}

// enter adds what place pc leads to when a byte has been read.
func (m *machine) enter(pc int32, below *frame) error {
	for {
		f := &m.g.follow[pc]
		if err := m.expand(f, below); err != nil {
			return err
		}
		if !f.ends {
			return nil
		}
		if below == nil {
			m.ends = true
			return nil
		}
		if below.back == m.step {
			return nil
		}
		below.back = m.step
		pc, below = below.pc, below.below
	}
}

// expand adds the places that wait for a byte, in this rule and in those it calls. That a called
// rule may be empty is in the caller's closure already.
func (m *machine) expand(f *follow, below *frame) error {
	if m.work--; m.work < 0 {
		return ErrTooAmbiguous
	}
	for _, pc := range m.g.tops[f.tops:f.topsEnd] {
		t := m.frame(pc, below)
		if t.added == m.step {
			continue
		}
		t.added = m.step
		if len(m.tops) == maxStacks {
			return ErrTooAmbiguous
		}
		m.tops = append(m.tops, t)
	}
	for _, c := range m.g.calls[f.calls:f.callsEnd] {
		ret := below
		if c.ret >= 0 {
			ret = m.frame(c.ret, below)
		}
		start := m.g.starts[c.rule]
		entry := m.frame(-1-start, ret) // not a place: it only says that the rule has been entered
		if entry.added == m.step {
			continue
		}
		entry.added = m.step
		if err := m.expand(&m.g.follow[start], ret); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) frame(pc int32, below *frame) *frame {
	m.work--
	key := frameKey{below, pc}
	if f, ok := m.frames[key]; ok {
		return f
	}
	m.lastID++
	f := &frame{below: below, pc: pc, id: m.lastID}
	m.frames[key] = f
	m.weight += 8 // 4 words, and as much in the map
	return f
}

// set finds or makes the set of the step's stacks.
func (m *machine) set() *stacks {
	slices.SortFunc(m.tops, func(a, b *frame) int { return int(a.id) - int(b.id) })
	m.key = m.key[:0]
	for _, f := range m.tops {
		m.key = binary.LittleEndian.AppendUint32(m.key, uint32(f.id))
	}
	if m.ends {
		m.key = append(m.key, 1)
	}
	if s, ok := m.sets[string(m.key)]; ok {
		return s
	}
	s := &stacks{tops: slices.Clone(m.tops), ends: m.ends, generation: m.generation, next: make([]*stacks, m.g.classes)}
	for i := range s.next {
		s.next[i] = dead
	}
	for _, f := range s.tops {
		p := m.g.places[f.pc]
		for _, e := range m.g.edges[p.x:p.y] {
			for c := int(m.g.classOf[e.lo]); c <= int(m.g.classOf[e.hi]); c++ {
				s.next[c] = nil
			}
		}
	}
	m.sets[string(m.key)] = s
	m.weight += 16 + 2*len(s.tops) + len(s.next)
	return s
}

// fresh returns s as a set of the present generation, and begins a new one when the cache is full.
func (m *machine) fresh(s *stacks) (*stacks, error) {
	if m.weight > maxWeight {
		m.empty()
	}
	if s.generation == m.generation || s == dead {
		return s, nil
	}
	again := map[*frame]*frame{}
	m.begin()
	for _, f := range s.tops {
		m.tops = append(m.tops, m.renew(f, again))
	}
	m.ends = s.ends
	if m.weight > maxWeight/2 && len(m.sets) == 0 { // all that weight is this set alone
		return nil, ErrTooAmbiguous
	}
	return m.set(), nil
}

// renew makes f and what is below it anew.
func (m *machine) renew(f *frame, again map[*frame]*frame) *frame {
	var open []*frame
	for ; f != nil && again[f] == nil; f = f.below {
		open = append(open, f)
	}
	below := again[f] // nil if f is
	for i := len(open) - 1; i >= 0; i-- {
		below = m.frame(open[i].pc, below)
		again[open[i]] = below
	}
	return below
}

package grammar

// closures works out, for each place where text is entered, what it leads to without a byte. A call
// of a rule that can be empty leads also to what is behind the call, so that entering such a rule
// need not be followed to its end; see [machine.expand].
func (c *compiler) closures(empty []bool) error {
	g := c.g
	g.follow = make([]follow, len(g.places))
	need := make([]bool, len(g.places))
	for _, s := range g.starts {
		need[s] = true
	}
	for _, e := range g.edges {
		need[e.to] = true
	}
	for _, p := range g.places {
		if p.op == opCall {
			need[p.y] = true
		}
	}
	w := walker{g: g, empty: empty, seen: make([]int32, len(g.places))}
	for at, n := range need {
		if n && !w.from(int32(at)) {
			return errLarge()
		}
	}
	for i, call := range g.calls {
		if f := g.follow[call.ret]; f.ends && f.tops == f.topsEnd && f.calls == f.callsEnd {
			g.calls[i].ret = -1
		}
	}
	return nil
}

type walker struct {
	g     *Grammar
	empty []bool
	seen  []int32 // by place: the last closure that came here
	round int32
	todo  []int32
	steps int
}

// from works out one closure. It is false when the closures are too large altogether.
func (w *walker) from(at int32) bool {
	g := w.g
	f := follow{tops: int32(len(g.tops)), calls: int32(len(g.calls))}
	w.round++
	w.visit(at)
	for len(w.todo) > 0 {
		at := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		if w.steps++; w.steps > 4*maxClosure {
			return false
		}
		switch p := g.places[at]; p.op {
		case opBytes:
			g.tops = append(g.tops, at)
		case opSplit:
			w.visit(p.x)
			w.visit(p.y)
		case opCall:
			g.calls = append(g.calls, call{p.x, p.y})
			if w.empty[p.x] {
				w.visit(p.y)
			}
		case opReturn:
			f.ends = true
		}
	}
	f.topsEnd, f.callsEnd = int32(len(g.tops)), int32(len(g.calls))
	g.follow[at] = f
	return len(g.tops)+len(g.calls) <= maxClosure
}

func (w *walker) visit(at int32) {
	if w.seen[at] != w.round {
		w.seen[at] = w.round
		w.todo = append(w.todo, at)
	}
}

// first lists for each rule the rules that it can begin with.
func (c *compiler) first() [][]int {
	out := make([][]int, len(c.rules))
	for i, s := range c.g.starts {
		f := c.g.follow[s]
		for _, call := range c.g.calls[f.calls:f.callsEnd] {
			out[i] = append(out[i], int(call.rule))
		}
	}
	return out
}

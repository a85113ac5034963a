package grammar

import "strings"

// settle finds for which rules holds(body) is true, where holds asks known for the rules it names.
// A rule is looked at again only when one that it names has become true.
func settle(rules []rule, holds func(e *element, known []bool) bool) []bool {
	known := make([]bool, len(rules))
	namedBy := make([][]int, len(rules))
	queue := make([]int, len(rules))
	queued := make([]bool, len(rules))
	for i, r := range rules {
		seen := map[int]bool{}
		walk(r.body, func(e *element) {
			if e.kind == reference && !seen[e.rule] {
				seen[e.rule] = true
				namedBy[e.rule] = append(namedBy[e.rule], i)
			}
		})
		queue[i], queued[i] = i, true
	}
	for len(queue) > 0 {
		i := queue[0]
		queue, queued[i] = queue[1:], false
		if known[i] || !holds(rules[i].body, known) {
			continue
		}
		known[i] = true
		for _, j := range namedBy[i] {
			if !known[j] && !queued[j] {
				queue, queued[j] = append(queue, j), true
			}
		}
	}
	return known
}

func walk(e *element, visit func(*element)) {
	visit(e)
	for _, k := range e.kids {
		walk(k, visit)
	}
}

// nullable says whether e can match the empty text.
func nullable(e *element, known []bool) bool {
	return can(e, known, func(e *element) bool { return e.kind == literal && e.text == "" })
}

// productive says whether e can match any text that ends.
func productive(e *element, known []bool) bool {
	return can(e, known, func(*element) bool { return true })
}

func can(e *element, known []bool, leaf func(*element) bool) bool {
	switch e.kind {
	case reference:
		return known[e.rule]
	case sequence:
		for _, k := range e.kids {
			if !can(k, known, leaf) {
				return false
			}
		}
		return true
	case choice:
		for _, k := range e.kids {
			if can(k, known, leaf) {
				return true
			}
		}
		return false
	case repeat:
		return e.min == 0 || can(e.kids[0], known, leaf)
	}
	return leaf(e)
}

// leftRecursion returns the first rule that can begin with itself, with the way there, or -1.
// first lists for each rule the rules that it can begin with.
func leftRecursion(rules []rule, first [][]int) (int, string) {
	const fresh, open, closed = 0, 1, 2
	state := make([]uint8, len(rules))
	at := make([]int, len(rules)) // the next entry of first to look at
	for start := range rules {
		if state[start] != fresh {
			continue
		}
		path := []int{start}
		state[start] = open
		for len(path) > 0 {
			i := path[len(path)-1]
			if at[i] == len(first[i]) {
				state[i] = closed
				path = path[:len(path)-1]
				continue
			}
			j := first[i][at[i]]
			at[i]++
			switch state[j] {
			case open:
				return j, way(rules, path, j)
			case fresh:
				state[j] = open
				path = append(path, j)
			}
		}
	}
	return -1, ""
}

// way writes the end of path from rule j on, and j again. A long way is cut.
func way(rules []rule, path []int, j int) string {
	from := 0
	for path[from] != j {
		from++
	}
	var names []string
	for n, i := range path[from:] {
		if n == 8 {
			names = append(names, "...")
			break
		}
		names = append(names, rules[i].name)
	}
	return strings.Join(append(names, rules[j].name), " -> ")
}

package llamacpp

import (
	"testing"

	"github.com/rbee-project/rbee/services/worker/grammar"
)

// TestRulesBeginBehindTheThought: tokens cut </think> anywhere, and may go on behind it.
func TestRulesBeginBehindTheThought(t *testing.T) {
	g, err := grammar.Parse(`root ::= "yes" | "no"`)
	if err != nil {
		t.Fatal(err)
	}
	for name, pieces := range map[string][]string{
		"one token":       {"hm", "</think>", "yes"},
		"white space":     {"hm</think>\n\n", "no"},
		"in pieces":       {"<", "/th", "ink", ">", "yes"},
		"the answer, too": {"so.</think> y", "es"},
		"a false start":   {"</thin", "gs </think>", "no"},
	} {
		r := newRules(&job{rules: g, afterThought: true})
		for _, p := range pieces {
			if err := r.accept(p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if !r.hold() || !r.state.MustEnd() {
			t.Errorf("%s: the rules hold: %t, and are met: %t", name, r.hold(), r.state.MustEnd())
		}
	}
	r := newRules(&job{rules: g, afterThought: true})
	if err := r.accept("</think>maybe"); err == nil {
		t.Error("an answer that the rules forbid was taken")
	}
}

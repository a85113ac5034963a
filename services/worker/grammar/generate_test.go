package grammar

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// generate walks a grammar over random bytes. After some hundred bytes it prefers what closes.
func generate(t testing.TB, g *Grammar, r *rand.Rand) string {
	t.Helper()
	s := g.NewState()
	var out []byte
	for !s.MustEnd() {
		if s.CanEnd() && r.IntN(4) == 0 {
			break
		}
		var can []byte
		for b := range 256 {
			if s.Allows(string([]byte{byte(b)})) {
				can = append(can, byte(b))
			}
		}
		if len(can) == 0 {
			t.Fatalf("nothing is allowed after %q, which may not end", out)
		}
		b := can[r.IntN(len(can))]
		if many := len(out) > 300; many || r.IntN(3) == 0 {
			for _, c := range `"}],:` {
				if strings.IndexByte(string(can), byte(c)) >= 0 && (many || r.IntN(2) == 0) {
					b = byte(c)
					break
				}
			}
		}
		if err := s.Accept(string([]byte{b})); err != nil {
			t.Fatal(err)
		}
		if out = append(out, b); len(out) > 20_000 {
			t.Fatalf("does not end: %.200q", out)
		}
	}
	return string(out)
}

package grammar

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/worker/grammar/grammartest"
)

// syntheticPieces are n tokens like those of a model: every byte, words with and without a blank,
// punctuation, pieces of other scripts, and some without text.
func syntheticPieces(n int) []string {
	r := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"", ""}
	for b := range 256 {
		pieces = append(pieces, string([]byte{byte(b)}))
	}
	pieces = append(pieces, `{"`, `":`, `": "`, `",`, `", "`, `"}`, `"]`, "[]", "{}", `\"`, "\n\n", "true", "null", "\xe4\xb8")
	seen := map[string]bool{}
	for len(pieces) < n {
		var p strings.Builder
		switch kind := r.IntN(20); {
		case kind < 2:
			for range 1 + r.IntN(4) {
				p.WriteRune(rune(0x4E00 + r.IntN(3000)))
			}
		case kind == 2:
			p.WriteString(strings.Repeat(string("=-*# \n\t.{}"[r.IntN(10)]), 1+r.IntN(30)))
		default:
			if r.IntN(2) == 0 {
				p.WriteByte(' ')
			}
			for range 1 + r.IntN(5) {
				p.WriteString([]string{"an", "er", "st", "lo", "qu", "i", "tion", "re", "Ma", "e", "pro", "ch", "é"}[r.IntN(13)])
			}
		}
		if !seen[p.String()] {
			seen[p.String()] = true
			pieces = append(pieces, p.String())
		}
	}
	return pieces
}

func TestMaskIsWhatAllowsSays(t *testing.T) {
	pieces := syntheticPieces(3000)
	pieces = append(pieces, "true", `{"`, strings.Repeat("x", 5000)) // twice the same, and a long one
	v := NewVocabulary(pieces)
	if v.Len() != len(pieces) {
		t.Fatal(v.Len())
	}
	for name, schema := range unboundedAnd(grammartest.Schemas()) {
		r := rand.New(rand.NewPCG(1, 1))
		s := mustSchema(t, schema).NewState()
		for range 12 {
			var got, want []int32
			if err := s.Mask(v, func(token int32) { got = append(got, token) }); err != nil {
				t.Fatal(name, err)
			}
			slices.Sort(got)
			for i, p := range pieces {
				if p != "" && s.Clone().Allows(p) {
					want = append(want, int32(i))
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s: mask has %d tokens, Allows %d", name, len(got), len(want))
			}
			if len(got) == 0 {
				if !s.MustEnd() {
					t.Fatalf("%s: stuck", name)
				}
				break
			}
			if err := s.Accept(pieces[got[r.IntN(len(got))]]); err != nil {
				t.Fatal(name, err)
			}
		}
	}
}

// TestTokensEnd generates from tokens picked at random: the bounded schemas end in some hundred.
func TestTokensEnd(t *testing.T) {
	pieces := syntheticPieces(3000)
	v := NewVocabulary(pieces)
	for name, schema := range grammartest.Schemas() {
		g, valid := mustSchema(t, schema), validator(t, schema)
		for seed := range uint64(10) {
			r := rand.New(rand.NewPCG(seed, 9))
			s, text := g.NewState(), ""
			for tokens := 0; !s.MustEnd() && (!s.CanEnd() || r.IntN(3) > 0); tokens++ {
				var can []int32
				if err := s.Mask(v, func(token int32) { can = append(can, token) }); err != nil {
					t.Fatal(name, err)
				}
				if len(can) == 0 || tokens > 600 {
					t.Fatalf("%s: after %d tokens %d are allowed: %.300q", name, tokens, len(can), text)
				}
				p := pieces[can[r.IntN(len(can))]]
				if err := s.Accept(p); err != nil {
					t.Fatal(name, err)
				}
				text += p
			}
			if !json.Valid([]byte(text)) {
				t.Fatalf("%s: %q", name, text)
			}
			var value any
			d := json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			if err := d.Decode(&value); err != nil {
				t.Fatal(err)
			}
			if err := valid.Validate(value); err != nil {
				t.Fatalf("%s: %s: %v", name, text, err)
			}
		}
	}
}

func TestState(t *testing.T) {
	g := mustParse(t, `root ::= "ab" "c"? [é]?`)
	s := g.NewState()
	if s.CanEnd() || s.MustEnd() || s.Allows("") || s.Accept("") == nil || s.Allows("x") {
		t.Fatal("at the beginning")
	}
	if err := s.Accept("x"); err == nil || !strings.Contains(err.Error(), `does not allow "x" here`) {
		t.Fatal(err)
	}
	if err := s.Accept("ab"); err != nil || !s.CanEnd() || s.MustEnd() {
		t.Fatal(err, s.CanEnd(), s.MustEnd())
	}
	c := s.Clone()
	if err := c.Accept("c\xc3"); err != nil || c.CanEnd() {
		t.Fatal("half a character", err)
	}
	if err := c.Accept("\xa9"); err != nil || !c.MustEnd() || c.Allows("c") {
		t.Fatal("the clone's end", err)
	}
	if !s.Allows("c") || s.MustEnd() {
		t.Fatal("the clone changed the state")
	}
}

// TestCacheIsEmptied goes through more sets of stacks than the cache has room for.
func TestCacheIsEmptied(t *testing.T) {
	g := mustParse(t, "root ::= \"(\" a{0,900} root? \")\" | \"!\" \"?\"?\na ::= b{0,9} \".\"\nb ::= [a-m] | [g-z]")
	s, r := g.NewState(), rand.New(rand.NewPCG(1, 2))
	var clones []*State
	ended := s.Clone()
	if err := ended.Accept("!"); err != nil {
		t.Fatal(err)
	}
	for range 25 {
		text := "("
		for range 800 {
			text += "ghijklmno"[:r.IntN(10)] + "."
		}
		for i := 0; i < len(text); i += 50 {
			if err := s.Accept(text[i:min(i+50, len(text))]); err != nil {
				t.Fatal(err)
			}
			if s.Allows("?") || s.CanEnd() {
				t.Fatal("allows what it must not")
			}
		}
		clones = append(clones, s.Clone())
	}
	if s.m.generation < 3 {
		t.Fatalf("the cache was emptied %d times", s.m.generation-1)
	}
	if !ended.Allows("?") || !ended.CanEnd() || ended.MustEnd() {
		t.Fatal("a clone forgot that it may end")
	}
	for depth, c := range clones {
		rest, end := strings.Repeat("g.", 100), strings.Repeat(")", depth+1)
		if !c.Allows(rest+"(g.") || c.Allows(rest+"g") || c.Allows("gggggggggg") || c.Allows(end+")") {
			t.Fatal("a clone lost its way")
		}
		if err := c.Accept(rest + end); err != nil || !c.MustEnd() {
			t.Fatal(err)
		}
	}
}

func TestAllowsDoesNotAllocate(t *testing.T) {
	s := mustSchema(t, `{"type":"string"}`).NewState()
	if err := s.Accept(`"abc`); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { s.Allows("hello\\n") }); n != 0 {
		t.Fatal(n, "allocations")
	}
}

func BenchmarkMask(b *testing.B) {
	v := NewVocabulary(syntheticPieces(150_000))
	for _, bc := range []struct{ name, schema, text string }{
		{"string", `{"type":"string"}`, `"abc`},
		{"bounded string", `{"type":"string","maxLength":200}`, `"abc`},
		{"any JSON string", `{}`, `{"a":["b`},
		{"structure", `{}`, `{"a":[1`},
		{"value", `{}`, `{"a":`},
		{"key", grammartest.Schemas()["some optional"], `{`},
		{"pattern", `{"type":"string","pattern":"^[a-z ]+(st|er)*x$"}`, `"as`},
	} {
		g := mustSchema(b, bc.schema)
		for _, warm := range []string{"cold", "warm"} {
			b.Run(bc.name+"/"+warm, func(b *testing.B) {
				s, n := g.NewState(), 0
				for b.Loop() {
					if warm == "cold" {
						s = g.NewState()
					}
					if warm == "cold" || n == 0 {
						if err := s.Accept(bc.text); err != nil {
							b.Fatal(err)
						}
					}
					n = 0
					if err := s.Mask(v, func(int32) { n++ }); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n), "tokens")
				b.ReportMetric(float64(len(v.nodes)), "nodes")
			})
		}
	}
}

func BenchmarkAllows(b *testing.B) {
	s := mustSchema(b, `{}`).NewState()
	if err := s.Accept(`{"a":"b`); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Allows(" question")
	}
}

func BenchmarkNewVocabulary(b *testing.B) {
	pieces := syntheticPieces(150_000)
	for b.Loop() {
		NewVocabulary(pieces)
	}
}

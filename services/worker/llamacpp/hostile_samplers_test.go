package llamacpp

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"unsafe"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/worker/completion"
)

// extremes are the ends of what each sampling field may be, what is beyond them, and what samplers
// stumble over.
var extremes = map[string][]any{
	"temperature":           {0, 1e-45, 1e-30, 1e-6, 0.8, 1, 2, -1, 2.1},
	"top_p":                 {0, 1e-30, 1e-7, 0.5, 0.9999999, 1},
	"min_p":                 {0, 1e-30, 0.05, 0.9999999, 1},
	"typical_p":             {0, 1e-30, 0.1, 0.9999999, 1},
	"top_k":                 {-1, 0, 1, 2, 511, 512, 513, 1 << 30},
	"top_n_sigma":           {-1, 0, 1e-45, 1e-9, 0.001, 1, 100},
	"repeat_penalty":        {0.01, 1, 1.1, 10},
	"repeat_last_n":         {-1, 0, 1, 64, 511, 512, 1 << 20},
	"frequency_penalty":     {-2, 0, 2},
	"presence_penalty":      {-2, 0, 2},
	"dry_multiplier":        {0, 1e-30, 0.8, 100},
	"dry_base":              {1, 1.0000001, 1.75, 100},
	"dry_allowed_length":    {0, 1, 2, 1 << 20},
	"dry_penalty_last_n":    {-1, 0, 1, 2, 512, 1 << 20},
	"dry_sequence_breakers": {[]string{}, []string{"\n"}, []string{"é", "\U0001F41D", "\u0301"}, []string{strings.Repeat("a", 40)}, []string{"<|im_end|>", " ", "\\", "\""}, []string{"\ufffd", "\x01", "a\u0301\u0301\u0301b"}},
	"mirostat":              {0, 1, 2},
	"mirostat_tau":          {0, 1e-30, 5, 100},
	"mirostat_eta":          {0, 1e-30, 0.1, 10},
	"seed":                  {int64(math.MinInt64), int64(math.MaxInt64), -1, 0, 1<<32 - 1},
	"ignore_eos":            {true, false},
	"logprobs":              {0, 20},
	"n":                     {1, 2},
	"logit_bias":            {map[string]int{"5": 100}, map[string]int{"5": -100, "1": 100}, map[string]int{"300": 1}},
	"grammar":               {`root ::= [a-z ]*`, `root ::= "a"`, `root ::= [^a]*`},
	"stop":                  {"a", []string{"e", " "}},
	"xtc_probability":       {1}, // not known, so ignored
	"xtc_threshold":         {0},
}

// odd chooses some fields and an extreme of each.
func odd(r *rand.Rand, names []string) map[string]any {
	out := map[string]any{}
	often := 1 + r.IntN(6)
	for _, name := range names {
		if all := extremes[name]; r.IntN(often) == 0 {
			out[name] = all[r.IntN(len(all))]
		}
	}
	return out
}

// attackSamplers has every sampler at its ends.
func attackSamplers(a *attack) {
	b := a.besiege(Config{ModelPath: bee(a.t, bees.Random)})
	defer b.relieve()
	names := sortedNames(extremes)
	prompts := []any{"hive", []int{5}, []int{300, 300, 300, 300, 300, 300, 300, 300}, strings.Repeat("ab ", 60), ""}
	for n := range schedules(5) * 50 {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		for range 5 {
			fields := both(map[string]any{"max_tokens": 3}, odd(r, names))
			raw, _ := json.Marshal(fields)
			b.send(string(raw), completed(prompts[r.IntN(len(prompts))], fields))
		}
	}
	b.sampleOddLogits(names)
}

// sampleOddLogits has the samplers choose among numbers that no model in these tests makes. A chain that
// selects nothing, or nothing that is there, would end the process in llama.cpp's own loop.
func (b *besieged) sampleOddLogits(names []string) {
	size := len(b.e.session.vocab.pieces)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	kinds := map[string]func(r *rand.Rand, t int) float32{
		"equal":      func(*rand.Rand, int) float32 { return 0 },
		"large":      func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64() * 1e30) },
		"one":        func(_ *rand.Rand, t int) float32 { return float32(t/(size-1)) * 1e38 },
		"tiny":       func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64() * 1e-40) },
		"usual":      func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64() * 3) },
		"none":       func(*rand.Rand, int) float32 { return -inf },
		"infinite":   func(*rand.Rand, int) float32 { return inf },
		"no number":  func(*rand.Rand, int) float32 { return nan },
		"some of it": func(r *rand.Rand, _ int) float32 { return []float32{inf, -inf, nan, 0, 1, -1e38}[r.IntN(6)] },
		"one is left": func(_ *rand.Rand, t int) float32 {
			if t == 7 {
				return 1
			}
			return -inf
		},
	}
	for _, kind := range sortedNames(kinds) {
		for n := range schedules(5) * 60 {
			r := rand.New(rand.NewPCG(uint64(n), 2))
			fields := odd(r, names)
			raw, _ := json.Marshal(fields)
			b.try(fmt.Sprintf("logits: %s, %s", kind, raw), func() error {
				p, err := completion.Parse("completion", completed("x", fields).Body)
				if err != nil {
					return err
				}
				return b.chooseAmong(&p.Sampling, r, kinds[kind])
			})
		}
	}
}

func (b *besieged) chooseAmong(p *completion.Sampling, r *rand.Rand, logit func(*rand.Rand, int) float32) error {
	chain := newChain(b.e.session, p, 1)
	defer llama.SamplerFree(chain)
	remember(chain, b.e.session, p, []llama.Token{5, 6, 5, 6, 5, 6, 7})
	size := len(b.e.session.vocab.pieces)
	for _, n := range []int{size, size, 1, 2} {
		c := make([]llama.TokenData, n)
		for t := range c {
			c[t] = llama.TokenData{Id: llama.Token(t), Logit: logit(r, t)}
		}
		t, selected := chosen(chain, c)
		if !selected {
			return fmt.Errorf("nothing is selected of %d", n)
		}
		llama.SamplerAccept(chain, t)
	}
	return nil
}

// chosen is what llama.cpp's own loop would select, and whether it would go on.
func chosen(chain llama.Sampler, c []llama.TokenData) (llama.Token, bool) {
	a := llama.TokenDataArray{Data: unsafe.SliceData(c), Size: uint64(len(c)), Selected: -1}
	llama.SamplerApply(chain, &a)
	if a.Selected < 0 || a.Selected >= int64(a.Size) || a.Size > uint64(len(c)) {
		return 0, false
	}
	return c[a.Selected].Id, true
}

func sortedNames[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

package llamacpp

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
)

// open are the fields that leave no token out. bee-random is sure of most tokens, so it is warmed.
var open = map[string]any{"temperature": 2, "top_k": 0, "top_p": 1, "min_p": 0, "max_tokens": 16}

func TestGreedyIsTheLikeliest(t *testing.T) {
	for _, model := range []string{bees.Random, bees.Qwen} {
		e := loaded(t, Config{ModelPath: bee(t, model), Slots: 1, ContextLength: 256})
		b := newBare(t, e)
		for i := range 4 {
			prompt := []llama.Token{llama.Token(40 + i), 300, 60}
			want := b.text(b.answer(prompt, 24, func(x []float32, _ []llama.Token) llama.Token { return argmax(x) }))
			if got := first(t, e, text(prompt, map[string]any{"max_tokens": 24})); got.text != want {
				t.Errorf("%s: %q, want %q", model, got.text, want)
			}
			for name, value := range map[string]any{"typical_p": 0.01, "mirostat": 2, "top_p": 0} {
				if got := first(t, e, text(prompt, map[string]any{name: value, "max_tokens": 24})); got.text != want {
					t.Errorf("%s, temperature 0, %s %v: %q, want %q", model, name, value, got.text, want)
				}
			}
			// Each of these leaves nothing but the likeliest, whatever the temperature.
			for name, value := range map[string]any{"top_k": 1, "min_p": 1, "top_p": 1e-6, "top_n_sigma": 1e-6, "temperature": 1e-4} {
				if got := first(t, e, text(prompt, with(open, name, value, "seed", i, "max_tokens", 24))); got.text != want {
					t.Errorf("%s, %s %v: %q, want %q", model, name, value, got.text, want)
				}
			}
		}
	}
}

// spot is a token of an answer and its probabilities at temperature 1, the likeliest first.
type spot struct {
	logits []float32
	p      []float64 // by token
	order  []int
	rank   int // of the chosen token in order
	chosen int
}

func newSpot(logits []float32, chosen llama.Token) spot {
	pl := spot{logits: logits, p: softmax(logits), order: make([]int, len(logits)), chosen: int(chosen)}
	for i := range pl.order {
		pl.order[i] = i
	}
	slices.SortStableFunc(pl.order, func(a, b int) int { return cmp.Compare(pl.p[b], pl.p[a]) })
	pl.rank = slices.Index(pl.order, pl.chosen)
	return pl
}

func softmax(logits []float32) []float64 {
	top, sum := float64(slices.Max(logits)), 0.0
	p := make([]float64, len(logits))
	for i, x := range logits {
		p[i] = math.Exp(float64(x) - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// before is the probability of all that are likelier than the chosen.
func (pl spot) before() (sum float64) {
	for _, i := range pl.order[:pl.rank] {
		sum += pl.p[i]
	}
	return sum
}

// untypical is the probability of all whose surprise is nearer to what is expected than the chosen's.
func (pl spot) untypical() (sum float64) {
	entropy := 0.0
	for _, p := range pl.p {
		if p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	far := func(i int) float64 { return math.Abs(-math.Log(pl.p[i]) - entropy) }
	for i := range pl.p {
		if far(i) < far(pl.chosen)-1e-4 {
			sum += pl.p[i]
		}
	}
	return sum
}

func deviation(x []float32) float64 {
	mean, sum := 0.0, 0.0
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		sum += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(sum / float64(len(x)))
}

// TestCuts: what is said is among what the formula of the field leaves, and not always the likeliest.
func TestCuts(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 1, ContextLength: 256})
	b := newBare(t, e)
	prompt := []llama.Token{40, 300, 60}
	for name, tc := range map[string]struct {
		value any
		in    func(spot) bool
	}{
		"top_k":     {3, func(pl spot) bool { return pl.rank < 3 }},
		"top_p":     {0.99, func(pl spot) bool { return pl.before() < 0.99+1e-5 }},
		"min_p":     {0.02, func(pl spot) bool { return pl.p[pl.chosen] > (0.02-1e-6)*pl.p[pl.order[0]] }},
		"typical_p": {0.9, func(pl spot) bool { return pl.untypical() < 0.9+1e-5 }},
		"top_n_sigma": {0.3, func(pl spot) bool {
			return float64(pl.logits[pl.chosen]) > float64(pl.logits[pl.order[0]])-0.3*deviation(pl.logits)-1e-3
		}},
	} {
		run := func(fields map[string]any) (out, unlikely, all int) {
			for seed := range 8 {
				a := first(t, e, text(prompt, with(fields, "seed", seed, "logprobs", 0)))
				said := b.tokensOf(t, a)
				for i, logits := range b.follow(prompt, said) {
					pl := newSpot(logits, said[i])
					all++
					if !tc.in(pl) {
						out++
					}
					if pl.rank > 0 {
						unlikely++
					}
				}
			}
			return out, unlikely, all
		}
		if out, unlikely, all := run(with(open, name, tc.value)); out > 0 || unlikely == 0 {
			t.Errorf("%s %v: %d of %d tokens should have been left out; %d are not the likeliest", name, tc.value, out, all, unlikely)
		}
		if out, _, all := run(open); out == 0 {
			t.Errorf("%s: none of %d tokens would have been left out: the test tests nothing", name, all)
		}
	}
}

// tokensOf are the tokens of a completion that has logprobs. bee-random says printable text, where
// each token's text is its own.
func (b *bare) tokensOf(t testing.TB, a *said) []llama.Token {
	t.Helper()
	out := make([]llama.Token, len(a.tokens))
	for i, x := range a.tokens {
		if out[i] = llama.Token(slices.Index(b.s.vocab.pieces, x.Token)); out[i] < 0 {
			t.Fatalf("%q is no token", x.Token)
		}
	}
	return out
}

// TestTemperature counts what comes first, and compares with the probabilities.
func TestTemperature(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 4, ContextLength: 256})
	b := newBare(t, e)
	prompt := []llama.Token{40, 300, 61}
	logits := b.follow(prompt, []llama.Token{0})[0]
	for _, heat := range []float64{0.5, 1, 2} {
		warm := slices.Clone(logits)
		for i := range warm {
			warm[i] /= float32(heat)
		}
		p := softmax(warm)
		likeliest := argmax(logits)
		n, hits := 0, 0
		for seed := range 25 {
			for _, c := range get(t, e, text(prompt, with(open, "temperature", heat, "max_tokens", 1, "n", 16, "seed", 100*seed))).choices {
				n++
				if c.text == b.s.vocab.pieces[likeliest] {
					hits++
				}
			}
		}
		want, spread := p[likeliest]*float64(n), math.Sqrt(float64(n)*p[likeliest]*(1-p[likeliest]))
		if math.Abs(float64(hits)-want) > 5*spread+1 {
			t.Errorf("temperature %g: the likeliest came %d times of %d, want %.0f ± %.0f", heat, hits, n, want, spread)
		}
		t.Logf("temperature %g: %d of %d, expected %.1f ± %.1f", heat, hits, n, want, spread)
	}
}

func TestSeeds(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 2, ContextLength: 256})
	say := func(more ...any) string { return first(t, e, text("hive", with(open, more...))).text }
	if a, b := say("seed", 5), say("seed", 5); a != b {
		t.Errorf("seed 5: %q and %q", a, b)
	}
	if one, two := say(), say(); one == two || say("seed", 5) == say("seed", 6) || say("seed", -1) == say("seed", 1<<40) {
		t.Error("other seeds, or none, give the same answer")
	}
	// llama.cpp's word for "random", which must not be one here, nor the same as its neighbours.
	r := get(t, e, text("hive", with(open, "seed", llama.DefaultSeed, "n", 3)))
	if a := say("seed", llama.DefaultSeed); a != r.choices[0].text || a != say("seed", llama.DefaultSeed) {
		t.Errorf("seed %d: %q and %q", uint32(llama.DefaultSeed), a, r.choices[0].text)
	}
	if a, b, c := r.choices[0].text, r.choices[1].text, r.choices[2].text; a == b || b == c || a == c {
		t.Errorf("choices of one seed: %q, %q, %q", a, b, c)
	}
}

// TestChainByHand compares with llama.cpp's samplers in llama-server's order, put together here.
func TestChainByHand(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 2, ContextLength: 256})
	b := newBare(t, e)
	size, vocab := int32(len(e.session.vocab.pieces)), e.session.vocab.handle
	prompt := []llama.Token{40, 300, 60, 300, 60}
	for name, tc := range map[string]struct {
		fields map[string]any
		chain  []llama.Sampler
	}{
		"default": {map[string]any{"temperature": 0.8}, []llama.Sampler{
			llama.SamplerInitTopK(40), llama.SamplerInitTopP(0.95, 1), llama.SamplerInitMinP(0.05, 1), llama.SamplerInitTemp(0.8), llama.SamplerInitDist(7)}},
		"all": {map[string]any{"temperature": 1.9, "top_n_sigma": 1.5, "top_k": 50, "typical_p": 0.99, "top_p": 0.999, "min_p": 0.001, "logit_bias": map[string]any{"70": 12.5, "90": 15},
			"repeat_penalty": 1.2, "frequency_penalty": 0.7, "presence_penalty": 0.3, "repeat_last_n": 9, "dry_multiplier": 1.5, "dry_base": 2, "dry_allowed_length": 1, "dry_penalty_last_n": 30},
			[]llama.Sampler{llama.SamplerInitLogitBias(size, 2, &[]llama.LogitBias{{Token: 70, Bias: 12.5}, {Token: 90, Bias: 15}}[0]),
				llama.SamplerInitPenalties(size, 9, 1.2, 0.7, 0.3), llama.SamplerInitDry(vocab, 1.5, 2, 1, 30, []string{"\n", ":", "\"", "*"}),
				llama.SamplerInitTopNSigma(1.5), llama.SamplerInitTopK(50), llama.SamplerInitMinP(leastTypical, 1), llama.SamplerInitTypical(0.99, 1), llama.SamplerInitTopP(0.999, 1),
				llama.SamplerInitMinP(0.001, 1), llama.SamplerInitTemp(1.9), llama.SamplerInitDist(7)}},
		"typical": {map[string]any{"temperature": 2, "top_k": 9, "typical_p": 0.97, "top_p": 1, "min_p": 0}, []llama.Sampler{
			llama.SamplerInitTopK(9), llama.SamplerInitTypical(0.97, 1), llama.SamplerInitTemp(2), llama.SamplerInitDist(7)}},
		"mirostat 1": {map[string]any{"temperature": 1.5, "mirostat": 1, "mirostat_tau": 3, "mirostat_eta": 0.2}, []llama.Sampler{
			llama.SamplerInitTemp(1.5), llama.SamplerInitMirostat(size, 7, 3, 0.2, 100)}},
		"mirostat 2": {map[string]any{"temperature": 1.5, "mirostat": 2}, []llama.Sampler{
			llama.SamplerInitTemp(1.5), llama.SamplerInitMirostatV2(7, 5, 0.1)}},
	} {
		chain := llama.SamplerChainInit(llama.SamplerChainDefaultParams())
		for _, s := range tc.chain {
			llama.SamplerChainAdd(chain, s)
		}
		for _, tok := range prompt {
			llama.SamplerAccept(chain, tok)
		}
		want := b.text(b.answer(prompt, 40, func([]float32, []llama.Token) llama.Token { return llama.SamplerSample(chain, b.ctx, -1) }))
		llama.SamplerFree(chain)
		if got := first(t, e, text(prompt, with(tc.fields, "seed", 7, "max_tokens", 40))); got.text != want {
			t.Errorf("%s: %q, want %q", name, got.text, want)
		}
	}
}

func TestIgnoreEOS(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Tiny), Slots: 1, ContextLength: 512})
	for _, heat := range []float64{0, 1} {
		a := get(t, e, chat("hello", map[string]any{"ignore_eos": true, "max_tokens": 150, "temperature": heat}))
		if s := a.choices[0]; s.finish != "length" || a.usage.CompletionTokens != 150 || !strings.HasPrefix(s.text, bees.Sentence) || strings.Contains(s.text, "<|") {
			t.Errorf("%+v: %d tokens, %q", s, a.usage.CompletionTokens, s.text)
		}
	}
	if s := first(t, e, chat("hello", nil)); s.finish != "stop" || s.text != bees.Sentence {
		t.Errorf("without: %+v", s)
	}
}

func TestLimitsOfAnswers(t *testing.T) {
	const context = 256
	e := loaded(t, Config{ModelPath: bee(t, bees.Endless), Slots: 1, ContextLength: context})
	full := first(t, e, chat("hello", nil)).text
	for name, tc := range map[string]struct {
		fields map[string]any
		tokens int // -1: to the end of the context
		finish string
	}{
		"none":              {map[string]any{"max_tokens": 0}, 0, "length"},
		"one":               {map[string]any{"max_tokens": 1}, 1, "length"},
		"endless":           {map[string]any{"max_tokens": 1 << 31}, -1, "length"},
		"more than an int":  {map[string]any{"max_tokens": int64(1) << 62}, -1, "length"},
		"the newer name":    {map[string]any{"max_completion_tokens": 3}, 3, "length"},
		"the newer wins":    {map[string]any{"max_completion_tokens": 3, "max_tokens": 9}, 3, "length"},
		"stop":              {map[string]any{"stop": " hive"}, -2, "stop"},
		"the first of many": {map[string]any{"stop": []string{"never", "honey", " hive", "where"}}, -2, "stop"},
		"a stop too late":   {map[string]any{"stop": []string{" hive"}, "max_tokens": 4}, 4, "length"},
	} {
		for _, stream := range []bool{false, true} {
			req := chat("hello", tc.fields)
			req.Stream = stream
			r := get(t, e, req)
			s := r.choices[0]
			if s.finish != tc.finish || !strings.HasPrefix(full, s.text) {
				t.Errorf("%s, stream %t: %q by %q, want %q", name, stream, s.text, s.finish, tc.finish)
			}
			switch n := r.usage.CompletionTokens; {
			case tc.tokens >= 0 && n != tc.tokens, tc.tokens == -1 && n+r.usage.PromptTokens != context,
				tc.tokens == -2 && s.text != full[:strings.Index(full, " hive")]:
				t.Errorf("%s, stream %t: %d tokens, %q", name, stream, n, s.text)
			}
		}
	}
}

package completion

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ranged has every number of [Sampling]: its field, what is just in range, its default, and where it goes.
var ranged = []struct {
	field          string
	low, high, def float64
	whole          bool
	get            func(Sampling) float64
}{
	{"temperature", 0, 2, 0.8, false, func(s Sampling) float64 { return float64(s.Temperature) }},
	{"top_p", 0, 1, 0.95, false, func(s Sampling) float64 { return float64(s.TopP) }},
	{"min_p", 0, 1, 0.05, false, func(s Sampling) float64 { return float64(s.MinP) }},
	{"typical_p", 0, 1, 1, false, func(s Sampling) float64 { return float64(s.TypicalP) }},
	{"top_k", -1, 1 << 30, 40, true, func(s Sampling) float64 { return float64(s.TopK) }},
	{"top_n_sigma", -1, 100, 0, false, func(s Sampling) float64 { return float64(s.TopNSigma) }},
	{"repeat_penalty", 0.01, 10, 1, false, func(s Sampling) float64 { return float64(s.RepeatPenalty) }},
	{"repeat_last_n", -1, 1 << 20, 64, true, func(s Sampling) float64 { return float64(s.RepeatLastN) }},
	{"frequency_penalty", -2, 2, 0, false, func(s Sampling) float64 { return float64(s.FrequencyPenalty) }},
	{"presence_penalty", -2, 2, 0, false, func(s Sampling) float64 { return float64(s.PresencePenalty) }},
	{"dry_multiplier", 0, 100, 0, false, func(s Sampling) float64 { return float64(s.Dry.Multiplier) }},
	{"dry_base", 1, 100, 1.75, false, func(s Sampling) float64 { return float64(s.Dry.Base) }},
	{"dry_allowed_length", 0, 1 << 20, 2, true, func(s Sampling) float64 { return float64(s.Dry.AllowedLength) }},
	{"dry_penalty_last_n", -1, 1 << 20, -1, true, func(s Sampling) float64 { return float64(s.Dry.LastN) }},
	{"mirostat", 0, 2, 0, true, func(s Sampling) float64 { return float64(s.Mirostat) }},
	{"mirostat_tau", 0, 100, 5, false, func(s Sampling) float64 { return float64(s.MirostatTau) }},
	{"mirostat_eta", 0, 10, 0.1, false, func(s Sampling) float64 { return float64(s.MirostatEta) }},
}

// off are the fields whose -1 is another word for 0.
var off = []string{"top_k", "top_n_sigma"}

func TestSamplingRanges(t *testing.T) {
	for _, r := range ranged {
		say := func(v float64) string {
			if r.whole {
				return fmt.Sprintf(`"%s":%.0f`, r.field, v)
			}
			return fmt.Sprintf(`"%s":%s`, r.field, strconv.FormatFloat(v, 'g', -1, 64))
		}
		below, above := math.Nextafter(r.low, math.Inf(-1)), math.Nextafter(r.high, math.Inf(1))
		if r.whole {
			below, above = r.low-1, r.high+1
		}
		for _, v := range []float64{r.low, r.high, r.def} {
			want := float64(float32(v))
			if v == -1 && slices.Contains(off, r.field) {
				want = 0
			}
			for task, raw := range map[string]string{TaskChat: chat(say(v)), TaskCompletion: text(say(v))} {
				if got := r.get(mustParse(t, task, raw).Sampling); got != want {
					t.Errorf("%s: %v, want %v", say(v), got, want)
				}
			}
		}
		for _, v := range []float64{below, above, -1e15, 1e15} {
			mustRefuse(t, TaskChat, chat(say(v)), r.field)
			mustRefuse(t, TaskCompletion, text(say(v)), r.field)
		}
		for _, raw := range []string{chat(""), chat(`"` + r.field + `":null`)} {
			if got := r.get(mustParse(t, TaskChat, raw).Sampling); got != float64(float32(r.def)) {
				t.Errorf("%s without a value: %v, want %v", r.field, got, r.def)
			}
		}
	}
}

func TestEverySamplingFieldIsTested(t *testing.T) {
	tested := []string{"seed", "logit_bias", "ignore_eos", "dry_sequence_breakers"} // by name, below
	for _, r := range ranged {
		tested = append(tested, r.field)
	}
	for _, name := range fieldNames(reflect.TypeFor[sampling]()) {
		if !slices.Contains(tested, name) {
			t.Errorf("no test knows the range of %s", name)
		}
	}
}

func TestSeed(t *testing.T) {
	for raw, want := range map[string]int64{"0": 0, "-3": -3, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64} {
		if p := mustParse(t, TaskChat, chat(`"seed":`+raw)); p.Sampling.Seed == nil || *p.Sampling.Seed != want {
			t.Errorf("seed %s: %v", raw, p.Sampling.Seed)
		}
	}
	if p := mustParse(t, TaskChat, chat(`"seed":-1`)); p.Sampling.Seed != nil {
		t.Error("-1 is a seed, and should ask for a new one each time")
	}
	mustRefuse(t, TaskChat, chat(`"seed":9223372036854775808`), "seed")
	if p := mustParse(t, TaskChat, chat(`"ignore_eos":true`)); !p.Sampling.IgnoreEOS {
		t.Error("ignore_eos is lost")
	}
}

func TestBreakers(t *testing.T) {
	forty := strings.Repeat("x", 40)
	many := `"` + strings.Repeat(`x","`, MaxStops-1) + `x"`
	for raw, want := range map[string][]string{
		`[]`: {}, `["a","\n"]`: {"a", "\n"}, `["` + forty + `"]`: {forty}, `[` + many + `]`: slices.Repeat([]string{"x"}, MaxStops),
	} {
		p := mustParse(t, TaskChat, chat(`"dry_sequence_breakers":`+raw))
		if got := p.Sampling.Dry.Breakers; got == nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q", raw, got)
		}
	}
	for _, raw := range []string{`[""]`, `[null]`, `["a","` + forty + `x"]`, `["a\u0000"]`, `[` + many + `,"x"]`} {
		mustRefuse(t, TaskChat, chat(`"dry_sequence_breakers":`+raw), "dry_sequence_breakers")
	}
}

func TestLogitBias(t *testing.T) {
	for raw, want := range map[string][]Bias{
		`{}`:                          nil,
		`{"7":-100,"3":100,"11":0.5}`: {{3, 100}, {7, -100}, {11, 0.5}},
		`{"2147483647":1,"0":-1}`:     {{0, -1}, {math.MaxInt32, 1}},
		`{"5":null}`:                  {{5, 0}},
		`{"5":1,"5":2}`:               {{5, 2}},
	} {
		if got := mustParse(t, TaskChat, chat(`"logit_bias":`+raw)).Sampling.LogitBias; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", raw, got, want)
		}
	}
	if got := mustParse(t, TaskCompletion, text(`"logit_bias":`+biases(MaxLogitBias))).Sampling.LogitBias; len(got) != MaxLogitBias ||
		!slices.IsSortedFunc(got, func(a, b Bias) int { return int(a.Token - b.Token) }) {
		t.Errorf("the most: %d", len(got))
	}
	for _, raw := range []string{`{"7":100.0001}`, `{"7":-101}`, `{"7":1e999}`, `{"-1":1}`, `{"2147483648":1}`, `{"x":1}`, `{"":1}`, `{"1.0":1}`,
		`{"05":1}`, `{"+5":1}`, `{"-0":1}`, `{" 5":1}`, `{"` + strings.Repeat("9", 1<<20) + `":1}`, biases(MaxLogitBias + 1)} {
		mustRefuse(t, TaskChat, chat(`"logit_bias":`+raw), "logit_bias")
	}
}

// biases is a logit_bias of the tokens 0 to n-1.
func biases(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(`"%d":1`, i)
	}
	return `{` + strings.Join(out, ",") + `}`
}

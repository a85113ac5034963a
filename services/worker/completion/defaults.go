package completion

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
)

// MaxContext is the largest num_ctx, in tokens.
const MaxContext = 1 << 24

// Defaults is what requests get for what they do not say: a null says nothing. The zero value is
// llama-server's, [DefaultTemperature] and so on. It may be used by many goroutines at once.
type Defaults struct {
	// System goes before a chat that has no system message of its own; empty: none does.
	System string
	// ContextLength is the parameter num_ctx, in tokens, at most [MaxContext]; 0: there is none. It is of
	// no request: whoever makes the context may use it.
	ContextLength int

	sampling  sampling
	stop      json.RawMessage
	maxTokens *int
}

// ParseParameters reads a JSON object with the names of Ollama's parameters (docs/modelfile.md there):
// temperature, top_k, top_p, min_p, typical_p, repeat_penalty, repeat_last_n, presence_penalty,
// frequency_penalty, mirostat, mirostat_tau, mirostat_eta, seed, stop, num_predict and num_ctx, in the
// ranges of a body; num_predict below 1 is no limit. unused has the names of all others, in order. What
// is wrong comes back as [Parse] says it.
func ParseParameters(raw []byte) (d Defaults, unused []string, err error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return d, nil, bad("parameters: must be a JSON object")
	}
	s := &d.sampling
	var predict, context *int64
	floats := map[string]**float64{
		"temperature": &s.Temperature, "top_p": &s.TopP, "min_p": &s.MinP, "typical_p": &s.TypicalP,
		"repeat_penalty": &s.RepeatPenalty, "presence_penalty": &s.PresencePenalty, "frequency_penalty": &s.FrequencyPenalty,
		"mirostat_tau": &s.MirostatTau, "mirostat_eta": &s.MirostatEta,
	}
	ints := map[string]**int64{
		"top_k": &s.TopK, "repeat_last_n": &s.RepeatLastN, "mirostat": &s.Mirostat, "seed": &s.Seed,
		"num_predict": &predict, "num_ctx": &context,
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		float, whole := floats[name], ints[name]
		switch {
		case name == "stop":
			d.stop = value
		case float != nil:
			if json.Unmarshal(value, float) != nil {
				return d, nil, bad("%s: must be a number", name)
			}
		case whole != nil:
			if *whole, err = wholeNumber(name, value); err != nil {
				return d, nil, err
			}
		default:
			unused = append(unused, name)
		}
	}
	if err = d.setLimits(predict, context); err != nil {
		return d, nil, err
	}
	return d, unused, d.check()
}

// wholeNumber also takes 40.0, as Ollama does; nil is null.
func wholeNumber(name string, raw json.RawMessage) (*int64, error) {
	if isNull(raw) {
		return nil, nil
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return &n, nil
	}
	var f float64
	if json.Unmarshal(raw, &f) != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return nil, bad("%s: must be a whole number", name)
	}
	n := int64(f)
	return &n, nil
}

func (d *Defaults) setLimits(predict, context *int64) error {
	if predict != nil && *predict > 0 {
		n := int(min(*predict, math.MaxInt32))
		d.maxTokens = &n
	}
	if context == nil {
		return nil
	}
	if *context < 0 || *context > MaxContext {
		return bad("num_ctx: must be between 0 and %d, is %d", MaxContext, *context)
	}
	d.ContextLength = int(*context)
	return nil
}

// check reports what is out of range.
func (d *Defaults) check() error {
	var p Params
	b := body{sampling: d.sampling, Stop: d.stop}
	for _, set := range []func(*body) error{p.setLimits, p.setSampling, p.setPenalties} {
		if err := set(&b); err != nil {
			return err
		}
	}
	return nil
}

// fill gives b what it does not say.
func (d *Defaults) fill(b *body) {
	if isNull(b.Stop) {
		b.Stop = d.stop
	}
	if b.MaxTokens == nil { // max_completion_tokens, if it is there, wins
		b.MaxTokens = d.maxTokens
	}
	from, to := &d.sampling, &b.sampling
	for _, f := range []struct{ from, to **float64 }{
		{&from.Temperature, &to.Temperature}, {&from.TopP, &to.TopP}, {&from.MinP, &to.MinP}, {&from.TypicalP, &to.TypicalP},
		{&from.RepeatPenalty, &to.RepeatPenalty}, {&from.PresencePenalty, &to.PresencePenalty},
		{&from.FrequencyPenalty, &to.FrequencyPenalty}, {&from.MirostatTau, &to.MirostatTau}, {&from.MirostatEta, &to.MirostatEta},
	} {
		if *f.to == nil {
			*f.to = *f.from
		}
	}
	for _, f := range []struct{ from, to **int64 }{
		{&from.TopK, &to.TopK}, {&from.RepeatLastN, &to.RepeatLastN}, {&from.Mirostat, &to.Mirostat}, {&from.Seed, &to.Seed},
	} {
		if *f.to == nil {
			*f.to = *f.from
		}
	}
}

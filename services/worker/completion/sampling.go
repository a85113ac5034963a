package completion

import (
	"slices"
	"strconv"
)

// number is a field that has a range and a default.
type number[T int64 | float64] struct {
	name           string
	value          *T
	low, high, def T
}

// get is the field's value, or its default.
func (n number[T]) get() (T, error) {
	if n.value == nil {
		return n.def, nil
	}
	v := *n.value
	if v < n.low || v > n.high { // JSON has no NaN
		return 0, bad("%s: must be between %v and %v, is %v", n.name, n.low, n.high, v)
	}
	return v, nil
}

// floats and ints fill in many fields; the first that is out of range is the error.
type floatField struct {
	number[float64]
	to *float32
}

type intField struct {
	number[int64]
	to *int32
}

func setFloats(fields []floatField) error {
	for _, f := range fields {
		v, err := f.get()
		if err != nil {
			return err
		}
		*f.to = float32(v)
	}
	return nil
}

func setInts(fields []intField) error {
	for _, f := range fields {
		v, err := f.get()
		if err != nil {
			return err
		}
		*f.to = int32(v)
	}
	return nil
}

func (p *Params) setSampling(b *body) error {
	s := &p.Sampling
	s.IgnoreEOS = b.IgnoreEOS != nil && *b.IgnoreEOS
	if b.Seed != nil && *b.Seed != -1 { // -1 is llama-server's and Ollama's "a new one each time"
		s.Seed = b.Seed
	}
	err := setFloats([]floatField{
		{number[float64]{"temperature", b.Temperature, 0, 2, DefaultTemperature}, &s.Temperature},
		{number[float64]{"top_p", b.TopP, 0, 1, DefaultTopP}, &s.TopP},
		{number[float64]{"min_p", b.MinP, 0, 1, DefaultMinP}, &s.MinP},
		{number[float64]{"typical_p", b.TypicalP, 0, 1, 1}, &s.TypicalP},
		{number[float64]{"top_n_sigma", b.TopNSigma, -1, 100, 0}, &s.TopNSigma},
		{number[float64]{"mirostat_tau", b.MirostatTau, 0, 100, 5}, &s.MirostatTau},
		{number[float64]{"mirostat_eta", b.MirostatEta, 0, 10, 0.1}, &s.MirostatEta},
	})
	if err != nil {
		return err
	}
	s.TopNSigma = max(s.TopNSigma, 0) // -1 is llama-server's "off"
	var mirostat int32
	if err := setInts([]intField{
		{number[int64]{"top_k", b.TopK, -1, 1 << 30, DefaultTopK}, &s.TopK},
		{number[int64]{"mirostat", b.Mirostat, 0, 2, 0}, &mirostat},
	}); err != nil {
		return err
	}
	s.TopK = max(s.TopK, 0) // -1 is how some clients say "all"
	s.Mirostat = int(mirostat)
	return nil
}

func (p *Params) setPenalties(b *body) error {
	s := &p.Sampling
	s.Dry.Breakers = []string{"\n", ":", "\"", "*"} // llama-server's
	if b.DryBreakers != nil {
		s.Dry.Breakers = b.DryBreakers
	}
	if len(s.Dry.Breakers) > MaxStops {
		return bad("dry_sequence_breakers: at most %d, has %d", MaxStops, len(s.Dry.Breakers))
	}
	for _, t := range s.Dry.Breakers {
		if _, err := CheckText("dry_sequence_breakers", t); err != nil || t == "" || len(t) > 40 {
			return bad("dry_sequence_breakers: each must have between 1 and 40 bytes, and no NUL")
		}
	}
	if err := setFloats([]floatField{
		{number[float64]{"repeat_penalty", b.RepeatPenalty, 0.01, 10, 1}, &s.RepeatPenalty},
		{number[float64]{"frequency_penalty", b.FrequencyPenalty, -2, 2, 0}, &s.FrequencyPenalty},
		{number[float64]{"presence_penalty", b.PresencePenalty, -2, 2, 0}, &s.PresencePenalty},
		{number[float64]{"dry_multiplier", b.DryMultiplier, 0, 100, 0}, &s.Dry.Multiplier},
		{number[float64]{"dry_base", b.DryBase, 1, 100, 1.75}, &s.Dry.Base},
	}); err != nil {
		return err
	}
	return setInts([]intField{
		{number[int64]{"repeat_last_n", b.RepeatLastN, -1, 1 << 20, DefaultRepeatLastN}, &s.RepeatLastN},
		{number[int64]{"dry_allowed_length", b.DryAllowedLength, 0, 1 << 20, 2}, &s.Dry.AllowedLength},
		{number[int64]{"dry_penalty_last_n", b.DryLastN, -1, 1 << 20, -1}, &s.Dry.LastN},
	})
}

func (p *Params) setBias(b *body) error {
	if len(b.LogitBias) > MaxLogitBias {
		return bad("logit_bias: at most %d tokens, has %d", MaxLogitBias, len(b.LogitBias))
	}
	for key, v := range b.LogitBias {
		token, err := strconv.ParseInt(key, 10, 32)
		if err != nil || token < 0 || strconv.FormatInt(token, 10) != key { // "05" would be a second 5
			return bad("logit_bias: %.32q is not a token's number", key)
		}
		if v < -100 || v > 100 {
			return bad("logit_bias: must be between -100 and 100, is %v for token %d", v, token)
		}
		p.Sampling.LogitBias = append(p.Sampling.LogitBias, Bias{int32(token), float32(v)})
	}
	slices.SortFunc(p.Sampling.LogitBias, func(a, b Bias) int { return int(a.Token) - int(b.Token) })
	return nil
}

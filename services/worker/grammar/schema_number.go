package grammar

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// maxInteger is the largest number that is generated without an exponent: 15 digits, which float64
// holds exactly.
const maxInteger = 999_999_999_999_999

// bound is one end of a range. No at: there is none.
type bound struct {
	at   *big.Rat
	open bool // at itself is out
}

// compare is as of n to the bound: -1 below, 1 above or no bound.
func (b bound) compare(n *big.Rat) int {
	if b.at == nil {
		return 1
	}
	return n.Cmp(b.at)
}

// exact reads a number, unless it has more digits than any sensible limit.
func exact(n json.Number) (*big.Rat, error) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(string(n)), "e")
	e, err := strconv.Atoi(exponent)
	if exponent == "" {
		e, err = 0, nil
	}
	if err != nil || len(mantissa) > 40 || e < -40 || e > 400 {
		return nil, errors.New("has too many digits")
	}
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return nil, errors.New("must be a number")
	}
	return r, nil
}

func (s *shape) limit(key string, v located) error {
	text, ok := v.value.(json.Number)
	if !ok {
		return badSchema(v.at, "must be a number")
	}
	n, err := exact(text)
	if err != nil {
		return badSchema(v.at, "%w", err)
	}
	b := bound{n, strings.HasPrefix(key, "exclusive")}
	low := strings.HasSuffix(strings.ToLower(key), "minimum")
	to := &s.high
	if low {
		to = &s.low
	}
	if to.at != nil {
		c := n.Cmp(to.at)
		if !low {
			c = -c
		}
		if c < 0 || c == 0 && !b.open { // what is there is as strict
			return nil
		}
	}
	*to = b
	return nil
}

// integer returns an atom for the whole numbers that s allows, of 15 digits at most.
func (b *builder) integer(s *shape) (string, error) {
	if s.low.at == nil && s.high.at == nil {
		return b.base("integer"), nil
	}
	low, high := int64(-maxInteger), int64(maxInteger)
	if s.low.at != nil {
		n := ceiling(s.low.at)
		if s.low.open && s.low.at.IsInt() {
			n.Add(n, big.NewInt(1))
		}
		if n.Cmp(big.NewInt(maxInteger)) > 0 {
			return "", badSchema(s.at, "a minimum over %d is not supported", int64(maxInteger))
		}
		low = max(low, clamp(n))
	}
	if s.high.at != nil {
		n := ceiling(new(big.Rat).Neg(s.high.at))
		n.Neg(n)
		if s.high.open && s.high.at.IsInt() {
			n.Sub(n, big.NewInt(1))
		}
		if n.Cmp(big.NewInt(-maxInteger)) < 0 {
			return "", badSchema(s.at, "a maximum under %d is not supported", -int64(maxInteger))
		}
		high = min(high, clamp(n))
	}
	if low > high {
		return "", &impossible{s.at}
	}
	var out []string
	if low < 0 {
		out = append(out, `"-" `+wholes(max(1, -high), -low))
	}
	if high >= 0 {
		out = append(out, wholes(max(0, low), high))
	}
	return b.rule(strings.Join(out, " | ")), nil
}

// clamp is n, or the int64 nearest to it.
func clamp(n *big.Int) int64 {
	if n.IsInt64() {
		return n.Int64()
	}
	return int64(n.Sign()) * (1 << 62)
}

// ceiling is the smallest whole number that is not below r.
func ceiling(r *big.Rat) *big.Int {
	q, m := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int))
	if m.Sign() != 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

// number returns an atom for the numbers that s allows. Numbers between limits have no exponent.
func (b *builder) number(s *shape) (string, error) {
	if s.low.at == nil && s.high.at == nil {
		return b.base("number"), nil
	}
	zero := new(big.Rat)
	low, high := s.low, s.high
	largest := bound{new(big.Rat).SetInt64(maxInteger + 1), true}
	if low.at == nil || low.at.Cmp(new(big.Rat).Neg(largest.at)) <= 0 {
		low = bound{new(big.Rat).Neg(largest.at), true}
	}
	if high.at == nil || high.at.Cmp(largest.at) >= 0 {
		high = largest
	}
	if c := low.at.Cmp(high.at); c > 0 || c == 0 && (low.open || high.open) {
		return "", &impossible{s.at}
	}
	var out choices
	if low.at.Sign() < 0 { // the size of negative numbers, without zero
		from := bound{zero, true}
		if high.at.Sign() < 0 || high.at.Sign() == 0 && high.open {
			from = bound{new(big.Rat).Neg(high.at), high.open}
		}
		text, err := decimals(s.at, from, bound{new(big.Rat).Neg(low.at), low.open})
		out.add(`"-" (`+text+")", err)
	}
	if high.at.Sign() > 0 || high.at.Sign() == 0 && !high.open {
		from := low
		if low.at.Sign() < 0 {
			from = bound{zero, false}
		}
		out.add(decimals(s.at, from, high))
	}
	if out.err == nil && len(out.of) == 1 {
		return b.rule(out.of[0]), nil
	}
	return out.atom(b, s.at)
}

package grammar

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// wholes returns an expression, in parentheses where needed, of the decimal numbers from low to high,
// neither below 0, without leading zeros.
func wholes(low, high int64) string {
	var out []string
	for low <= high {
		a := strconv.FormatInt(low, 10)
		last := strings.Repeat("9", len(a)) // of as many digits
		if n, err := strconv.ParseInt(last, 10, 64); err != nil || n >= high {
			last = strconv.FormatInt(high, 10)
		}
		out = append(out, sameLength(a, last))
		n, _ := strconv.ParseInt(last, 10, 64)
		low = n + 1
	}
	return either(out)
}

// sameLength returns an expression of the digits from a to b, which have the same length.
func sameLength(a, b string) string {
	n := len(a)
	if n == 0 {
		return ""
	}
	if strings.Trim(a, "0") == "" && strings.Trim(b, "9") == "" {
		return fmt.Sprintf("[0-9]{%d}", n)
	}
	if a == b {
		return quote(a)
	}
	if a[0] == b[0] {
		return quote(a[:1]) + " " + sameLength(a[1:], b[1:])
	}
	var out []string
	zeros, nines := strings.Repeat("0", n-1), strings.Repeat("9", n-1)
	from, to := a[0], b[0]
	if a[1:] != zeros {
		out = append(out, quote(a[:1])+" "+sameLength(a[1:], nines))
		from++
	}
	if b[1:] != nines {
		to--
	}
	if from <= to {
		out = append(out, strings.TrimSpace(digit(from, to)+" "+sameLength(zeros, nines)))
	}
	if b[1:] != nines {
		out = append(out, quote(b[:1])+" "+sameLength(zeros, b[1:]))
	}
	return either(out)
}

func digit(from, to byte) string { return fmt.Sprintf("[%c-%c]", from, to) }

// either joins alternatives, in parentheses if they are several.
func either(of []string) string {
	if len(of) == 1 {
		return of[0]
	}
	return "(" + strings.Join(of, " | ") + ")"
}

// decimals returns an expression of the numbers between two bounds, neither below 0.
func decimals(at string, low, high bound) (string, error) {
	l, lf, err := split(at, low.at)
	if err != nil {
		return "", err
	}
	h, hf, err := split(at, high.at)
	if err != nil {
		return "", err
	}
	digits := max(len(lf), len(hf)) + 6
	from := fraction{lf, low.open}
	var out []string
	add := func(n int64, low fraction, high *fraction) {
		if tail, ok := behind(low, high, digits); ok {
			out = append(out, strings.TrimSpace(quote(strconv.FormatInt(n, 10))+" "+tail))
		}
	}
	if l == h {
		add(l, from, &fraction{hf, high.open})
	} else {
		add(l, from, nil)
		if l+1 < h {
			tail, _ := behind(fraction{}, nil, digits)
			out = append(out, wholes(l+1, h-1)+" "+tail)
		}
		add(h, fraction{}, &fraction{hf, high.open})
	}
	if len(out) == 0 {
		return "", &impossible{at}
	}
	return strings.Join(out, " | "), nil
}

// split returns the whole part of r and the digits of the rest, without zeros at the end.
func split(at string, r *big.Rat) (int64, string, error) {
	whole, digits, _ := strings.Cut(r.FloatString(100), ".")
	digits = strings.TrimRight(digits, "0")
	if len(digits) > 15 {
		return 0, "", badSchema(at, "a limit with more than 15 digits behind the point is not supported")
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, "", badSchema(at, "the limit %s is not supported", whole)
	}
	return n, digits, nil
}

// fraction is a bound between 0 and 1: its digits, and whether it is out itself.
type fraction struct {
	digits string
	open   bool
}

// step is the bound of what follows when the next digit is the bound's own.
func (f fraction) step() (byte, fraction) {
	if f.digits == "" {
		return '0', f
	}
	return f.digits[0], fraction{f.digits[1:], f.open}
}

// emptyBetween says whether no more digits, that is 0, is within the bounds.
func emptyBetween(low fraction, high *fraction) bool {
	return low.digits == "" && !low.open && (high == nil || high.digits != "" || !high.open)
}

// behind returns an expression of what may follow the whole part: a point and digits, or nothing.
func behind(low fraction, high *fraction, digits int) (string, bool) {
	some := between(low, high, digits)
	empty := emptyBetween(low, high)
	switch {
	case some == "":
		return "", empty
	case empty:
		return `("." ` + some + ")?", true
	}
	return `"." ` + some, true
}

// between returns an expression of 1 to n digits within the bounds, or "".
func between(low fraction, high *fraction, n int) string {
	if n == 0 {
		return ""
	}
	if high == nil && low.digits == "" && !low.open {
		return fmt.Sprintf("[0-9]{1,%d}", n)
	}
	var out []string
	first, lowRest := low.step()
	last, highRest := byte('9'), (*fraction)(nil)
	if high != nil {
		var rest fraction
		last, rest = high.step()
		highRest = &rest
	}
	one := func(from, to byte, low fraction, high *fraction) {
		if from > to {
			return
		}
		rest := between(low, high, n-1)
		empty := emptyBetween(low, high)
		switch {
		case rest == "" && !empty:
		case rest == "":
			out = append(out, digit(from, to))
		case empty:
			out = append(out, digit(from, to)+" ("+rest+")?")
		default:
			out = append(out, digit(from, to)+" "+rest)
		}
	}
	switch {
	case high == nil:
		one(first, first, lowRest, nil)
		one(first+1, '9', fraction{}, nil)
	case first == last:
		one(first, first, lowRest, highRest)
	case first < last:
		one(first, first, lowRest, nil)
		one(first+1, last-1, fraction{}, nil)
		one(last, last, fraction{}, highRest)
	}
	if len(out) == 0 {
		return ""
	}
	return either(out)
}

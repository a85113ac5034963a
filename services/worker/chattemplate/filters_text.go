package chattemplate

import (
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// toInt is Python's int(), with Jinja2's default for what is not a number.
func toInt(a []jinja.Value, k kwargs) (jinja.Value, error) {
	v := a[0]
	if v.IsNumber() || v.IsBool() {
		return jinja.NewInt(int64(number(v))), nil
	}
	if v.IsString() {
		s := strings.TrimSpace(v.AsString())
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return jinja.NewInt(n), nil
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return jinja.NewInt(int64(f)), nil
		}
	}
	if d := arg(a, k, 1, "default"); !d.IsUndefined() {
		return d, nil
	}
	return jinja.NewInt(0), nil
}

// toFloat is Python's float(), with Jinja2's default.
func toFloat(a []jinja.Value, k kwargs) (jinja.Value, error) {
	v := a[0]
	if v.IsNumber() || v.IsBool() {
		return jinja.NewFloat(number(v)), nil
	}
	if v.IsString() {
		if f, err := strconv.ParseFloat(strings.TrimSpace(v.AsString()), 64); err == nil {
			return jinja.NewFloat(f), nil
		}
	}
	if d := arg(a, k, 1, "default"); !d.IsUndefined() {
		return d, nil
	}
	return jinja.NewFloat(0), nil
}

package chattemplate

import (
	"fmt"
	"strings"

	"github.com/ardanlabs/jinja"
)

// tests are Jinja2's, by name; the first argument is what stands before "is".
var tests = map[string]func(args []jinja.Value) (bool, error){
	"defined":   one(func(v jinja.Value) bool { return !v.IsUndefined() }),
	"undefined": one(jinja.Value.IsUndefined),
	"none":      one(jinja.Value.IsNone),
	"boolean":   one(jinja.Value.IsBool),
	"integer":   one(jinja.Value.IsInt),
	"float":     one(jinja.Value.IsFloat),
	"number":    one(func(v jinja.Value) bool { return v.IsNumber() || v.IsBool() }),
	"string":    one(jinja.Value.IsString),
	"mapping":   one(jinja.Value.IsDict),
	"iterable":  one(func(v jinja.Value) bool { return sized(v) || v.IsUndefined() }),
	"sequence":  one(func(v jinja.Value) bool { return sized(v) || v.IsUndefined() }),
	"callable":  one(jinja.Value.IsCallable),
	"true":      one(func(v jinja.Value) bool { return v.IsBool() && v.AsBool() }),
	"false":     one(func(v jinja.Value) bool { return v.IsBool() && !v.AsBool() }),
	"odd":       one(func(v jinja.Value) bool { return v.IsInt() && v.AsInt()%2 != 0 }),
	"even":      one(func(v jinja.Value) bool { return v.IsInt() && v.AsInt()%2 == 0 }),
	"upper":     one(func(v jinja.Value) bool { return isUpper(text(v)) }),
	"lower":     one(func(v jinja.Value) bool { return isLower(text(v)) }),
	"divisibleby": two(func(x, y jinja.Value) bool {
		return x.IsInt() && y.IsInt() && y.AsInt() != 0 && x.AsInt()%y.AsInt() == 0
	}),
	"eq": two(equal), "equalto": two(equal), "sameas": two(same),
	"ne": two(func(x, y jinja.Value) bool { return !equal(x, y) }),
	"gt": two(func(x, y jinja.Value) bool { return compare(x, y) > 0 }),
	"ge": two(func(x, y jinja.Value) bool { return compare(x, y) >= 0 }),
	"lt": two(func(x, y jinja.Value) bool { return compare(x, y) < 0 }),
	"le": two(func(x, y jinja.Value) bool { return compare(x, y) <= 0 }),
	"in": two(contains), "greaterthan": two(func(x, y jinja.Value) bool { return compare(x, y) > 0 }),
	"lessthan": two(func(x, y jinja.Value) bool { return compare(x, y) < 0 }),
	"filter":   one(func(v jinja.Value) bool { return filters[text(v)] != nil }),
	"test":     one(func(v jinja.Value) bool { return knownTest(text(v)) }),
}

// knownTest looks into tests, which cannot name itself.
var knownTest func(string) bool

func init() { knownTest = func(name string) bool { return tests[name] != nil } }

func one(f func(jinja.Value) bool) func([]jinja.Value) (bool, error) {
	return func(a []jinja.Value) (bool, error) { return f(a[0]), nil }
}

func two(f func(x, y jinja.Value) bool) func([]jinja.Value) (bool, error) {
	return func(a []jinja.Value) (bool, error) {
		if len(a) < 2 {
			return false, fmt.Errorf("a test that compares has nothing to compare with")
		}
		return f(a[0], a[1]), nil
	}
}

// sized says that Python's len() takes v.
func sized(v jinja.Value) bool { return v.IsList() || v.IsDict() || v.IsString() }

func equal(x, y jinja.Value) bool {
	if (x.IsNumber() || x.IsBool()) && (y.IsNumber() || y.IsBool()) {
		return number(x) == number(y)
	}
	return x.Equals(y)
}

// same is Python's "is" where it can be told: two equal lists are not the same.
func same(x, y jinja.Value) bool {
	switch {
	case x.IsList() && y.IsList():
		return x.AsList() == y.AsList()
	case x.IsDict() && y.IsDict():
		return x.AsDict() == y.AsDict()
	}
	return x.Equals(y)
}

func contains(x, in jinja.Value) bool {
	if in.IsString() {
		return x.IsString() && strings.Contains(in.AsString(), x.AsString())
	}
	for _, v := range items(in) {
		if equal(v, x) {
			return true
		}
	}
	return false
}

package chattemplate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ardanlabs/jinja"
)

// kwargs are a call's named arguments.
type kwargs = map[string]jinja.Value

type fn = func(args []jinja.Value, named kwargs) (jinja.Value, error)

// filters are those that the library lacks or does otherwise than Jinja2. The first argument is what
// stands before the bar. It is filled by init, because map looks into it.
var filters map[string]fn

func init() {
	filters = map[string]fn{
		"tojson": toJSON, "string": toString, "list": toList, "first": first, "last": last, "length": length,
		"count": length, "map": mapFilter, "join": join, "sort": sortFilter, "dictsort": dictSort,
		"select": selection(false, true), "reject": selection(false, false),
		"selectattr": selection(true, true), "rejectattr": selection(true, false),
		"round": round, "attr": attr, "sum": sum, "int": toInt, "float": toFloat, "items": itemsFilter,
		"default": defaultFilter, "d": defaultFilter, "trim": onText("strip"), "lower": onText("lower"),
		"upper": onText("upper"), "capitalize": onText("capitalize"), "title": onText("title"), "replace": onText("replace"),
	}
}

// onText is a string's method as a filter, which takes anything for a string.
func onText(method string) fn {
	return func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		a = slices.Clone(a)
		a[0] = str(text(a[0]))
		return stringMethods[method](a, k)
	}
}

// arg is argument i or the one of that name, else Undefined.
func arg(args []jinja.Value, named kwargs, i int, name string) jinja.Value {
	if v, ok := named[name]; ok {
		return v
	}
	if i < len(args) {
		return args[i]
	}
	return jinja.Undefined()
}

func str(s string) jinja.Value { return jinja.NewString(s) }

func strs(in []string) jinja.Value {
	out := make([]jinja.Value, len(in))
	for i, s := range in {
		out[i] = str(s)
	}
	return jinja.NewList(out)
}

// items is what Python would iterate over.
func items(v jinja.Value) []jinja.Value {
	switch {
	case v.IsList():
		return v.AsList().Items
	case v.IsDict():
		return strs(v.AsDict().Keys).AsList().Items
	case v.IsString():
		return strs(strings.Split(v.AsString(), "")).AsList().Items
	}
	return nil
}

func toJSON(a []jinja.Value, k kwargs) (jinja.Value, error) {
	f := jsonForm{item: ", ", key: ": ", ascii: arg(a, k, 1, "ensure_ascii").IsTruthy(), sorted: arg(a, k, 4, "sort_keys").IsTruthy()}
	switch indent := arg(a, k, 2, "indent"); {
	case indent.IsInt():
		if indent.AsInt() > 64 {
			return str(""), fmt.Errorf("tojson: an indent of %d is too large", indent.AsInt())
		}
		f.item, f.lines, f.indent = ",", true, strings.Repeat(" ", max(0, int(indent.AsInt())))
	case indent.IsString():
		f.item, f.lines, f.indent = ",", true, indent.AsString()
	}
	if s := items(arg(a, k, 3, "separators")); len(s) == 2 {
		f.item, f.key = text(s[0]), text(s[1])
	}
	var b strings.Builder
	f.write(&b, a[0], 0)
	return str(b.String()), nil
}

func toString(a []jinja.Value, _ kwargs) (jinja.Value, error) { return str(text(a[0])), nil }

func toList(a []jinja.Value, _ kwargs) (jinja.Value, error) {
	return jinja.NewList(slices.Clone(items(a[0]))), nil
}

func first(a []jinja.Value, _ kwargs) (jinja.Value, error) {
	if all := items(a[0]); len(all) > 0 {
		return all[0], nil
	}
	return jinja.Undefined(), nil
}

func last(a []jinja.Value, _ kwargs) (jinja.Value, error) {
	if all := items(a[0]); len(all) > 0 {
		return all[len(all)-1], nil
	}
	return jinja.Undefined(), nil
}

func length(a []jinja.Value, _ kwargs) (jinja.Value, error) {
	if v := a[0]; v.IsNone() || v.IsNumber() || v.IsBool() {
		return v, fmt.Errorf("length: %s has none", text(v))
	}
	return jinja.NewInt(int64(len(items(a[0])))), nil
}

// at follows a.b.0 into v, as map(attribute=…) and selectattr do.
func at(v jinja.Value, path string) jinja.Value {
	for _, name := range strings.Split(path, ".") {
		found := jinja.Undefined()
		if v.IsDict() {
			if x, ok := v.AsDict().Get(name); ok {
				found = x
			}
		}
		v = found
	}
	return v
}

func itemsFilter(a []jinja.Value, _ kwargs) (jinja.Value, error) {
	switch {
	case a[0].IsUndefined():
		return jinja.NewList(nil), nil
	case !a[0].IsDict():
		return a[0], errors.New("items: not a mapping")
	}
	return jinja.NewList(pairs(a[0].AsDict())), nil
}

func defaultFilter(a []jinja.Value, k kwargs) (jinja.Value, error) {
	if !a[0].IsUndefined() && (a[0].IsTruthy() || !arg(a, k, 2, "boolean").IsTruthy()) {
		return a[0], nil
	}
	if v := arg(a, k, 1, "default_value"); !v.IsUndefined() {
		return v, nil
	}
	return str(""), nil
}

func attr(a []jinja.Value, k kwargs) (jinja.Value, error) {
	return at(a[0], text(arg(a, k, 1, "name"))), nil
}

func mapFilter(a []jinja.Value, k kwargs) (jinja.Value, error) {
	all := items(a[0])
	out := make([]jinja.Value, len(all))
	if path, ok := k["attribute"]; ok {
		for i, v := range all {
			if out[i] = at(v, text(path)); out[i].IsUndefined() {
				out[i] = arg(nil, k, 0, "default")
			}
		}
		return jinja.NewList(out), nil
	}
	if len(a) < 2 {
		return a[0], errors.New("map: names no filter")
	}
	apply := filters[text(a[1])]
	if apply == nil {
		return a[0], fmt.Errorf("map: the filter %q is not known", text(a[1]))
	}
	for i, v := range all {
		var err error
		if out[i], err = apply(append([]jinja.Value{v}, a[2:]...), k); err != nil {
			return a[0], err
		}
	}
	return jinja.NewList(out), nil
}

// selection is select, reject and their forms for an attribute.
func selection(byAttr, want bool) fn {
	return func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
		all, rest, path := items(a[0]), a[1:], ""
		if byAttr {
			if len(rest) == 0 {
				return a[0], errors.New("selectattr: names no attribute")
			}
			path, rest = text(rest[0]), rest[1:]
		}
		holds := func(v jinja.Value) (bool, error) { return v.IsTruthy(), nil }
		if len(rest) > 0 {
			name := text(rest[0])
			if tests[name] == nil {
				return a[0], fmt.Errorf("the test %q is not known", name)
			}
			holds = func(v jinja.Value) (bool, error) { return tests[name](append([]jinja.Value{v}, rest[1:]...)) }
		}
		var out []jinja.Value
		for _, v := range all {
			x := v
			if byAttr {
				x = at(v, path)
			}
			ok, err := holds(x)
			if err != nil {
				return a[0], err
			}
			if ok == want {
				out = append(out, v)
			}
		}
		return jinja.NewList(out), nil
	}
}

func join(a []jinja.Value, k kwargs) (jinja.Value, error) {
	var b strings.Builder
	path, separator := arg(a, k, 2, "attribute"), text(arg(a, k, 1, "d"))
	for i, v := range items(a[0]) {
		if i > 0 {
			b.WriteString(separator)
		}
		if !path.IsUndefined() {
			v = at(v, text(path))
		}
		b.WriteString(text(v))
	}
	return str(b.String()), nil
}

// sortKey is what Jinja2 compares, without case unless asked for.
func sortKey(v jinja.Value, caseSensitive bool) jinja.Value {
	if v.IsString() && !caseSensitive {
		return str(strings.ToLower(v.AsString()))
	}
	return v
}

func sortFilter(a []jinja.Value, k kwargs) (jinja.Value, error) {
	path, cased := arg(a, k, 3, "attribute"), arg(a, k, 2, "case_sensitive").IsTruthy()
	return sorted(items(a[0]), arg(a, k, 1, "reverse").IsTruthy(), func(v jinja.Value) jinja.Value {
		if !path.IsUndefined() {
			v = at(v, text(path))
		}
		return sortKey(v, cased)
	}), nil
}

func sorted(in []jinja.Value, reverse bool, key func(jinja.Value) jinja.Value) jinja.Value {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(x, y jinja.Value) int {
		if reverse {
			x, y = y, x
		}
		return compare(key(x), key(y))
	})
	return jinja.NewList(out)
}

func compare(x, y jinja.Value) int {
	if x.IsString() && y.IsString() {
		return strings.Compare(x.AsString(), y.AsString())
	}
	a, b := number(x), number(y)
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func number(v jinja.Value) float64 {
	switch {
	case v.IsInt():
		return float64(v.AsInt())
	case v.IsFloat():
		return v.AsFloat()
	case v.IsBool() && v.AsBool():
		return 1
	}
	return 0
}

func dictSort(a []jinja.Value, k kwargs) (jinja.Value, error) {
	if !a[0].IsDict() {
		return a[0], errors.New("dictsort: not a mapping")
	}
	index, cased := 0, arg(a, k, 1, "case_sensitive").IsTruthy()
	if text(arg(a, k, 2, "by")) == "value" {
		index = 1
	}
	return sorted(pairs(a[0].AsDict()), arg(a, k, 3, "reverse").IsTruthy(), func(v jinja.Value) jinja.Value {
		return sortKey(v.AsList().Get(index), cased)
	}), nil
}

func pairs(d *jinja.Dict) []jinja.Value {
	out := make([]jinja.Value, 0, d.Len())
	for _, key := range d.Keys {
		out = append(out, jinja.NewList([]jinja.Value{str(key), d.Data[key]}))
	}
	return out
}

func sortedStrings(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return out
}

func round(a []jinja.Value, k kwargs) (jinja.Value, error) {
	pow := math.Pow(10, number(arg(a, k, 1, "precision")))
	f := number(a[0]) * pow
	switch text(arg(a, k, 2, "method")) {
	case "ceil":
		f = math.Ceil(f)
	case "floor":
		f = math.Floor(f)
	default:
		f = math.RoundToEven(f)
	}
	return jinja.NewFloat(f / pow), nil
}

func sum(a []jinja.Value, k kwargs) (jinja.Value, error) {
	path, total, whole := arg(a, k, 1, "attribute"), number(arg(a, k, 2, "start")), true
	for _, v := range items(a[0]) {
		if !path.IsUndefined() {
			v = at(v, text(path))
		}
		whole = whole && !v.IsFloat()
		total += number(v)
	}
	if whole {
		return jinja.NewInt(int64(total)), nil
	}
	return jinja.NewFloat(total), nil
}

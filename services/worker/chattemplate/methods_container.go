package chattemplate

import (
	"errors"
	"slices"

	"github.com/ardanlabs/jinja"
)

var listMethods = map[string]fn{
	"append": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		a[0].AsList().Append(arg(a, k, 1, "object"))
		return jinja.None(), nil
	},
	"extend": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		l := a[0].AsList()
		l.Items = append(l.Items, items(arg(a, k, 1, "iterable"))...)
		return jinja.None(), nil
	},
	"insert": func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
		if len(a) < 3 {
			return a[0], errors.New("insert: needs a place and a value")
		}
		l := a[0].AsList()
		l.Items = slices.Insert(l.Items, place(a[1], l.Len()), a[2])
		return jinja.None(), nil
	},
	"pop": func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
		l := a[0].AsList()
		i := l.Len() - 1
		if len(a) > 1 {
			i = place(a[1], l.Len())
		}
		if i < 0 || i >= l.Len() {
			return a[0], errors.New("pop: index out of range")
		}
		v := l.Items[i]
		l.Items = slices.Delete(l.Items, i, i+1)
		return v, nil
	},
	"index": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		want := arg(a, k, 1, "value")
		i := slices.IndexFunc(a[0].AsList().Items, func(v jinja.Value) bool { return equal(v, want) })
		if i < 0 {
			return a[0], errors.New("index: not in the list")
		}
		return jinja.NewInt(int64(i)), nil
	},
	"count": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		n := 0
		for _, v := range a[0].AsList().Items {
			if equal(v, arg(a, k, 1, "value")) {
				n++
			}
		}
		return jinja.NewInt(int64(n)), nil
	},
	"copy": func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
		return jinja.NewList(slices.Clone(a[0].AsList().Items)), nil
	},
}

// place is an index of Python's into a list of n, cut to 0..n.
func place(v jinja.Value, n int) int {
	i := int(number(v))
	if i < 0 {
		i += n
	}
	return min(max(i, 0), n)
}

var dictMethods = map[string]fn{
	"items": func(a []jinja.Value, _ kwargs) (jinja.Value, error) { return jinja.NewList(pairs(a[0].AsDict())), nil },
	"keys":  func(a []jinja.Value, _ kwargs) (jinja.Value, error) { return strs(a[0].AsDict().Keys), nil },
	"values": func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
		d := a[0].AsDict()
		out := make([]jinja.Value, 0, d.Len())
		for _, k := range d.Keys {
			out = append(out, d.Data[k])
		}
		return jinja.NewList(out), nil
	},
	"get": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		if v, ok := a[0].AsDict().Get(text(arg(a, k, 1, "key"))); ok {
			return v, nil
		}
		return orNone(arg(a, k, 2, "default")), nil
	},
	"pop": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		d, key := a[0].AsDict(), text(arg(a, k, 1, "key"))
		v, ok := d.Get(key)
		if !ok {
			return orNone(arg(a, k, 2, "default")), nil
		}
		remove(d, key)
		return v, nil
	},
	"update": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		d := a[0].AsDict()
		if len(a) > 1 && a[1].IsDict() {
			for _, key := range a[1].AsDict().OrderedKeys() {
				d.Set(key, a[1].AsDict().Data[key])
			}
		}
		return jinja.None(), setAll(d, k)
	},
	"setdefault": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		d, key := a[0].AsDict(), text(arg(a, k, 1, "key"))
		if !d.Has(key) {
			d.Set(key, orNone(arg(a, k, 2, "default")))
		}
		return d.Data[key], nil
	},
	"copy": func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
		out := jinja.NewDict()
		for _, k := range a[0].AsDict().Keys {
			out.AsDict().Set(k, a[0].AsDict().Data[k])
		}
		return out, nil
	},
}

func remove(d *jinja.Dict, key string) {
	delete(d.Data, key)
	d.Keys = slices.DeleteFunc(d.Keys, func(k string) bool { return k == key })
}

func orNone(v jinja.Value) jinja.Value {
	if v.IsUndefined() {
		return jinja.None()
	}
	return v
}

// setAll sets named arguments, whose order the library does not keep, by name.
func setAll(d *jinja.Dict, named kwargs) error {
	keys := make([]string, 0, len(named))
	for k := range named {
		keys = append(keys, k)
	}
	for _, k := range sortedStrings(keys) {
		d.Set(k, named[k])
	}
	return nil
}

package chattemplate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"
)

// methods are the names that are called as x.name(…) on a string, a list or a dict.
var methods = map[string]bool{}

func init() {
	for _, of := range []map[string]fn{stringMethods, listMethods, dictMethods} {
		for name := range of {
			methods[name] = true
		}
	}
}

// method calls a method by the kind of the value it belongs to. A dict's own callable, as in a
// namespace, is called where Python's dict has no method of that name.
func method(name string) fn {
	return func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		v, f := a[0], fn(nil)
		switch {
		case v.IsString():
			f = stringMethods[name]
		case v.IsList():
			f = listMethods[name]
		case v.IsDict():
			if f = dictMethods[name]; f == nil {
				if own := at(v, name); own.IsCallable() {
					return own.AsCallable().Fn(a[1:], k)
				}
			}
		}
		if f == nil {
			return v, fmt.Errorf("%s is not a method of %.80s", name, text(v))
		}
		return f(a, k)
	}
}

var stringMethods = map[string]fn{
	"strip":  trims(strings.TrimFunc),
	"lstrip": trims(strings.TrimLeftFunc),
	"rstrip": trims(strings.TrimRightFunc),
	"split":  splitMethod, "rsplit": splitMethodRight,
	"splitlines": func(a []jinja.Value, _ kwargs) (jinja.Value, error) { return strs(splitLines(a[0].AsString())), nil },
	"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
	"removeprefix": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		return str(strings.TrimPrefix(a[0].AsString(), text(arg(a, k, 1, "prefix")))), nil
	},
	"removesuffix": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		return str(strings.TrimSuffix(a[0].AsString(), text(arg(a, k, 1, "suffix")))), nil
	},
	"replace": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		n := -1
		if v := arg(a, k, 3, "count"); v.IsInt() {
			n = int(v.AsInt())
		}
		return str(strings.Replace(a[0].AsString(), text(arg(a, k, 1, "old")), text(arg(a, k, 2, "new")), n)), nil
	},
	"upper":      mapped(strings.ToUpper),
	"lower":      mapped(strings.ToLower),
	"casefold":   mapped(strings.ToLower),
	"title":      mapped(title),
	"capitalize": mapped(capitalize),
	"count":      counted(strings.Count),
	"find":       counted(func(s, sub string) int { return runeIndex(s, strings.Index(s, sub)) }),
	"rfind":      counted(func(s, sub string) int { return runeIndex(s, strings.LastIndex(s, sub)) }),
	"index":      counted(func(s, sub string) int { return runeIndex(s, strings.Index(s, sub)) }),
	"isdigit":    every(unicode.IsDigit),
	"isalpha":    every(unicode.IsLetter),
	"isspace":    every(unicode.IsSpace),
	"isalnum":    every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
	"isupper": func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
		return jinja.NewBool(isUpper(a[0].AsString())), nil
	},
	"islower": func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
		return jinja.NewBool(isLower(a[0].AsString())), nil
	},
	"join": func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		return join([]jinja.Value{arg(a, k, 1, "iterable"), a[0]}, nil)
	},
	"format": format, "partition": partition(strings.Index), "rpartition": partition(strings.LastIndex),
}

func trims(trim func(string, func(rune) bool) string) fn {
	return func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		cut := unicode.IsSpace
		if set := arg(a, k, 1, "chars"); set.IsString() {
			cut = func(r rune) bool { return strings.ContainsRune(set.AsString(), r) }
		}
		return str(trim(a[0].AsString(), cut)), nil
	}
}

// splits reads the arguments that split and rsplit share; most is -1 without a limit.
func splits(a []jinja.Value, k kwargs) (s, sep string, most int, bySpace bool, err error) {
	most = -1
	if v := arg(a, k, 2, "maxsplit"); v.IsInt() {
		most = int(v.AsInt())
	}
	by := arg(a, k, 1, "sep")
	if by.IsString() && by.AsString() == "" {
		err = errors.New("split: empty separator")
	}
	return a[0].AsString(), text(by), most, !by.IsString(), err
}

func splitMethod(a []jinja.Value, k kwargs) (jinja.Value, error) {
	s, sep, most, bySpace, err := splits(a, k)
	switch {
	case err != nil:
		return a[0], err
	case most < 0 && bySpace:
		return strs(strings.Fields(s)), nil
	case most < 0:
		return strs(strings.Split(s, sep)), nil
	case !bySpace:
		return strs(strings.SplitN(s, sep, most+1)), nil
	}
	var out []string
	for s = strings.TrimLeftFunc(s, unicode.IsSpace); s != ""; s = strings.TrimLeftFunc(s, unicode.IsSpace) {
		i := strings.IndexFunc(s, unicode.IsSpace)
		if i < 0 || len(out) == most {
			return strs(append(out, s)), nil
		}
		out, s = append(out, s[:i]), s[i:]
	}
	return strs(out), nil
}

func splitMethodRight(a []jinja.Value, k kwargs) (jinja.Value, error) {
	s, sep, most, bySpace, err := splits(a, k)
	if err != nil || most < 0 || bySpace {
		return splitMethod(a, k)
	}
	var out []string
	for len(out) < most {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		out, s = append(out, s[i+len(sep):]), s[:i]
	}
	slices.Reverse(out)
	return strs(append([]string{s}, out...)), nil
}

func splitLines(s string) []string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	if s = strings.TrimSuffix(s, "\n"); s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// affix is startswith and endswith, which take a tuple, too.
func affix(has func(s, part string) bool) fn {
	return func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		want := []jinja.Value{arg(a, k, 1, "prefix")}
		if want[0].IsList() {
			want = want[0].AsList().Items
		}
		for _, w := range want {
			if w.IsString() && has(a[0].AsString(), w.AsString()) {
				return jinja.NewBool(true), nil
			}
		}
		return jinja.NewBool(false), nil
	}
}

func mapped(f func(string) string) fn {
	return func(a []jinja.Value, _ kwargs) (jinja.Value, error) { return str(f(a[0].AsString())), nil }
}

func counted(f func(s, sub string) int) fn {
	return func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		return jinja.NewInt(int64(f(a[0].AsString(), text(arg(a, k, 1, "sub"))))), nil
	}
}

func runeIndex(s string, at int) int {
	if at < 0 {
		return at
	}
	return utf8.RuneCountInString(s[:at])
}

func every(is func(rune) bool) fn {
	return func(a []jinja.Value, _ kwargs) (jinja.Value, error) {
		s := a[0].AsString()
		return jinja.NewBool(s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0), nil
	}
}

func isUpper(s string) bool { return s == strings.ToUpper(s) && s != strings.ToLower(s) }

func isLower(s string) bool { return s == strings.ToLower(s) && s != strings.ToUpper(s) }

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + strings.ToLower(s[n:])
}

func title(s string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		was := inWord
		if inWord = unicode.IsLetter(r); inWord && !was {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func partition(index func(s, sub string) int) fn {
	return func(a []jinja.Value, k kwargs) (jinja.Value, error) {
		s, sep := a[0].AsString(), text(arg(a, k, 1, "sep"))
		if i := index(s, sep); i >= 0 {
			return strs([]string{s[:i], sep, s[i+len(sep):]}), nil
		}
		return strs([]string{s, "", ""}), nil
	}
}

// format is str.format for {}, {0} and {name}.
func format(a []jinja.Value, k kwargs) (jinja.Value, error) {
	var b strings.Builder
	rest, next := a[0].AsString(), 1
	for {
		before, after, found := strings.Cut(rest, "{")
		b.WriteString(strings.ReplaceAll(before, "}}", "}"))
		if !found {
			return str(b.String()), nil
		}
		if strings.HasPrefix(after, "{") {
			b.WriteByte('{')
			rest = after[1:]
			continue
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return a[0], errors.New("format: a { has no }")
		}
		i := next
		if name == "" {
			next++
		} else if _, err := fmt.Sscanf(name, "%d", &i); err == nil {
			i++
		} else {
			i = len(a)
		}
		b.WriteString(text(arg(a, k, i, name)))
		rest = tail
	}
}

package chattemplate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"
)

// maxDepth is how deep a client's JSON may lie.
const maxDepth = 64

// decode reads one JSON value and keeps the order of keys, which Python's dicts keep, too.
func decode(raw []byte) (jinja.Value, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := decodeNext(d, 0)
	if err != nil {
		return jinja.Undefined(), err
	}
	if _, err := d.Token(); err != io.EOF {
		return jinja.Undefined(), fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

func decodeNext(d *json.Decoder, depth int) (jinja.Value, error) {
	t, err := d.Token()
	if err != nil {
		return jinja.Undefined(), err
	}
	switch t := t.(type) {
	case json.Delim:
		if depth++; depth > maxDepth {
			return jinja.Undefined(), fmt.Errorf("JSON lies deeper than %d", maxDepth)
		}
		if t == '[' {
			return decodeList(d, depth)
		}
		return decodeDict(d, depth)
	default:
		return jinja.FromGoValue(t), nil
	}
}

func decodeList(d *json.Decoder, depth int) (jinja.Value, error) {
	v := jinja.NewList(nil)
	for d.More() {
		item, err := decodeNext(d, depth)
		if err != nil {
			return v, err
		}
		v.AsList().Append(item)
	}
	_, err := d.Token()
	return v, err
}

func decodeDict(d *json.Decoder, depth int) (jinja.Value, error) {
	v := jinja.NewDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return v, err
		}
		item, err := decodeNext(d, depth)
		if err != nil {
			return v, err
		}
		v.AsDict().Set(key.(string), item)
	}
	_, err := d.Token()
	return v, err
}

// text is Python's str().
func text(v jinja.Value) string {
	switch {
	case v.IsString():
		return v.AsString()
	case v.IsUndefined():
		return ""
	}
	var b strings.Builder
	repr(&b, v)
	return b.String()
}

// repr is Python's repr().
func repr(b *strings.Builder, v jinja.Value) {
	switch {
	case v.IsNone():
		b.WriteString("None")
	case v.IsBool() && v.AsBool():
		b.WriteString("True")
	case v.IsBool():
		b.WriteString("False")
	case v.IsInt():
		b.WriteString(strconv.FormatInt(v.AsInt(), 10))
	case v.IsFloat():
		b.WriteString(float(v.AsFloat()))
	case v.IsString():
		reprString(b, v.AsString())
	case v.IsList():
		b.WriteByte('[')
		for i, item := range v.AsList().Items {
			if i > 0 {
				b.WriteString(", ")
			}
			repr(b, item)
		}
		b.WriteByte(']')
	case v.IsDict():
		d := v.AsDict()
		b.WriteByte('{')
		for i, k := range d.Keys {
			if i > 0 {
				b.WriteString(", ")
			}
			reprString(b, k)
			b.WriteString(": ")
			repr(b, d.Data[k])
		}
		b.WriteByte('}')
	default:
		b.WriteString("Undefined")
	}
}

// float is Python's repr of a float: the shortest text that reads back as f.
func float(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+"))
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

var pythonEscapes = map[rune]string{'\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

func reprString(b *strings.Builder, s string) {
	q := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b.WriteRune(q)
	for _, r := range s {
		switch e := pythonEscapes[r]; {
		case e != "":
			b.WriteString(e)
		case r == q:
			b.WriteString(`\` + string(r))
		case unicode.IsPrint(r) || isMark(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteRune(q)
}

// jsonForm is how Python's json.dumps is to write.
type jsonForm struct {
	item, key string // separators
	indent    string // of one level
	lines     bool   // whether there is one item a line
	ascii     bool
	sorted    bool
}

// write is json.dumps. transformers calls it with ensure_ascii False and without Jinja2's escaping of
// HTML (transformers/utils/chat_template_utils.py).
func (f jsonForm) write(b *strings.Builder, v jinja.Value, level int) {
	switch {
	case v.IsString():
		f.str(b, v.AsString())
	case v.IsBool():
		b.WriteString(strconv.FormatBool(v.AsBool()))
	case v.IsFloat() && math.IsNaN(v.AsFloat()):
		b.WriteString("NaN")
	case v.IsFloat() && math.IsInf(v.AsFloat(), 0):
		b.WriteString(strings.Replace(float(v.AsFloat()), "inf", "Infinity", 1))
	case v.IsNumber():
		repr(b, v)
	case v.IsList():
		items := v.AsList().Items
		f.all(b, "[]", len(items), level, func(i int) { f.write(b, items[i], level+1) })
	case v.IsDict():
		d := v.AsDict()
		keys := d.Keys
		if f.sorted {
			keys = sortedStrings(keys)
		}
		f.all(b, "{}", len(keys), level, func(i int) {
			f.str(b, keys[i])
			b.WriteString(f.key)
			f.write(b, d.Data[keys[i]], level+1)
		})
	default:
		b.WriteString("null")
	}
}

func (f jsonForm) all(b *strings.Builder, brackets string, n, level int, item func(int)) {
	b.WriteByte(brackets[0])
	for i := range n {
		if i > 0 {
			b.WriteString(f.item)
		}
		f.newline(b, level+1)
		item(i)
	}
	if n > 0 {
		f.newline(b, level)
	}
	b.WriteByte(brackets[1])
}

func (f jsonForm) newline(b *strings.Builder, level int) {
	if f.lines {
		b.WriteByte('\n')
		for range level {
			b.WriteString(f.indent)
		}
	}
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (f jsonForm) str(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch e := jsonEscapes[r]; {
		case e != "":
			b.WriteString(e)
		case r < 0x20 || f.ascii && r >= 0x7f && r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		case f.ascii && r >= utf8.RuneSelf && !isMark(r):
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

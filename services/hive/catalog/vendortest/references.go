package vendortest

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

var plainName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

func checkName(t testing.TB, c Case) {
	name := c.New(t).Name()
	if !plainName.MatchString(name) {
		t.Errorf("Name() is %q: it should be a short word of a-z, 0-9 and -", name)
	}
	for range 3 {
		v := c.New(t)
		for range 2 {
			if again := v.Name(); again != name {
				t.Errorf("Name() is %q, then %q", name, again)
			}
		}
	}
}

// optional is a part of a form that may be left out.
var optional = regexp.MustCompile(`\[([^\[\]]*)\]`)

func checkForms(t testing.TB, c Case) {
	v := c.New(t)
	forms := v.Forms()
	if len(forms) == 0 {
		t.Error("Forms() is empty")
	}
	for _, form := range forms {
		if !plain(form) || form == "" {
			t.Errorf("the form %q cannot be shown", form)
		}
		for _, ref := range []string{optional.ReplaceAllString(form, ""), optional.ReplaceAllString(form, "$1")} {
			if !c.supports(t, v, ref) {
				t.Errorf("the vendor has the form %q and does not support %q", form, ref)
			}
		}
	}
}

func checkSupports(t testing.TB, c Case) {
	v := c.New(t)
	before := c.requests()
	for _, r := range c.Refs {
		if !c.supports(t, v, r.Ref) {
			t.Errorf("Supports refuses %q, which resolves", r.Ref)
		}
	}
	for _, ref := range append(slices.Clone(c.Malformed), c.Denied...) {
		if !c.supports(t, v, ref) {
			t.Errorf("Supports refuses %q, which is this vendor's", ref)
		}
	}
	for _, ref := range append([]string{""}, c.NotMine...) {
		if c.supports(t, v, ref) {
			t.Errorf("Supports takes %q, which is not this vendor's", ref)
		}
	}
	if n := c.requests() - before; n > 0 {
		t.Errorf("Supports asked the source %d times", n)
	}
}

func (c Case) requests() int {
	if c.Gate == nil {
		return 0
	}
	return c.Gate.Requests()
}

// hostile is what someone may write as a reference, alone or around a good one.
func (c Case) hostile() []string {
	out := []string{
		" ", "\x00", "\xff\xfe", "\u202egguf.x", "\ufeff", "..", "../../etc/passwd", "/", "\\", "//", ":", "::", "@", "#", "?", "%", "%zz",
		"a:b:c:d", "a/b/c/d/e@f#g?h", "http://", "https://", "https://[::1", "https://%zz/x.gguf", "https://:0/x.gguf", "file:///etc/passwd",
		"CON.gguf", "x.gguf", ".gguf", "x-00001-of-00000.gguf", "x-00009-of-99999.gguf", "-", "--help", "$(x)", "\r\nHost: x", "~",
		strings.Repeat("a", 1<<20), strings.Repeat("a/", 1<<16), strings.Repeat("[", 1<<16), strings.Repeat(":", 1<<16),
	}
	good := append(append([]string{c.Unknown}, c.Malformed...), c.NotMine...)
	for _, r := range c.Refs {
		good = append(good, r.Ref)
	}
	for _, ref := range good {
		for i := range min(len(ref), 200) {
			out = append(out, ref[:i], ref[i:])
		}
		for _, x := range []string{"\x00", "\n", "\xff", "/..", "%2e%2e", ":", "@", "#", "#sha256=", "?", "[", strings.Repeat("0", 1<<16)} {
			out = append(out, ref+x, x+ref)
		}
	}
	return out
}

// checkHostile has a context that has ended: nothing is to be asked of anybody, and nothing may panic.
func checkHostile(t testing.TB, c Case) {
	v := c.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := c.requests()
	for _, ref := range c.hostile() {
		if t.Failed() {
			return // one tells enough
		}
		if !c.supports(t, v, ref) {
			continue
		}
		if a, err := c.resolve(ctx, t, v, ref); err == nil {
			c.wellFormed(t, v, ref, a)
		} else if !plain(err.Error()) || len(err.Error()) > 4<<10 {
			t.Errorf("the error of Resolve(%.80q) cannot be shown: %.200q", ref, err.Error())
		}
	}
	for _, source := range c.hostile() {
		if t.Failed() {
			return
		}
		f := vendor.File{Name: source, Kind: vendor.Model, SizeBytes: -1, Source: source}
		if b, err := c.fetch(ctx, t, v, f, vendor.Whole); err == nil {
			c.closes(t, b)
		}
	}
	if n := c.requests() - before; n > 0 {
		t.Errorf("the source was asked %d times after the context's end", n)
	}
}

func checkOffline(t testing.TB, c Case) {
	v := c.New(t)
	if _, local := v.(vendor.Local); local != c.Offline {
		t.Errorf("that it is a vendor.Local is %v; that it needs no network is %v", local, c.Offline)
	}
	o, ok := v.(vendor.Offerer)
	if !ok {
		return
	}
	for _, ref := range o.Offers() {
		if !c.supports(t, v, ref) {
			t.Errorf("the vendor offers %q and does not support it", ref)
		}
		c.wellFormed(t, v, ref, c.must(t, v, ref))
	}
}

func checkMalformed(t testing.TB, c Case) {
	v := c.New(t)
	before := c.requests()
	for _, ref := range c.Malformed {
		_, err := c.resolve(t.Context(), t, v, ref)
		toldAs(t, "malformed "+ref, err, messages.CodeBadRequest, true)
	}
	if n := c.requests() - before; n > 0 {
		t.Errorf("the source was asked %d times about malformed references", n)
	}
}

func checkUnknown(t testing.TB, c Case) {
	if c.Unknown == "" {
		t.Skip("the vendor has no unknown names")
	}
	v := c.New(t)
	if !c.supports(t, v, c.Unknown) {
		t.Errorf("Supports refuses %q", c.Unknown)
	}
	_, err := c.resolve(t.Context(), t, v, c.Unknown)
	toldAs(t, "unknown "+c.Unknown, err, messages.CodeModelUnknown, true)
	if vendor.Temporary(err) {
		t.Errorf("an unknown name is worth another try: %v", err)
	}
}

func checkDenied(t testing.TB, c Case) {
	v := c.New(t)
	for _, ref := range c.Denied {
		a, err := c.resolve(t.Context(), t, v, ref)
		if err == nil { // what may not be had may be known: then the file is denied
			_, err = c.fetch(t.Context(), t, v, a.Files[0], vendor.Whole)
		}
		toldAs(t, "denied "+ref, err, messages.CodeDenied, true)
		if vendor.Temporary(err) {
			t.Errorf("what is denied is worth another try: %v", err)
		}
	}
}

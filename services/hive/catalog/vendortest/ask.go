package vendortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// within fails the test if fn panics or does not end in time.
func (c Case) within(t testing.TB, what string, fn func()) {
	t.Helper()
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		fn()
	}()
	end := time.NewTimer(c.Limit)
	defer end.Stop()
	select {
	case p := <-done:
		if p != nil {
			t.Fatalf("%s panics: %v", what, p)
		}
	case <-end.C:
		t.Fatalf("%s does not end within %v", what, c.Limit)
	}
}

// supports asks v about ref, and that it always says the same.
func (c Case) supports(t testing.TB, v vendor.Vendor, ref string) bool {
	t.Helper()
	var first, second bool
	c.within(t, fmt.Sprintf("Supports(%.80q)", ref), func() { first, second = v.Supports(ref), v.Supports(ref) })
	if first != second {
		t.Errorf("Supports(%.80q) says %v, then %v", ref, first, second)
	}
	return first
}

func (c Case) resolve(ctx context.Context, t testing.TB, v vendor.Vendor, ref string) (a *vendor.Artifact, err error) {
	t.Helper()
	c.within(t, fmt.Sprintf("Resolve(%.80q)", ref), func() { a, err = v.Resolve(ctx, ref) })
	c.noSecrets(t, "Resolve's error", errorText(err))
	if err == nil && a == nil {
		t.Fatalf("Resolve(%.80q) gives neither an artifact nor an error", ref)
	}
	return a, err
}

// must resolves a reference that is known to be there.
func (c Case) must(t testing.TB, v vendor.Vendor, ref string) *vendor.Artifact {
	t.Helper()
	a, err := c.resolve(t.Context(), t, v, ref)
	if err != nil {
		t.Fatalf("Resolve(%q): %v", ref, err)
	}
	return a
}

func (c Case) fetch(ctx context.Context, t testing.TB, v vendor.Vendor, f vendor.File, r vendor.Range) (b *vendor.Body, err error) {
	t.Helper()
	c.within(t, fmt.Sprintf("Fetch(%q, %d-%d)", f.Name, r.From, r.To), func() { b, err = v.Fetch(ctx, &f, r) })
	c.noSecrets(t, "Fetch's error", errorText(err))
	if err == nil && (b == nil || b.ReadCloser == nil) {
		t.Fatalf("Fetch(%q) gives neither a body nor an error", f.Name)
	}
	return b, err
}

// read fetches r and returns every byte that comes, at most limit, and how its reader ended (nil at EOF).
func (c Case) read(t testing.TB, v vendor.Vendor, f vendor.File, r vendor.Range, limit int) (*vendor.Body, []byte, error) {
	t.Helper()
	b, err := c.fetch(t.Context(), t, v, f, r)
	if err != nil {
		return nil, nil, err
	}
	var data []byte
	c.within(t, "reading "+f.Name, func() { data, err = io.ReadAll(io.LimitReader(b, int64(limit)+1)) })
	c.closes(t, b)
	c.noSecrets(t, "a reader's error", errorText(err))
	return b, data, err
}

func (c Case) closes(t testing.TB, b *vendor.Body) {
	t.Helper()
	c.within(t, "Close", func() { _ = b.Close() })
}

// noSecrets fails if text shows one.
func (c Case) noSecrets(t testing.TB, what, text string) {
	t.Helper()
	for _, s := range c.Secrets {
		if strings.Contains(text, s) {
			t.Errorf("%s shows a secret: %q", what, text)
		}
	}
}

// errorText is what of an error can be seen: its own text, the message and hint, and its causes.
func errorText(err error) string {
	var b strings.Builder
	for ; err != nil; err = errors.Unwrap(err) {
		fmt.Fprintln(&b, err.Error())
		if e, ok := errors.AsType[*messages.Error](err); ok {
			fmt.Fprintln(&b, e.Op, e.Message, e.Hint)
		}
	}
	return b.String()
}

// toldAs checks an error: a [messages.Error] with that code, an operation and a sentence; with a hint where
// the user can act.
func toldAs(t testing.TB, what string, err error, code messages.Code, hint bool) {
	t.Helper()
	if err == nil {
		t.Errorf("%s is no error, it should be %s", what, code)
		return
	}
	e, ok := errors.AsType[*messages.Error](err)
	if !ok {
		t.Errorf("%s is a %T and no messages.Error: %v", what, err, err)
		return
	}
	switch {
	case e.Code != code:
		t.Errorf("%s has the code %s, not %s: %v", what, e.Code, code, e)
	case e.Op == "" || e.Message == "":
		t.Errorf("%s does not say what was tried and what went wrong: %#v", what, e)
	case hint && e.Hint == "":
		t.Errorf("%s has no hint: %v", what, e)
	case !plain(e.Error()):
		t.Errorf("%s has control characters: %q", what, e.Error())
	}
}

// plain says whether a text can be shown on a terminal.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// remote is the files of a that are fetched, with what they hold.
func remote(r Ref, a *vendor.Artifact) (files []vendor.File, contents [][]byte) {
	for i, f := range a.Files {
		if f.InPlace == "" && i < len(r.Files) && r.Files[i].Content != nil {
			files, contents = append(files, f), append(contents, r.Files[i].Content)
		}
	}
	return files, contents
}

// target is the file that the gate holds up: the largest.
func (c Case) target(t testing.TB, v vendor.Vendor) (vendor.File, []byte) {
	t.Helper()
	ref, _ := c.largest()
	i := slices.IndexFunc(c.Refs, func(r Ref) bool { return r.Ref == ref })
	if i < 0 {
		t.Skip("all of its files are used in place")
	}
	files, contents := remote(c.Refs[i], c.must(t, v, ref))
	var file vendor.File
	var content []byte
	for i := range files {
		if len(contents[i]) > len(content) {
			file, content = files[i], contents[i]
		}
	}
	if content == nil {
		t.Skip("all of its files are used in place")
	}
	return file, content
}

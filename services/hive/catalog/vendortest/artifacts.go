package vendortest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func checkResolve(t testing.TB, c Case) {
	v := c.New(t)
	for _, r := range c.Refs {
		a := c.must(t, v, r.Ref)
		c.wellFormed(t, v, r.Ref, a)
		if r.Name != "" && a.Name != r.Name {
			t.Errorf("%q is named %q, not %q", r.Ref, a.Name, r.Name)
		}
		if len(a.Files) != len(r.Files) {
			t.Errorf("%q has %d files, not %d: %+v", r.Ref, len(a.Files), len(r.Files), a.Files)
			continue
		}
		for i, want := range r.Files {
			sameFile(t, r.Ref, a.Files[i], want)
		}
	}
}

// sameFile compares what is said of a file with what it holds.
func sameFile(t testing.TB, ref string, f vendor.File, want File) {
	t.Helper()
	if want.Name != "" && f.Name != want.Name || f.Kind != want.Kind {
		t.Errorf("%q has the file %q (%s) where it has %q (%s)", ref, f.Name, f.Kind, want.Name, want.Kind)
	}
	if want.Content == nil {
		return
	}
	if f.SizeBytes >= 0 && f.SizeBytes != int64(len(want.Content)) {
		t.Errorf("%q: %q is said to have %d bytes, it has %d", ref, f.Name, f.SizeBytes, len(want.Content))
	}
	if d := digest(want.Content); f.Digest != "" && f.Digest != d {
		t.Errorf("%q: %q is said to have the digest %s, it has %s", ref, f.Name, f.Digest, d)
	}
	if f.InPlace == "" {
		return
	}
	data, err := os.ReadFile(f.InPlace)
	if err != nil || string(data) != string(want.Content) {
		t.Errorf("%q: what lies at %q is not what is expected: %d bytes, %v", ref, f.InPlace, len(data), err)
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

var (
	validDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	kinds       = map[vendor.Kind]bool{vendor.Model: true, vendor.Template: true, vendor.GoTemplate: true, vendor.Params: true,
		vendor.System: true, vendor.License: true, vendor.Projector: true}
)

// wellFormed checks what every artifact has, whatever it is.
func (c Case) wellFormed(t testing.TB, v vendor.Vendor, ref string, a *vendor.Artifact) {
	t.Helper()
	if !publicName(a.Name) {
		t.Errorf("%.80q: the name %q is no public name", ref, a.Name)
	}
	if !plain(a.Ref) || a.Ref == "" || !c.supports(t, v, a.Ref) {
		t.Errorf("%.80q: its full reference %q is not supported", ref, a.Ref)
	}
	if len(a.Files) == 0 || a.Files[0].Kind != vendor.Model {
		t.Errorf("%.80q: the files of the model are not first: %+v", ref, a.Files)
	}
	others := false
	for _, f := range a.Files {
		others = others || f.Kind != vendor.Model
		switch {
		case f.Kind == vendor.Model && others:
			t.Errorf("%.80q: %q comes after files that are no model", ref, f.Name)
		case !kinds[f.Kind]:
			t.Errorf("%.80q: %q has the unknown kind %q", ref, f.Name, f.Kind)
		case f.Name == "" || !plain(f.Name):
			t.Errorf("%.80q: a file has the name %q", ref, f.Name)
		case f.SizeBytes < -1:
			t.Errorf("%.80q: %q has %d bytes", ref, f.Name, f.SizeBytes)
		case f.Digest != "" && !validDigest.MatchString(f.Digest):
			t.Errorf("%.80q: %q has the digest %q", ref, f.Name, f.Digest)
		case f.InPlace != "" && !filepath.IsAbs(f.InPlace):
			t.Errorf("%.80q: %q lies at %q, which is no absolute path", ref, f.Name, f.InPlace)
		}
	}
	c.discreet(t, ref, a)
}

// discreet checks the texts of an artifact.
func (c Case) discreet(t testing.TB, ref string, a *vendor.Artifact) {
	t.Helper()
	shown := append([]string{a.Name, a.License, a.Quantization, a.Architecture, a.Revision}, a.Notes...)
	kept := []string{a.Ref}
	for _, f := range a.Files {
		shown = append(shown, f.Name, f.InPlace)
		kept = append(kept, f.Source)
	}
	text := strings.Join(shown, "\n")
	c.noSecrets(t, "an artifact", text)
	for _, s := range shown {
		if !plain(s) {
			t.Errorf("%.80q: the artifact's text %q cannot be shown", ref, s)
		}
	}
	for _, s := range c.Secrets {
		if !strings.Contains(ref, s) && strings.Contains(strings.Join(kept, "\n"), s) {
			t.Errorf("%.80q: its Ref or a Source holds a secret", ref)
		}
	}
}

// publicName says whether a client can ask for it, and a person read it.
func publicName(s string) bool {
	hidden := func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || r == '\\' }
	if len(s) > 255 || !plain(s) || strings.ContainsFunc(s, hidden) {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// checkAgain has a reference and the artifact's own full one stand for the same, for other vendors too.
func checkAgain(t testing.TB, c Case) {
	v := c.New(t)
	for _, r := range c.Refs {
		first := c.must(t, v, r.Ref)
		same(t, r.Ref, first, c.must(t, v, r.Ref))
		same(t, first.Ref, first, c.must(t, v, first.Ref))
		same(t, first.Ref, first, c.must(t, c.New(t), first.Ref))
	}
}

// checkSpelling has what a reference is spelt as mean the same, and be spelt as it is.
func checkSpelling(t testing.TB, c Case) {
	v := c.New(t)
	s, ok := v.(vendor.Speller)
	if !ok {
		t.Skip("the vendor is no vendor.Speller")
	}
	refs := append([]string{}, c.Malformed...)
	for _, r := range c.Refs {
		first := c.must(t, v, r.Ref)
		same(t, r.Ref, first, c.must(t, v, s.Spell(r.Ref)))
		refs = append(refs, r.Ref, first.Ref, s.Spell(r.Ref))
	}
	before := c.requests()
	for _, ref := range append(refs, c.hostile()...) {
		var one, two string
		c.within(t, "spelling", func() { one = s.Spell(ref); two = s.Spell(one) })
		switch {
		case one != two:
			t.Errorf("%.80q is spelt %.80q, and that is spelt %.80q", ref, one, two)
		case one != ref && c.supports(t, v, ref) && !c.supports(t, v, one):
			t.Errorf("%.80q is spelt %.80q, which is not supported", ref, one)
		case slices.Contains(c.Malformed, ref) && one != ref:
			t.Errorf("malformed %.80q is spelt %.80q", ref, one)
		}
	}
	if n := c.requests() - before; n > 0 {
		t.Errorf("the source was asked %d times how a reference is spelt", n)
	}
}

// same compares artifacts but for notes, which tell how a reference was understood.
func same(t testing.TB, ref string, a, b *vendor.Artifact) {
	t.Helper()
	x, y := *a, *b
	x.Notes, y.Notes = nil, nil
	if !reflect.DeepEqual(x, y) {
		t.Errorf("%q stands for another artifact than before:\n%+v\n%+v", ref, x, y)
	}
}

func checkConcurrentResolve(t testing.TB, c Case) {
	v := c.New(t)
	const each = 6
	got := make([]*vendor.Artifact, each*len(c.Refs))
	errs := make([]error, len(got))
	c.within(t, "resolving at once", func() {
		var all sync.WaitGroup
		for i := range got {
			all.Go(func() { got[i], errs[i] = v.Resolve(t.Context(), c.Refs[i/each].Ref) })
		}
		all.Wait()
	})
	for i, a := range got {
		if errs[i] != nil || a == nil {
			t.Fatalf("Resolve(%q), several at once: %v", c.Refs[i/each].Ref, errs[i])
		}
		same(t, c.Refs[i/each].Ref, got[i/each*each], a)
	}
}

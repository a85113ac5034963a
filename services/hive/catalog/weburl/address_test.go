package weburl

import (
	"context"
	"errors"
	"io"
	"log"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
)

var quiet = log.New(io.Discard, "", 0)

func TestParse(t *testing.T) {
	for ref, want := range map[string]struct{ name, address string }{ // no name: refused
		"https://host/a/x.gguf":                                             {"x", "https://host/a/x.gguf"},
		"HTTPS://HOST/a/x.GGUF":                                             {"x", "https://host/a/x.GGUF"},
		"https://host:8443/x.gguf?b=c&d=e":                                  {"x", "https://host:8443/x.gguf?b=c&d=e"},
		"https://host/x.gguf#sha256=" + digest:                              {"x", "https://host/x.gguf#sha256=" + digest},
		"https://host#sha256=" + digest:                                     {"host", "https://host#sha256=" + digest},
		"https://host/#sha256=" + digest:                                    {"host", "https://host/#sha256=" + digest},
		"http://host/x?y=z#sha256=" + digest:                                {"x", "http://host/x?y=z#sha256=" + digest},
		"http://127.0.0.1:80/x.gguf":                                        {"x", "http://127.0.0.1:80/x.gguf"},
		"http://127.9.8.7/x.gguf":                                           {"x", "http://127.9.8.7/x.gguf"},
		"http://[::1]/x.gguf":                                               {"x", "http://[::1]/x.gguf"},
		"http://[::ffff:127.0.0.1]/x.gguf":                                  {"x", "http://[::ffff:127.0.0.1]/x.gguf"},
		"http://LocalHost:1/x.gguf":                                         {"x", "http://localhost:1/x.gguf"},
		"https://host/a b.gguf":                                             {"a-b", "https://host/a%20b.gguf"},
		"https://host/a%2F..%2Fb.gguf":                                      {"b", "https://host/a%2F..%2Fb.gguf"},
		"https://host/%1b[2J.gguf":                                          {"%1b[2J", "https://host/%1b[2J.gguf"},
		"https://host/..%2F..gguf":                                          {"-", "https://host/..%2F..gguf"},
		"https://host/x-00002-of-00003.gguf":                                {"x", "https://host/x-00002-of-00003.gguf"},
		"https://host/a@b/x.gguf":                                           {"x", "https://host/a@b/x.gguf"},
		"http://localhost.evil.com/x.gguf":                                  {},
		"http://128.0.0.1/x.gguf":                                           {},
		"http://127.1/x.gguf":                                               {},
		"http://0x7f000001/x.gguf":                                          {},
		"http://127.0.0.1@evil.com/x.gguf":                                  {},
		"https://" + strings.Repeat("a", 9000) + "/x.gguf":                  {},
		"https://host/" + strings.Repeat("a", maxAddress-18) + ".gguf.gguf": {},
	} {
		a, err := parse(ref)
		if want.name == "" {
			if messages.CodeOf(err) != messages.CodeBadRequest {
				t.Errorf("%.80q: %v", ref, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", ref, err)
		} else if a.publicName() != want.name || a.String() != want.address {
			t.Errorf("%q: the name is %q, the address %q", ref, a.publicName(), a)
		}
	}
}

func TestShow(t *testing.T) {
	for ref, want := range map[string]string{
		"https://host/a@b/x.gguf?token=1#sha256=2": `"https://host/a@b/x.gguf"`,
		"https://u:p@host/x.gguf":                  `"https://host/x.gguf"`,
		"https://u:%zz/@host/x.gguf":               `"https://.../x.gguf"`,
		"https://u:p/w@host/x.gguf":                `"https://.../x.gguf"`,
		"https://host/\x1b.gguf":                   `"https://.../\x1b.gguf"`,
		"https://user:password":                    `"https://..."`,
		"https://us:er/password@x":                 `"https://..."`,
		"user:password":                            "given",
	} {
		if got := show(ref); got != want {
			t.Errorf("of %q %s is shown, not %s", ref, got, want)
		}
	}
}

// FuzzReference has any reference: what is taken means the same when written out, and what is shown of it,
// or of its error, shows neither query nor user.
func FuzzReference(f *testing.F) {
	for _, s := range []string{
		"https://host/x.gguf", "https://u:p@host/x.gguf", "https://host/x.gguf?t=QQQ", "http://127.0.0.1/x.gguf", "http://[::1%25lo]/x.gguf", "http://[::1%25\xff]/.gguf",
		"https://host/x-00001-of-00003.gguf?t=QQQ", "https://host/%2e%2e/%2f.gguf", "https://host:1/x?QQQ#sha256=" + digest, "https://[::1/x.gguf",
		"https://host/\xff.gguf", "https://u:%zz@QQQ/x.gguf", "https://ho\u202est/x.gguf", "https://host/x.gguf#", "https://host//x.gguf", "https://host/x.gguf?",
		"https://u:p/w@host/x.gguf", "https://host/%F0.gguf", "https://host/%E2%80%AE.gguf", "https://HOST%41/x.gguf", "http://LOCALHOST/x.gguf",
	} {
		f.Add(s)
	}
	w := newVendor()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, ref string) {
		if !w.Supports(ref) {
			return
		}
		if _, err := w.Resolve(ended, ref); err == nil || !plain(err.Error()) || len(err.Error()) > 2000 {
			t.Errorf("%q: Resolve's error is %q", ref, err)
		} else if _, ok := errors.AsType[*messages.Error](err); !ok {
			t.Errorf("%q: %T", ref, err)
		}
		a, err := parse(ref)
		if err != nil {
			return
		}
		if again, err := parse(a.String()); err != nil || again.String() != a.String() || again.digest != a.digest || !w.Supports(a.String()) {
			t.Errorf("%q is written out as %q, which is %v, %v", ref, a, again, err)
		}
		if a.url.User != nil || a.url.Scheme == "http" && a.digest == "" && !loopback(a.url) {
			t.Errorf("%q is taken", ref)
		}
		if strings.Contains(a.shown, "?") || !plain(a.shown) || !plain(a.fileName()) || a.fileName() == "" || strings.ContainsAny(a.publicName(), "/\\: ") {
			t.Errorf("%q is shown as %s, named %q and %q", ref, a.shown, a.fileName(), a.publicName())
		}
		parts, err := a.parts()
		for _, p := range parts {
			if q, err := parse(p.String()); err != nil || q.url.Host != a.url.Host || q.url.Scheme != a.url.Scheme || q.url.RawQuery != a.url.RawQuery {
				t.Errorf("%q has the part %q: %v", ref, p, err)
			}
		}
		if err == nil && len(parts) == 0 {
			t.Errorf("%q has no parts", ref)
		}
	})
}

func plain(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

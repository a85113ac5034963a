package huggingface

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const sha = "0123456789abcdef0123456789abcdef01234567"

func TestInformation(t *testing.T) {
	for body, want := range map[string]info{
		`{"id":"o/r","sha":"` + sha + `"}`:                                                                              {Repo: "o/r", Commit: sha},
		`{"id":"../r","sha":"` + sha + `","cardData":{"license":["mit","x"]},"gated":"auto"}`:                           {Commit: sha, License: "mit", Gated: true},
		`{"id":7,"sha":"` + sha + `","cardData":"x","tags":["a",3,"license:llama3.1"],"gated":false}`:                   {Commit: sha, License: "llama3.1"},
		`{"sha":"` + sha + `","cardData":null,"tags":null,"gguf":{"architecture":"qwen3","context_length":9}}`:          {Commit: sha, Architecture: "qwen3", ContextLength: 9},
		`{"sha":"` + sha + `","cardData":{"license":"\u001b[31m"},"gguf":{"architecture":["x"],"context_length":1e99}}`: {Commit: sha},
		`{"sha":"` + sha + `","gguf":{"architecture":"a\nb","context_length":-4}}`:                                      {Commit: sha},
	} {
		if got, err := parseInfo([]byte(body)); err != nil || got != want {
			t.Errorf("%s is %+v, %v", body, got, err)
		}
	}
	for _, body := range []string{``, `[]`, `{}`, `{"sha":"main"}`, `{"sha":"` + sha + `x"}`, `{"sha":"../../../../../../../../../../../../../..aa"}`, `{"sha":7}`} {
		if got, err := parseInfo([]byte(body)); err == nil {
			t.Errorf("%s is %+v", body, got)
		}
	}
}

var badTrees = []string{
	``, `{}`, `[1]`, `[{"type":"file","path":"m.gguf","size":"9"}]`,
	`[{"type":"file","path":"m.gguf","size":-1}]`,
	`[{"type":"file","path":"m.gguf","size":9223372036854775807}]`,
	`[{"type":"file","path":"m.gguf","size":9,"lfs":{"oid":"sha256:x","size":9}}]`,
	`[{"type":"file","path":"m.gguf","size":9,"lfs":{"oid":"` + strings.Repeat("A", 64) + `","size":9}}]`,
	`[{"type":"file","path":"m.gguf","size":9,"lfs":{"oid":"` + strings.Repeat("a", 64) + `","size":8}}]`,
}

func TestTrees(t *testing.T) {
	for _, body := range badTrees {
		if files, _, err := parseTree([]byte(body)); err == nil {
			t.Errorf("%s is %+v", body, files)
		}
	}
	bad := `[{"type":"file","path":%s,"size":9}]`
	for _, path := range []string{`"../m.gguf"`, `"/m.gguf"`, `"a//m.gguf"`, `"a/./m.gguf"`, `"a\\m.gguf"`, `"a\u0000.gguf"`, `"m\u202e.gguf"`, `"m%2f.gguf"`, `""`, `"` + strings.Repeat("a", 1025) + `"`} {
		if files, n, err := parseTree(fmt.Appendf(nil, bad, path)); err != nil || len(files) != 0 || n != 1 {
			t.Errorf("the path %s is taken: %+v, %v", path, files, err)
		}
	}
}

func TestTreesThatNeverEnd(t *testing.T) {
	hub, v := with(t, fakehub.Repo{Name: "o/r", Files: lfs("a.gguf", "b.gguf")})
	many, _ := json.Marshal(make([]map[string]string, maxEntries+1))
	large := []byte(`["` + strings.Repeat("x", maxTree) + `"]`)
	for name, answer := range map[string][]byte{"entries": many, "bytes": large} {
		hub.Mangle(func(path string, body []byte) []byte {
			if strings.Contains(path, "/tree/") {
				return answer
			}
			return body
		})
		if _, err := v.Resolve(t.Context(), "hf:o/r"); messages.CodeOf(err) != messages.CodeBadRequest {
			t.Errorf("too many %s: %v", name, err)
		}
	}
}

// FuzzAnswers has a hub answer anything. What comes of it is an error or a sound artifact.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"id":"o/r","sha":"`+sha+`","cardData":{"license":"mit"},"gguf":{"architecture":"a","context_length":1}}`),
		[]byte(`[{"type":"file","path":"m-Q4_K_M-00001-of-00002.gguf","size":9},{"type":"file","path":"m-Q4_K_M-00002-of-00002.gguf","size":9},{"type":"file","path":"m-Q4_K_M-00002-of-00002.GGUF","size":9},{"type":"directory","path":"x"}]`), "")
	f.Add([]byte(`{"sha":"`+sha+`"}`), []byte(`[{"type":"file","path":"mmproj.gguf","size":9},{"type":"file","path":"a b@c:d/ü.gguf","size":9,"lfs":{"oid":"`+strings.Repeat("a", 64)+`","size":9}}]`), "Q4")
	for _, tree := range badTrees {
		f.Add([]byte(`{"sha":"`+sha+`"}`), []byte(tree), "Q8_0")
	}
	f.Fuzz(func(t *testing.T, information, tree []byte, quant string) {
		i, err := parseInfo(information)
		if err == nil && (!commitShape.MatchString(i.Commit) || i.Repo != "" && !validRepo(i.Repo) || i.ContextLength < 0 || i.ContextLength > math.MaxInt32 || strings.ContainsAny(i.License+i.Architecture, "\n\x1b")) {
			t.Errorf("%q is %+v", information, i)
		}
		entries, _, err := parseTree(tree)
		if err != nil {
			return
		}
		c := sortOut(entries)
		if len(c.models) == 0 {
			return
		}
		r := reference{Repo: "o/r", Quant: quant}
		m, _, err := c.choose(r)
		if err != nil {
			if messages.CodeOf(err) != messages.CodeModelUnknown {
				t.Error(err)
			}
			return
		}
		i.Commit = sha
		a := artifact(r, i, &c, m)
		parts := 0
		for _, f := range a.Files {
			src, err := (&Vendor{}).source(&f)
			if err != nil || src.Path != f.Name || src.Revision != sha || f.SizeBytes < 0 {
				t.Errorf("%+v: %+v, %v", f, src, err)
			}
			if f.Kind == vendor.Model {
				parts++
			}
		}
		if parts != m.of || len(a.Name) > 255 || strings.ContainsAny(a.Name, " \n\\") {
			t.Errorf("%d parts of %d: %+v", parts, m.of, a)
		}
		if r, err := New(at()).parse(a.Ref); err != nil || r.Path != a.Files[0].Name {
			t.Errorf("%q: %+v, %v", a.Ref, r, err)
		}
	})
}

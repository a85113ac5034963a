package ollama

import (
	"cmp"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestReferences(t *testing.T) {
	for ref, want := range map[string]reference{
		"ollama:qwen3":                                   {"", "library", "qwen3", "latest", ""},
		"ollama:qwen3:8b":                                {"", "library", "qwen3", "8b", ""},
		"ollama:llama3:8b-instruct-q4_K_M":               {"", "library", "llama3", "8b-instruct-q4_K_M", ""},
		"ollama:library/qwen3":                           {"", "library", "qwen3", "latest", ""},
		"ollama:bee/Hive.2:x":                            {"", "bee", "Hive.2", "x", ""},
		"ollama:hf.co/bartowski/Llama-3.2-1B-GGUF:Q8_0":  {"hf.co", "bartowski", "Llama-3.2-1B-GGUF", "Q8_0", ""},
		"ollama:https://HF.co/a/b":                       {"hf.co", "a", "b", "latest", ""},
		"ollama:localhost:5000/a/b":                      {"localhost:5000", "a", "b", "latest", ""},
		"ollama:http://127.0.0.1:5000/a/b:c":             {"127.0.0.1:5000", "a", "b", "c", ""},
		"ollama:localhost:5000":                          {"", "library", "localhost", "5000", ""},
		"ollama:registry.ollama.ai/library/qwen3":        {"", "library", "qwen3", "latest", ""},
		"ollama:ollama.com/library/qwen3:8b":             {"", "library", "qwen3", "8b", ""},
		"ollama:https://ollama.com/library/qwen3:8b":     {"", "library", "qwen3", "8b", ""},
		"https://ollama.com/library/qwen3":               {"", "library", "qwen3", "latest", ""},
		"https://ollama.com/library/qwen3:8b?x=1#readme": {"", "library", "qwen3", "8b", ""},
		"https://ollama.com/bee/hive/":                   {"", "bee", "hive", "latest", ""},
		"http://WWW.Ollama.com/qwen3":                    {"", "library", "qwen3", "latest", ""},
		"ollama.com/library/qwen3:8b":                    {"", "library", "qwen3", "8b", ""},
		"ollama:qwen3:8b@" + someDigest:                  {"", "library", "qwen3", "8b", someDigest},
		"ollama:hf.co/a/b@" + someDigest:                 {"hf.co", "a", "b", "", someDigest},
	} {
		got, err := parse(ref)
		if err != nil || got != want || !supports(ref) {
			t.Errorf("%q is %+v, %v, not %+v", ref, got, err, want)
		}
	}
}

func TestPublicNames(t *testing.T) {
	for ref, want := range map[string]string{
		"ollama:qwen3":                       "ollama:qwen3:latest",
		"https://ollama.com/library/qwen3":   "ollama:qwen3:latest",
		"ollama:bee/hive:x":                  "ollama:bee/hive:x",
		"ollama:hf.co/library/b":             "ollama:hf.co/library/b:latest",
		"ollama:qwen3:8b@" + someDigest:      "ollama:qwen3:8b",
		"ollama:qwen3@" + someDigest:         "ollama:qwen3@" + someDigest,
		"ollama:http://127.0.0.1:5000/a/b:c": "ollama:127.0.0.1:5000/a/b:c",
	} {
		r, err := parse(ref)
		if err != nil || r.public() != want {
			t.Errorf("%q has the name %q, %v, not %q", ref, r.public(), err, want)
		}
		full := r.pinned(someDigest)
		if again, err := parse(full); err != nil || again.digest != someDigest || again.public() != want {
			t.Errorf("%q: its full reference %q is %+v, %v", ref, full, again, err)
		}
	}
}

// malformedRefs look like Ollama's and are none.
var malformedRefs = []string{
	"ollama:", "ollama:/", "ollama:x/", "ollama:/x", "ollama:x:", "ollama::x", "ollama:x:y:z", "ollama:..", "ollama:../x", "ollama:x/..",
	"ollama:a/../b", "ollama:.x", "ollama:-x", "ollama:a.b/x", "ollama:a/b/c/d", "ollama:x y", "ollama:x\x00", "ollama:x\n", "ollama:\u0445",
	"ollama:x%2f..", "ollama:x?y", "ollama:x#y", "ollama:x:a/b:c:d", "ollama:x@", "ollama:x@sha256:12", "ollama:x@sha512:" + strings.Repeat("0", 64),
	"ollama:x@" + strings.ToUpper(someDigest), "ollama:x@" + someDigest + "@" + someDigest, "ollama:" + strings.Repeat("x", 81),
	"ollama:x:" + strings.Repeat("y", 81), "ollama:http://hf.co/a/b", "ollama:https://127.0.0.1:5000/a/b", "ollama:ftp://hf.co/a/b",
	"ollama:https://x", "ollama:hf.co:99999/a/b", "ollama:hf.co:0/a/b", "ollama:user:pw@hf.co/a/b", "ollama:hf.co:x/a/b", "ollama:[::1]:5000/a/b",
	"ollama:" + strings.Repeat("h", 200) + "/" + strings.Repeat("n", 80) + "/x", "ollama:" + strings.Repeat("x", 1<<20),
	"https://ollama.com/", "https://ollama.com/library/x/tags", "ollama.com/library/x/blobs/123", "https://ollama.com/library/x:y:z", "https://ollama.com/library/x y",
}

func TestMalformedReferences(t *testing.T) {
	for _, ref := range malformedRefs {
		r, err := parse(ref)
		e, ok := err.(*messages.Error) //nolint:errorlint // parse returns it as it is
		if !ok || e.Code != messages.CodeBadRequest || e.Hint == "" || len(e.Error()) > 1000 || !supports(ref) {
			t.Errorf("%.100q is %+v, %v", ref, r, err)
		}
	}
	for _, ref := range []string{"", "qwen3", "Ollama:qwen3", "hf:a/b", "a/b", "ollama", "https://example.com/ollama.com/x", "https://ollama.com.evil.example/x",
		"https://ollama.com@evil.example/x", "ftp://ollama.com/x", "/ollama.com/x", "xollama.com/x", "https://ollama.com"} {
		if supports(ref) {
			t.Errorf("%q is taken for one of Ollama's", ref)
		}
		if _, err := parse(ref); messages.CodeOf(err) != messages.CodeBadRequest {
			t.Errorf("%q: %v", ref, err)
		}
	}
}

func FuzzReference(f *testing.F) {
	f.Add("ollama:hf.co/a/B.c:d@" + someDigest)
	f.Add("ollama:b@" + strings.Replace(someDigest, "0", "1", 1))
	f.Add("https://ollama.com/library/qwen3:8b?a#b")
	f.Add("ollama:http://localhost:5000/a/b")
	for _, ref := range malformedRefs {
		f.Add(ref[:min(len(ref), 600)])
	}
	f.Fuzz(func(t *testing.T, ref string) {
		r, err := parse(ref)
		if err != nil {
			if messages.CodeOf(err) != messages.CodeBadRequest {
				t.Fatalf("%q: %v", ref, err)
			}
			return
		}
		if !supports(ref) {
			t.Fatalf("%q parses and is not supported", ref)
		}
		for _, s := range []string{r.public(), r.pinned(cmp.Or(r.digest, someDigest))} {
			again, err := parse(s)
			if err != nil || again.public() != r.public() || again.host != r.host || again.repository() != r.repository() {
				t.Fatalf("%q becomes %q, which is %+v, %v", ref, s, again, err)
			}
		}
		for _, part := range []string{r.name, r.namespace} {
			if strings.Trim(part, ".") == "" || strings.ContainsAny(part, "/\\%?#@: \x00") || len(part) > 80 {
				t.Fatalf("%q has the part %q", ref, part)
			}
		}
	})
}

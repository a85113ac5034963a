package huggingface

import (
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

// at is an environment in which only the given variables are set: name, value, …
func at(vars ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(vars); i += 2 {
			if vars[i] == name {
				return vars[i+1]
			}
		}
		return ""
	}
}

func TestParse(t *testing.T) {
	sha := strings.Repeat("0a", 20)
	for ref, want := range map[string]reference{
		"hf:org/repo":                                                                  {Repo: "org/repo"},
		"HF:org/repo":                                                                  {Repo: "org/repo"},
		"hf://org/repo":                                                                {Repo: "org/repo"},
		"org/repo":                                                                     {Repo: "org/repo"},
		"hf:org/repo@main":                                                             {Repo: "org/repo"},
		"hf:Qwen/Qwen3-8B-GGUF:Q4_K_M":                                                 {Repo: "Qwen/Qwen3-8B-GGUF", Quant: "Q4_K_M"},
		"Qwen/Qwen3-8B-GGUF:ud-q4_k_xl@v1.0":                                           {Repo: "Qwen/Qwen3-8B-GGUF", Quant: "ud-q4_k_xl", Revision: "v1.0"},
		"hf:org/repo:latest":                                                           {Repo: "org/repo"},
		"hf:org/repo/m.gguf":                                                           {Repo: "org/repo", Path: "m.gguf"},
		"hf:org/repo/a b/ü-m.GGUF@refs/pr/3":                                           {Repo: "org/repo", Path: "a b/ü-m.GGUF", Revision: "refs/pr/3"},
		"org/repo/sub/m.gguf@" + sha:                                                   {Repo: "org/repo", Path: "sub/m.gguf", Revision: sha},
		"hf:org/repo/UD-Q4_K_XL":                                                       {Repo: "org/repo", Path: "UD-Q4_K_XL"},
		"hf:org/repo/a@b.gguf@dev":                                                     {Repo: "org/repo", Path: "a@b.gguf", Revision: "dev"},
		"https://huggingface.co/org/repo":                                              {Repo: "org/repo"},
		"https://huggingface.co/org/repo/":                                             {Repo: "org/repo"},
		"https://HuggingFace.co/org/repo?library=x":                                    {Repo: "org/repo"},
		"https://hf.co/org/repo#usage":                                                 {Repo: "org/repo"},
		"huggingface.co/org/repo:Q8_0":                                                 {Repo: "org/repo", Quant: "Q8_0"},
		"hf.co/org/repo:Q4":                                                            {Repo: "org/repo", Quant: "Q4"},
		"https://huggingface.co/org/repo/tree/main":                                    {Repo: "org/repo"},
		"https://huggingface.co/org/repo/tree/v1/a/b":                                  {Repo: "org/repo", Path: "a/b", Revision: "v1"},
		"https://huggingface.co/org/repo/tree/refs%2Fpr%2F3":                           {Repo: "org/repo", Revision: "refs/pr/3"},
		"https://huggingface.co/org/repo/tree/refs/pr/3/x":                             {Repo: "org/repo", Revision: "refs/pr/3", Path: "x"},
		"https://huggingface.co/org/repo/blob/main/a%20b/m.gguf":                       {Repo: "org/repo", Path: "a b/m.gguf"},
		"https://huggingface.co/org/repo/resolve/main/m.gguf?download=true":            {Repo: "org/repo", Path: "m.gguf"},
		"https://huggingface.co/org/repo/blob/main/a@b.gguf":                           {Repo: "org/repo", Path: "a@b.gguf"},
		"https://huggingface.co/org/repo?show_file_info=a%2Fm.gguf":                    {Repo: "org/repo", Path: "a/m.gguf"},
		"https://huggingface.co/org/repo/tree/v1?x=y&show_file_info=m.gguf":            {Repo: "org/repo", Path: "m.gguf", Revision: "v1"},
		"hf.co/org/repo:Q8_0?show_file_info=m.gguf":                                    {Repo: "org/repo", Quant: "Q8_0"},
		"https://huggingface.co/org/repo?show_file_info=config.json":                   {Repo: "org/repo"},
		"http://127.0.0.1:99/mirror/org/repo/resolve/" + sha + "/m.gguf?download=true": {Repo: "org/repo", Path: "m.gguf", Revision: sha},
		"http://127.0.0.1:99/mirror/org/repo:Q8_0":                                     {Repo: "org/repo", Quant: "Q8_0"},
	} {
		v := New(at("HF_ENDPOINT", "http://127.0.0.1:99/mirror/"))
		got, err := v.parse(ref)
		if err != nil || got != want || !v.Supports(ref) {
			t.Errorf("parse(%q) = %+v, %v; supported: %v", ref, got, err, v.Supports(ref))
		}
		if again, err := v.parse(got.String()); err != nil || again != got {
			t.Errorf("%q is written %q, which is %+v, %v", ref, got, again, err)
		}
	}
}

var malformedRefs = []string{
	"hf:", "hf:repo", "hf:/repo", "hf:org/", "hf:org/repo:", "hf:org/repo@", "hf:org/repo/", "hf:org/repo:Q4/x.gguf", "hf:org//x.gguf",
	"hf:org/re po", "hf:org/rëpo", "hf:org/re..po", "hf:org/re--po", "hf:org/.repo", "hf:org/repo.", "hf:-org/repo", "hf:org/repo.git",
	"hf:" + strings.Repeat("a", 97) + "/repo", "hf:org/" + strings.Repeat("a", 97), "hf:org/repo/" + strings.Repeat("a", 1025),
	"hf:org/repo/../x.gguf", "hf:org/repo/a/../../x.gguf", "hf:org/repo/./x.gguf", "hf:org/repo/a%2Fx.gguf", "hf:org/repo/%2e%2e/x.gguf",
	"hf:org/repo/a\\x.gguf", "hf:org/repo/x\x00.gguf", "hf:org/repo/x\n.gguf", "hf:org/repo/x\u202egguf.gguf", "hf:org/repo/\ufeffx.gguf", "hf:org/repo/x\xff.gguf",
	"hf:org/repo/ x.gguf", "hf:org/repo/a\u00a0b.gguf", "hf:org/repo/a\u2028b.gguf",
	"hf:org/repo@../x", "hf:org/repo@a..b", "hf:org/repo@-x", "hf:org/repo@a b", "hf:org/repo@a/", "hf:org/repo@%2e", "hf:org/repo@" + strings.Repeat("a", 251),
	"hf:org/ｒepo", "hf:оrg/repo", // full-width r, Cyrillic o
	"https://huggingface.co", "https://huggingface.co/", "https://huggingface.co/org", "https://huggingface.co/datasets/org/repo", "https://huggingface.co/spaces/org/repo",
	"https://huggingface.co/org/repo/blob/main", "https://huggingface.co/org/repo/resolve/main/a%2Fb.gguf", "https://huggingface.co/org/repo/resolve/main/%2e%2e/b.gguf",
	"https://huggingface.co/org/repo/resolve/main/b%zz.gguf", "https://huggingface.co/org/repo/resolve/main/b%00.gguf", "https://hf.co/org/repo/resolve/a%2F..%2Fb/c.gguf",
	"hf.co/api/models", "https://huggingface.co/org/repo?show_file_info=..%2Fm.gguf",
}

func TestMalformed(t *testing.T) {
	v := New(at())
	for _, ref := range malformedRefs {
		if !v.Supports(ref) {
			t.Errorf("%q is not ours", ref)
		}
		_, err := v.Resolve(t.Context(), ref)
		if messages.CodeOf(err) != messages.CodeBadRequest || messages.AsError(err, "").Hint == "" {
			t.Errorf("Resolve(%q): %v", ref, err)
		}
	}
}

var notOurs = []string{
	"", "repo", "model.gguf", "dir/model.gguf", "dir/model.GGUF", "./org/repo", "../org/repo", "/org/repo", "~/org/repo", "~bee/x/y.gguf", "org/repo/dir", "org/repo/README.md",
	"ollama:qwen3:8b", "ollama:org/name", "builtin:bee", "file:///x/y.gguf", "https://example.org/org/repo", "https://huggingface.co.example.org/org/repo",
	"https://example.org/x/y.gguf", "C:/models/y.gguf", `C:\models\y.gguf`, "org/re..po", "org/../x.gguf", "org /repo", "registry.ollama.ai/library/qwen3:8b", "localhost:5000/x", "a//b.gguf",
}

func TestNotOurs(t *testing.T) {
	v := New(at())
	for _, ref := range notOurs {
		if v.Supports(ref) {
			t.Errorf("%q is taken", ref)
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, ref := range append(malformedRefs, notOurs...) {
		f.Add(ref)
	}
	f.Add("hf:org/repo/a@b.gguf@main")
	f.Add("http://127.0.0.1:99/mirror/org/repo/tree/refs/pr/3/x")
	v := New(at("HF_ENDPOINT", "http://127.0.0.1:99/mirror"))
	f.Fuzz(func(t *testing.T, ref string) {
		ours := v.Supports(ref)
		r, err := v.parse(ref)
		if err != nil {
			if messages.CodeOf(err) != messages.CodeBadRequest {
				t.Errorf("%q: %v", ref, err)
			}
			return
		}
		if !ours && strings.Contains(ref, ":") && strings.HasPrefix(ref, "hf:") {
			t.Errorf("%q is well-formed and not supported", ref)
		}
		if !validRepo(r.Repo) || r.Path != "" && !validPath(r.Path) || strings.Contains("/"+r.Path+"/", "/../") || strings.Contains(r.Revision, "..") || r.Path != "" && r.Quant != "" {
			t.Errorf("%q gives %+v", ref, r)
		}
		again, err := v.parse(r.String())
		if err != nil || again != r {
			t.Errorf("%q is %+v, written %q it is %+v, %v", ref, r, r, again, err)
		}
		addr := v.address(append([]string{"x"}, strings.Split(r.Path, "/")...)...)
		if strings.Contains(addr, "/../") || strings.ContainsAny(addr, "?# \n") {
			t.Errorf("%q is asked for at %q", ref, addr)
		}
	})
}

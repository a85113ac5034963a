package huggingface

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

func TestWhereTheTokenIs(t *testing.T) {
	dir := t.TempDir()
	put := func(rel, text string) string {
		p := filepath.Join(dir, rel)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	inHome := put(".cache/huggingface/token", "hf_home\n")
	inXDG := put("xdg/huggingface/token", "hf_xdg")
	inHF := put("hf/token", " hf_hf\r\n")
	own := put("own", "hf_own")
	for name, tc := range map[string]struct {
		vars          []string
		value, source string
	}{
		"nothing":            {nil, "", ""},
		"the variable":       {[]string{"HF_TOKEN", " hf_env\n", "HOME", dir}, "hf_env", "HF_TOKEN"},
		"the older variable": {[]string{"HUGGING_FACE_HUB_TOKEN", "hf_old", "HOME", dir}, "hf_old", "HUGGING_FACE_HUB_TOKEN"},
		"at home":            {[]string{"HOME", dir}, "hf_home", "the file " + inHome},
		"a blank variable":   {[]string{"HF_TOKEN", " ", "HOME", dir}, "hf_home", "the file " + inHome},
		"in the cache":       {[]string{"HOME", dir, "XDG_CACHE_HOME", filepath.Join(dir, "xdg")}, "hf_xdg", "the file " + inXDG},
		"in HF_HOME":         {[]string{"HOME", dir, "HF_HOME", "~/hf"}, "hf_hf", "the file " + inHF},
		"in HF_TOKEN_PATH":   {[]string{"HOME", dir, "HF_HOME", "~/hf", "HF_TOKEN_PATH", "$HOME/own"}, "hf_own", "the file " + own},
		"no such file":       {[]string{"HF_TOKEN_PATH", filepath.Join(dir, "none")}, "", "the file " + filepath.Join(dir, "none")},
		"not wanted":         {[]string{"HF_TOKEN", "hf_env", "HOME", dir, "HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := readEnv(at(tc.vars...))
			s, err := e.readToken()
			if err != nil || s.value != tc.value || s.source != tc.source {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
	for name, vars := range map[string][]string{
		"a folder":        {"HF_TOKEN_PATH", dir},
		"a large file":    {"HF_TOKEN_PATH", put("large", strings.Repeat("x", maxTokenFile+1))},
		"bad characters":  {"HF_TOKEN", "hf_s3cret\x01x"},
		"two words":       {"HF_TOKEN", "hf_s3cret x"},
		"bad in the file": {"HF_TOKEN_PATH", put("bad", "hf_s3cret\tx\u00fc")},
	} {
		e := readEnv(at(vars...))
		_, err := e.readToken()
		if messages.CodeOf(err) != messages.CodeDenied || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "https://hf-mirror.com/": true, "http://127.0.0.1:8080/base": true,
		"hf-mirror.com": false, "ftp://x": false, "https://": false, "https://user:hf_s3cret@x": false, "https://x?y=z": false, "::": false,
	} {
		v := New(at("HF_ENDPOINT", text))
		err := v.ready()
		if (err == nil) != good || err != nil && (messages.CodeOf(err) != messages.CodeBadRequest || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("HF_ENDPOINT=%q: %v", text, err)
		}
		if !good {
			_, err := v.Resolve(t.Context(), "hf:org/repo")
			if messages.CodeOf(err) != messages.CodeBadRequest || !v.Supports("hf:org/repo") {
				t.Errorf("HF_ENDPOINT=%q: %v", text, err)
			}
		}
	}
	if a := New(at("HF_ENDPOINT", "http://h/base//")).address("a b", "refs/pr/3"); a != "http://h/base/a%20b/refs%2Fpr%2F3" {
		t.Error(a)
	}
}

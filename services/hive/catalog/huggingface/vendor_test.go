package huggingface

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "hf_s3cretTokenOfTheTests"

// with starts a hub and a vendor for it; vars are more of its environment.
func with(t testing.TB, r fakehub.Repo, vars ...string) (*fakehub.Hub, *Vendor) {
	t.Helper()
	hub := fakehub.Start()
	t.Cleanup(hub.Close)
	if r.Name != "" {
		hub.Add(r)
	}
	return hub, newFor(t, hub, vars...)
}

func newFor(t testing.TB, hub *fakehub.Hub, vars ...string) *Vendor {
	v := New(at(append([]string{"HF_ENDPOINT", hub.URL()}, vars...)...))
	t.Cleanup(v.client.CloseIdleConnections)
	return v
}

// lfs are small files in LFS.
func lfs(paths ...string) []fakehub.File {
	var files []fakehub.File
	for i, p := range paths {
		files = append(files, fakehub.File{Path: p, Size: int64(1000 + i), Seed: uint64(i), LFS: true})
	}
	return files
}

func resolve(t testing.TB, v *Vendor, ref string) *vendor.Artifact {
	t.Helper()
	a, err := v.Resolve(t.Context(), ref)
	if err != nil {
		t.Fatalf("Resolve(%q): %v", ref, err)
	}
	return a
}

func names(a *vendor.Artifact) string {
	var out []string
	for _, f := range a.Files {
		out = append(out, f.Name)
	}
	return strings.Join(out, " ")
}

func TestResolve(t *testing.T) {
	files := append(lfs("m-Q4_K_M.gguf", "m-Q8_0.gguf"), fakehub.File{Path: "README.md", Content: []byte("x")}, fakehub.File{Path: "small.gguf", Content: []byte("GGUF")})
	hub, v := with(t, fakehub.Repo{Name: "Org/Repo-GGUF", License: "apache-2.0", Architecture: "llama", ContextLength: 4096, Files: files,
		Branches: map[string][]fakehub.File{"refs/pr/3": lfs("m-Q6_K.gguf"), "v1": lfs("m-Q5_0.gguf")}})
	a := resolve(t, v, "hf:Org/Repo-GGUF")
	commit := a.Revision
	if !commitShape.MatchString(commit) {
		t.Fatalf("the revision is %q", commit)
	}
	want := vendor.Artifact{
		Name: "Org/Repo-GGUF:Q4_K_M", Ref: "hf:Org/Repo-GGUF/m-Q4_K_M.gguf@" + commit, License: "apache-2.0", Quantization: "Q4_K_M", Architecture: "llama", ContextLength: 4096, Revision: commit,
		Files: []vendor.File{{Name: "m-Q4_K_M.gguf", Kind: vendor.Model, SizeBytes: 1000, Digest: "sha256:" + fakehub.Digest(files[0]), Source: "hf:Org/Repo-GGUF/m-Q4_K_M.gguf@" + commit}},
		Notes: []string{"chose Q4_K_M; there is also Q8_0, small"},
	}
	if got, want := fmt.Sprintf("%+v", *a), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("got\n%s, not\n%s", got, want)
	}
	for ref, want := range map[string]string{
		"org/repo-gguf":                          "Org/Repo-GGUF:Q4_K_M", // the hub redirects to the right case
		"hf:Org/Repo-GGUF:q8_0":                  "Org/Repo-GGUF:Q8_0",
		"hf:Org/Repo-GGUF:Q8":                    "Org/Repo-GGUF:Q8_0",
		"hf:Org/Repo-GGUF:small":                 "Org/Repo-GGUF:small",
		"hf:Org/Repo-GGUF/small.gguf":            "Org/Repo-GGUF:small",
		"hf:Org/Repo-GGUF@v1":                    "Org/Repo-GGUF:Q5_0",
		"hf:Org/Repo-GGUF@refs/pr/3":             "Org/Repo-GGUF:Q6_K",
		hub.URL() + "/Org/Repo-GGUF":             "Org/Repo-GGUF:Q4_K_M",
		"hf.co/Org/Repo-GGUF:Q4":                 "Org/Repo-GGUF:Q4_K_M",
		"https://hf.co/Org/Repo-GGUF/tree/v1":    "Org/Repo-GGUF:Q5_0",
		"hf:Org/Repo-GGUF/m-Q8_0.gguf@" + commit: "Org/Repo-GGUF:Q8_0",
		"Org/Repo-GGUF:Q4_K_M@" + commit:         "Org/Repo-GGUF:Q4_K_M",
		"https://huggingface.co/Org/Repo-GGUF/resolve/main/m-Q8_0.gguf?download=true": "Org/Repo-GGUF:Q8_0",
	} {
		a := resolve(t, v, ref)
		if a.Name != want {
			t.Errorf("%q is %s, not %s", ref, a.Name, want)
		}
		if again := resolve(t, v, a.Ref); again.Name != a.Name || names(again) != names(a) || again.Revision != a.Revision {
			t.Errorf("%q is %+v", a.Ref, again)
		}
	}
	if d := resolve(t, v, "hf:Org/Repo-GGUF:small").Files[0].Digest; d != "" {
		t.Errorf("a file that is not in LFS has the digest %s", d)
	}
	hub.Push("Org/Repo-GGUF", "main", lfs("m-Q2_K.gguf"))
	if again := resolve(t, v, a.Ref); names(again) != "m-Q4_K_M.gguf" {
		t.Errorf("after a push %s is %s", a.Ref, names(again))
	}
}

// TestChoice has lists of files and what is chosen of them.
func TestChoice(t *testing.T) {
	for name, tc := range map[string]struct {
		files []string
		quant string // or a path
		want  string // the files of the artifact
		name  string // behind the colon
		note  string
	}{
		"the usual":         {[]string{"m-Q8_0.gguf", "m-Q4_K_S.gguf", "m-Q4_K_M.gguf", "m-Q5_K_M.gguf"}, "", "m-Q4_K_M.gguf", "Q4_K_M", "chose Q4_K_M; there is also Q4_K_S, Q5_K_M, Q8_0"},
		"the nearest":       {[]string{"m-F16.gguf", "m-Q3_K_L.gguf", "m-Q5_K_S.gguf", "m-IQ4_XS.gguf"}, "", "m-IQ4_XS.gguf", "IQ4_XS", "Q5_K_S, Q3_K_L, F16"},
		"of unsloth's":      {[]string{"m-UD-Q4_K_XL.gguf", "m-Q6_K.gguf", "m-BF16.gguf"}, "", "m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL", ""},
		"without UD":        {[]string{"m-UD-Q4_K_XL.gguf", "m-Q6_K.gguf"}, "q4_k_xl", "m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL", "chose UD-Q4_K_XL for q4_k_xl"},
		"its only one":      {[]string{"m-F32.gguf"}, "", "m-F32.gguf", "F32", ""},
		"no quantization":   {[]string{"tiny.gguf"}, "", "tiny.gguf", "tiny", ""},
		"blanks":            {[]string{"a tiny @model:1.gguf"}, "", "a tiny @model:1.gguf", "a-tiny-model-1", ""},
		"by name":           {[]string{"tiny.gguf", "m-Q4_K_M.gguf"}, "tiny.gguf", "tiny.gguf", "tiny", ""},
		"in lower case":     {[]string{"m-q4_k_m.gguf"}, "", "m-q4_k_m.gguf", "Q4_K_M", ""},
		"in folders":        {[]string{"Q8_0/m.gguf", "Q4_K_M/m.gguf"}, "", "Q4_K_M/m.gguf", "Q4_K_M", "Q8_0"},
		"a folder":          {[]string{"a/m-Q8_0.gguf", "a/m-Q6_K.gguf", "b/m-Q4_K_M.gguf"}, "a", "a/m-Q6_K.gguf", "Q6_K", "chose Q6_K; there is also Q8_0"},
		"two of one":        {[]string{"big-Q4_K_M.gguf", "x-Q4_K_M.gguf"}, "", "x-Q4_K_M.gguf", "Q4_K_M", "big-Q4_K_M.gguf has the same quantization"},
		"the other of one":  {[]string{"big-Q4_K_M.gguf", "x-Q4_K_M.gguf"}, "big-Q4_K_M", "big-Q4_K_M.gguf", "big-Q4_K_M", ""},
		"asked, two of one": {[]string{"big-Q4_K_M.gguf", "x-Q4_K_M.gguf"}, "Q4_K_M", "x-Q4_K_M.gguf", "Q4_K_M", "1 more have the same"},
		"split": {[]string{"m-Q8_0-00003-of-00003.gguf", "m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00002-of-00003.gguf"}, "",
			"m-Q8_0-00001-of-00003.gguf m-Q8_0-00002-of-00003.gguf m-Q8_0-00003-of-00003.gguf", "Q8_0", ""},
		"a part of it":  {[]string{"d/m-00001-of-00002.gguf", "d/m-00002-of-00002.gguf"}, "d/m-00002-of-00002.gguf", "d/m-00001-of-00002.gguf d/m-00002-of-00002.gguf", "m", ""},
		"not all of it": {[]string{"m-Q4_K_M-00001-of-00002.gguf", "m-Q8_0.gguf"}, "", "m-Q8_0.gguf", "Q8_0", "left out, as files of it are missing: Q4_K_M"},
		"no split":      {[]string{"m-00000-of-00000.gguf"}, "", "m-00000-of-00000.gguf", "m-00000-of-00000", ""},
		"projectors":    {[]string{"mmproj-F16.gguf", "m-Q8_0.gguf", "sub/x.mmproj.gguf"}, "", "m-Q8_0.gguf mmproj-F16.gguf sub/x.mmproj.gguf", "Q8_0", "mmproj-F16.gguf, x.mmproj.gguf is a projector"},
		"a matrix":      {[]string{"imatrix.gguf", "imatrix-Q4_K_M.gguf", "m-F16.gguf"}, "", "m-F16.gguf", "F16", ""},
		"an adapter":    {[]string{"m-lora-Q4_K_M.gguf", "m-draft-Q4_0.gguf", "m-F16.gguf"}, "", "m-F16.gguf", "F16", "m-lora-Q4_K_M"},
		"asked for it":  {[]string{"m-lora-Q4_K_M.gguf", "m-F16.gguf"}, "m-lora-Q4_K_M", "m-lora-Q4_K_M.gguf", "Q4_K_M", ""},
		"nothing else":  {[]string{"m-lora-F16.gguf"}, "", "m-lora-F16.gguf", "F16", ""},
		"explorer":      {[]string{"explorer-Q8_0.gguf", "draftsman-Q4_0.gguf"}, "", "draftsman-Q4_0.gguf", "Q4_0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, v := with(t, fakehub.Repo{Name: "o/r", Files: append(lfs(tc.files...), fakehub.File{Path: "README.md", Content: []byte("x")})})
			ref := "hf:o/r"
			switch {
			case strings.Contains(tc.quant, "/") || tc.quant == "a":
				ref += "/" + tc.quant
			case tc.quant != "":
				ref += ":" + tc.quant
			}
			a := resolve(t, v, ref)
			if names(a) != tc.want || a.Name != "o/r:"+tc.name || !strings.Contains(strings.Join(a.Notes, "\n"), tc.note) || tc.note == "" && len(a.Notes) > 0 && !strings.Contains(strings.Join(a.Notes, ""), "chose") {
				t.Errorf("%q is %s with %s; notes %q", ref, a.Name, names(a), a.Notes)
			}
			if again := resolve(t, v, a.Name); names(again) != names(a) {
				t.Errorf("by its name %s it is %s", a.Name, names(again))
			}
			for i, f := range a.Files {
				if f.Kind == vendor.Projector != strings.Contains(f.Name, "mmproj") || i == 0 && f.Kind != vendor.Model {
					t.Errorf("%s is a %s", f.Name, f.Kind)
				}
			}
		})
	}
}

func TestPagesOfATree(t *testing.T) {
	var files []string
	for i := range 25 {
		files = append(files, fmt.Sprintf("a/x-%02d-Q8_0.gguf", i))
	}
	files = append(files, "z-Q4_K_M.gguf") // on the last page
	hub, v := with(t, fakehub.Repo{Name: "o/r", Files: lfs(files...)})
	hub.PageSize(2)
	if a := resolve(t, v, "hf:o/r"); names(a) != "z-Q4_K_M.gguf" {
		t.Errorf("it chose %s", names(a))
	}
	if n := hub.Count("hub", "/tree/"); n != 14 {
		t.Errorf("it asked for %d pages, not 14", n)
	}
	hub.PageSize(1)
	_, err := v.Resolve(t.Context(), "hf:o/r")
	if messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), "too many files") {
		t.Error(err)
	}
	for _, link := range []string{"", "x", `<http://x/?a=b>; rel="prev"`, "<::>; rel=\"next\"", `<http://x/y>; rel="next"`} {
		if q := nextQuery(link); q != "" {
			t.Errorf("%q leads to %q", link, q)
		}
	}
	if q := nextQuery(`<https://other/api?cursor=a%26b&recursive=true>; rel="next"`); q != "cursor=a%26b&recursive=true" {
		t.Error(q)
	}
}

// TestAPushInTheMiddle has the branch move between the question for its commit and that for its files.
func TestAPushInTheMiddle(t *testing.T) {
	hub, v := with(t, fakehub.Repo{Name: "o/r", Files: lfs("m-Q4_K_M.gguf")})
	hub.Mangle(func(path string, body []byte) []byte {
		if strings.Contains(path, "/revision/") {
			hub.Push("o/r", "main", lfs("m-Q8_0.gguf"))
		}
		return body
	})
	a := resolve(t, v, "hf:o/r")
	if data, _, err := get(t, v, a.Files[0], vendor.Whole); names(a) != "m-Q4_K_M.gguf" || err != nil || len(data) != 1000 {
		t.Errorf("%s: %d bytes, %v", names(a), len(data), err)
	}
}

func TestRenamed(t *testing.T) {
	hub, v := with(t, fakehub.Repo{Name: "new/repo", Renamed: []string{"old/repo"}, Gated: true, Files: lfs("m-Q4_K_M.gguf")}, "HF_TOKEN", token)
	hub.AddToken(token, "new/repo")
	a := resolve(t, v, "hf:old/repo")
	if a.Name != "new/repo:Q4_K_M" || !slices.Contains(a.Notes, "old/repo has moved to new/repo") {
		t.Errorf("%+v", a)
	}
	f := a.Files[0]
	f.Source = strings.Replace(f.Source, "new/", "old/", 1) // resolved before it was renamed
	b, err := newFor(t, hub, "HF_TOKEN", token).Fetch(t.Context(), &f, vendor.Whole)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if data, err := io.ReadAll(b); err != nil || len(data) != 1000 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	noTokenOnCDN(t, hub)
}

func noTokenOnCDN(t testing.TB, hub *fakehub.Hub) {
	t.Helper()
	asked := 0
	for _, r := range hub.Requests() {
		if r.Host != "cdn" {
			continue
		}
		asked++
		if text := fmt.Sprint(r.Header, r.Query, r.Path); strings.Contains(text, token) || r.Header.Get("Authorization") != "" {
			t.Errorf("the CDN got the token: %s", text)
		}
	}
	if asked == 0 {
		t.Error("the CDN was not asked")
	}
}

package stores

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// llamaCpp is the folder of files that llama.cpp kept before it used HuggingFace's cache
// (llama.cpp, common/download.cpp and fs_get_cache_directory):
//
//	owner_name_file.gguf
//	owner_name_file.gguf.json          {"url": …}, by older ones
//	manifest=owner=name=tag.json       {"ggufFile": {"rfilename": …}}, by newer ones
type llamaCpp struct{ places []string }

func llamaCppStore(e environment) Store {
	return llamaCpp{places(
		e.at("LLAMA_CACHE"), e.at("XDG_CACHE_HOME", "llama.cpp"), e.below(".cache", "llama.cpp"),
		e.below("Library", "Caches", "llama.cpp"), e.at("LOCALAPPDATA", "llama.cpp"),
	)}
}

func (llamaCpp) Name() string       { return "llama.cpp" }
func (s llamaCpp) Places() []string { return slices.Clone(s.places) }

func (s llamaCpp) Find(ctx context.Context) ([]Found, error) {
	return find(ctx, s.Name(), s.places, func(l *look, root string) {
		entries := l.dir(root)
		origins := l.origins(root, entries)
		var order []string // of repositories
		repos := map[string]*collection{}
		for _, e := range entries {
			if !isGGUF(e.Name()) || e.IsDir() {
				continue
			}
			f := link(root, root, e.Name())
			o := origins[e.Name()]
			if o.repo != "" {
				f.name, f.digest = o.name, o.digest
			}
			if repos[o.repo] == nil {
				order = append(order, o.repo)
				repos[o.repo] = &collection{repo: o.repo, shown: o.repo, at: []string{""}}
			}
			repos[o.repo].files = append(repos[o.repo].files, f)
		}
		for _, repo := range order {
			c := repos[repo]
			slices.SortFunc(c.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
			l.models(*c)
		}
	})
}

// origin is where a file in the folder came from.
type origin struct {
	repo, name string // "owner/name", and the file's name in it
	digest     string
}

// origins are those of the files that something is noted of, by their names in the folder.
func (l *look) origins(root string, entries []fs.DirEntry) map[string]origin {
	out := map[string]origin{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !e.Type().IsRegular() {
			continue
		}
		b, err := l.text(filepath.Join(root, e.Name()), maxManifest)
		if err != nil || l.ctx.Err() != nil {
			continue
		}
		if parts := strings.Split(name, "="); parts[0] == "manifest" && len(parts) == 4 {
			for _, o := range ofManifest(b, repository(parts[1], parts[2])) {
				out[cached(o)] = o
			}
		} else if o, ok := ofAddress(b); ok && isGGUF(name) && cached(o) == name {
			out[name] = o
		}
	}
	return l.parts(entries, out)
}

// cached is what llama.cpp calls a file.
func cached(o origin) string { return strings.ReplaceAll(o.repo+"/"+o.name, "/", "_") }

// ofManifest reads an answer of the hub's /v2/<repo>/manifests/<tag> as llama.cpp gets it.
func ofManifest(b []byte, repo string) (out []origin) {
	type file struct {
		Name string `json:"rfilename"`
		LFS  struct {
			SHA256 string `json:"sha256"`
		} `json:"lfs"`
	}
	var m struct {
		Model     file `json:"ggufFile"`
		Projector file `json:"mmprojFile"`
	}
	if json.Unmarshal(b, &m) != nil || repo == "" {
		return nil
	}
	for _, f := range []file{m.Model, m.Projector} {
		if !plain(f.Name) {
			continue
		}
		o := origin{repo: repo, name: f.Name}
		if sha256Hash.MatchString(f.LFS.SHA256) {
			o.digest = "sha256:" + f.LFS.SHA256
		}
		out = append(out, o)
	}
	return out
}

// ofAddress reads what is noted beside a file: the address that it was fetched from.
func ofAddress(b []byte) (origin, bool) {
	var m struct {
		URL string `json:"url"`
	}
	if json.Unmarshal(b, &m) != nil {
		return origin{}, false
	}
	u, err := url.Parse(m.URL)
	if err != nil {
		return origin{}, false
	}
	// /owner/name/resolve/main/folder/file.gguf
	parts := strings.SplitN(strings.TrimPrefix(u.Path, "/"), "/", 5)
	if len(parts) < 5 || parts[2] != "resolve" || parts[3] != "main" || !plain(parts[4]) {
		return origin{}, false
	}
	o := origin{repo: repository(parts[0], parts[1]), name: parts[4]}
	return o, o.repo != ""
}

// parts adds the other parts of split models, of which only the first is noted.
func (l *look) parts(entries []fs.DirEntry, out map[string]origin) map[string]origin {
	models := map[string]origin{} // by what the parts' names start with
	for name, o := range out {
		if model, number, of := vendor.Part(o.name); number == 1 && of > 1 {
			start, _, _ := vendor.Part(name)
			models[start] = origin{repo: o.repo, name: model}
		}
	}
	for _, e := range entries {
		start, number, of := vendor.Part(e.Name())
		if o, ok := models[start]; ok && of > 1 && number > 1 {
			out[e.Name()] = origin{repo: o.repo, name: o.name + e.Name()[len(start):]}
		}
	}
	return out
}

package stores

import (
	"cmp"
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// huggingFace is the cache that HuggingFace's own clients and llama.cpp share
// (huggingface.co/docs/huggingface_hub/guides/manage-cache):
//
//	models--owner--name/refs/main                       a commit
//	models--owner--name/snapshots/<commit>/<file>       a link to the blob, or the file itself
//	models--owner--name/blobs/<sha256, or git's sha1>
type huggingFace struct{ places []string }

func huggingFaceStore(e environment) Store {
	return huggingFace{places(
		e.at("HF_HUB_CACHE"), e.at("HUGGINGFACE_HUB_CACHE"), e.at("HF_HOME", "hub"),
		e.at("XDG_CACHE_HOME", "huggingface", "hub"), e.below(".cache", "huggingface", "hub"),
		e.at("LLAMA_CACHE"), // also holds files of llama.cpp's older cache
	)}
}

func (huggingFace) Name() string       { return "huggingface" }
func (s huggingFace) Places() []string { return slices.Clone(s.places) }

func (s huggingFace) Find(ctx context.Context) ([]Found, error) {
	return find(ctx, s.Name(), s.places, func(l *look, root string) {
		for _, e := range l.dir(root) {
			name, ok := strings.CutPrefix(e.Name(), "models--")
			if !ok {
				continue
			}
			repo := filepath.Join(root, e.Name())
			if e.Type()&fs.ModeSymlink != 0 {
				l.problem(repo, "is a link and is not followed")
				continue
			}
			owner, rest, _ := strings.Cut(name, "--")
			l.hfRepo(repo, repository(owner, rest), strings.ReplaceAll(name, "--", "/"))
		}
	})
}

// snapshot is a folder with the files of one commit, and the branches that are at it.
type snapshot struct {
	name     string
	branches []string
	changed  int64 // when files were added, nanoseconds
}

var (
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Hash = regexp.MustCompile(`^[0-9a-f]{64}$`)
	branchName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)
)

// hfRepo notes the models of a repository. repo is "" if it cannot be one of the hub's.
func (l *look) hfRepo(dir, repo, shown string) {
	seen := map[string]bool{}
	snapshots, hasMain := l.snapshots(dir)
	for _, s := range snapshots {
		c := collection{repo: repo, shown: shown, seen: seen}
		if commitHash.MatchString(s.name) {
			c.revision = s.name
		}
		for _, b := range s.branches {
			if b == "main" {
				c.at = append(c.at, "")
			} else {
				c.at = append(c.at, "@"+b)
			}
		}
		if !hasMain && len(s.branches) == 0 {
			// Some clients write no refs, and put each file under the commit that changed it last.
			c.at = []string{""}
		}
		root := filepath.Join(dir, "snapshots", s.name)
		l.walk(root, func(rel string, e fs.DirEntry) {
			if isGGUF(e.Name()) {
				f := link(dir, root, rel)
				if hash := filepath.Base(f.path); filepath.Dir(f.path) == filepath.Join(dir, "blobs") && sha256Hash.MatchString(hash) {
					f.digest = "sha256:" + hash
				}
				c.files = append(c.files, f)
			}
		})
		l.models(c)
	}
}

// snapshots are a repository's: main's first, then those of other branches, then the newest.
func (l *look) snapshots(dir string) (out []snapshot, hasMain bool) {
	branches := l.branches(filepath.Join(dir, "refs"))
	for _, e := range l.dir(filepath.Join(dir, "snapshots")) {
		if !e.IsDir() {
			continue
		}
		s := snapshot{name: e.Name()}
		for _, b := range slices.Sorted(maps.Keys(branches)) {
			if branches[b] == s.name {
				s.branches = append(s.branches, b)
			}
		}
		hasMain = hasMain || slices.Contains(s.branches, "main")
		if info, err := os.Lstat(filepath.Join(dir, "snapshots", s.name)); err == nil {
			s.changed = info.ModTime().UnixNano()
		}
		out = append(out, s)
	}
	rank := func(s snapshot) int {
		switch {
		case slices.Contains(s.branches, "main"):
			return 0
		case len(s.branches) > 0:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(out, func(a, b snapshot) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.changed, a.changed), cmp.Compare(a.name, b.name))
	})
	return out, hasMain
}

// branches are the commits that refs name.
func (l *look) branches(dir string) map[string]string {
	out := map[string]string{}
	l.walk(dir, func(rel string, e fs.DirEntry) {
		name := filepath.ToSlash(rel)
		if !branchName.MatchString(name) || !plain(name) || strings.Contains(name, "..") {
			return
		}
		b, err := l.text(filepath.Join(dir, rel), maxManifest)
		if commit := strings.TrimSpace(string(b)); err == nil && commitHash.MatchString(commit) {
			out[name] = commit
		}
	})
	return out
}

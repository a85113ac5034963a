package stores

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

var (
	commitA = strings.Repeat("a", 40)
	commitB = strings.Repeat("b", 40)
	commitC = strings.Repeat("c", 40)
)

// fakeCache writes a cache as HuggingFace's clients do.
type fakeCache struct {
	t   testing.TB
	dir string
}

func newCache(t testing.TB) (fakeCache, Store) {
	dir := filepath.Join(t.TempDir(), "hub")
	return fakeCache{t, dir}, huggingFace{places(dir)}
}

func (c fakeCache) repo(repo string) string {
	return filepath.Join(c.dir, "models--"+strings.ReplaceAll(repo, "/", "--"))
}

// file stores a blob and links to it, relative, from the snapshot of a commit.
func (c fakeCache) file(repo, commit, name string, content []byte) string {
	c.t.Helper()
	blob := write(c.t, filepath.Join(c.repo(repo), "blobs", hash(content)), content)
	path := filepath.Join(c.repo(repo), "snapshots", commit, name)
	target, err := filepath.Rel(filepath.Dir(path), blob)
	if err != nil {
		c.t.Fatal(err)
	}
	symlink(c.t, target, path)
	return blob
}

func (c fakeCache) ref(repo, branch, commit string) {
	write(c.t, filepath.Join(c.repo(repo), "refs", branch), []byte(commit))
}

func TestHuggingFace(t *testing.T) {
	c, s := newCache(t)
	const repo = "Qwen/Qwen3-8B-GGUF"
	c.ref(repo, "main", commitA)
	c.ref(repo, "dev/x", commitB)
	blob := c.file(repo, commitA, "Qwen3-8B-Q4_K_M.gguf", model(t, "new"))
	c.file(repo, commitA, "README.md", []byte("# Qwen"))
	c.file(repo, commitA, "mmproj-Qwen3-8B-F16.gguf", model(t, "eye", "general.architecture", "clip"))
	c.file(repo, commitA, "BF16/Qwen3-8B-BF16-00001-of-00002.gguf", model(t, "1"))
	c.file(repo, commitA, "BF16/Qwen3-8B-BF16-00002-of-00002.gguf", model(t, "2"))
	c.file(repo, commitB, "Qwen3-8B-Q4_K_M.gguf", model(t, "of dev"))
	c.file(repo, commitC, "Qwen3-8B-Q4_K_M.gguf", model(t, "old"))
	c.file(repo, commitC, "BF16/Qwen3-8B-BF16-00001-of-00002.gguf", model(t, "1"))
	c.file(repo, commitC, "BF16/Qwen3-8B-BF16-00002-of-00002.gguf", model(t, "2"))
	c.file(repo, commitC, "Qwen3-8B-Q2_K.gguf", model(t, "not there any more"))
	write(t, filepath.Join(c.repo(repo), "blobs", strings.Repeat("9", 64)+".incomplete"), []byte("GGUF"))
	write(t, filepath.Join(c.repo(repo), ".no_exist", commitA, "x.gguf"), nil)
	write(t, filepath.Join(c.dir, "datasets--a--b/snapshots/"+commitA+"/x.gguf"), model(t, "no model"))
	write(t, filepath.Join(c.dir, ".locks/models--a--b/x.lock"), nil)
	write(t, filepath.Join(c.dir, "version.txt"), []byte("1"))
	found := findAll(t, s, c.dir)
	if len(found) != 5 {
		t.Fatalf("found\n%s", list(found))
	}
	f := found[1]
	name := "hf:" + repo + "/BF16/Qwen3-8B-BF16-00001-of-00002.gguf"
	usable(t, f, "hf:"+repo+":BF16", name, name+"@"+commitA)
	if f.Name != repo+":BF16" || len(f.Files) != 3 || f.Files[1].Name != "BF16/Qwen3-8B-BF16-00002-of-00002.gguf" || f.Files[2].Kind != vendor.Projector {
		t.Errorf("%+v", f)
	}
	f = found[0]
	name = "hf:" + repo + "/Qwen3-8B-Q4_K_M.gguf"
	usable(t, f, "hf:"+repo+":Q4_K_M", name, name+"@"+commitA)
	if f.Name != repo+":Q4_K_M" || f.Revision != commitA || f.Files[0].InPlace != blob || f.Files[0].Digest != "sha256:"+filepath.Base(blob) {
		t.Errorf("%+v", f)
	}
	usable(t, found[2], "hf:"+repo+":Q4_K_M@dev/x", name+"@dev/x", name+"@"+commitB)
	usable(t, found[3], "hf:"+repo+"/Qwen3-8B-Q2_K.gguf@"+commitC)
	usable(t, found[4], name+"@"+commitC)
}

// Without refs, as some clients leave it, the newest snapshot is what a repository means.
func TestHuggingFaceWithoutRefs(t *testing.T) {
	c, s := newCache(t)
	const repo = "org/repo"
	c.file(repo, commitA, "a-Q8_0.gguf", model(t, "old"))
	c.file(repo, commitC, "a-Q8_0.gguf", model(t, "new"))
	for i, commit := range []string{commitA, commitC} {
		at := time.Unix(1_700_000_000+int64(i), 0)
		if err := os.Chtimes(filepath.Join(c.repo(repo), "snapshots", commit), at, at); err != nil {
			t.Fatal(err)
		}
	}
	found := findAll(t, s, c.dir)
	if len(found) != 2 || found[0].Revision != commitC || found[1].Revision != commitA {
		t.Fatalf("found\n%s", list(found))
	}
	usable(t, found[0], "hf:org/repo:Q8_0", "hf:org/repo/a-Q8_0.gguf", "hf:org/repo/a-Q8_0.gguf@"+commitC)
	usable(t, found[1], "hf:org/repo/a-Q8_0.gguf@"+commitA)
}

// Of two snapshots that a reference could mean, the one that can be used has it.
func TestHuggingFaceBrokenSnapshot(t *testing.T) {
	c, s := newCache(t)
	c.file("org/repo", commitA, "a-Q8_0.gguf", model(t, "a")[:50])
	c.file("org/repo", commitB, "a-Q8_0.gguf", model(t, "b"))
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(c.repo("org/repo"), "snapshots", commitA), later, later); err != nil {
		t.Fatal(err)
	}
	found := findAll(t, s, c.dir)
	if len(found) != 2 {
		t.Fatalf("found\n%s", list(found))
	}
	for _, f := range found {
		if f.Revision == commitB {
			usable(t, f, "hf:org/repo:Q8_0", "hf:org/repo/a-Q8_0.gguf", "hf:org/repo/a-Q8_0.gguf@"+commitB)
		} else {
			unusable(t, f, "truncated")
		}
	}
}

// Where there are no links, the files are in the snapshot. Small files' blobs have git's digests.
func TestHuggingFaceWithoutLinks(t *testing.T) {
	c, s := newCache(t)
	c.ref("org/repo", "main", commitA)
	write(t, filepath.Join(c.repo("org/repo"), "snapshots", commitA, "sub/a-Q8_0.gguf"), model(t, "a"))
	blob := write(t, filepath.Join(c.repo("org/repo"), "blobs", commitB), model(t, "b"))
	symlink(t, "../../blobs/"+filepath.Base(blob), filepath.Join(c.repo("org/repo"), "snapshots", commitA, "b.gguf"))
	found := findAll(t, s, c.dir)
	for name, path := range map[string]string{"org/repo:Q8_0": "sub/a-Q8_0.gguf", "org/repo:b": "b.gguf"} {
		f := named(t, found, name)
		if f.Problem != "" || f.Files[0].Digest != "" || !slices.Contains(f.Refs, "hf:org/repo/"+path) {
			t.Errorf("%+v", f)
		}
	}
}

func TestHuggingFaceOneQuantizationTwice(t *testing.T) {
	c, s := newCache(t)
	c.ref("org/repo", "main", commitA)
	c.file("org/repo", commitA, "a-Q8_0.gguf", model(t, "a"))
	c.file("org/repo", commitA, "b-Q8_0.gguf", model(t, "b"))
	c.file("org/repo", commitA, "draft-Q5_0.gguf", model(t, "draft"))
	c.file("org/repo", commitA, "longer-name-Q5_0.gguf", model(t, "longer"))
	found := findAll(t, s, c.dir)
	usable(t, named(t, found, "org/repo:Q8_0"), "hf:org/repo:Q8_0", "hf:org/repo/a-Q8_0.gguf", "hf:org/repo/a-Q8_0.gguf@"+commitA)
	usable(t, named(t, found, "org/repo:b-Q8_0"), "hf:org/repo/b-Q8_0.gguf", "hf:org/repo/b-Q8_0.gguf@"+commitA)
	usable(t, named(t, found, "org/repo:Q5_0"), "hf:org/repo:Q5_0", "hf:org/repo/longer-name-Q5_0.gguf", "hf:org/repo/longer-name-Q5_0.gguf@"+commitA)
	usable(t, named(t, found, "org/repo:draft-Q5_0"), "hf:org/repo/draft-Q5_0.gguf", "hf:org/repo/draft-Q5_0.gguf@"+commitA)
}

func TestHuggingFaceProblems(t *testing.T) {
	const repo = "org/repo"
	good := model(t, "a")
	for name, tc := range map[string]struct {
		make func(c fakeCache, snapshot string)
		want string
	}{
		"no blob": {func(c fakeCache, snapshot string) {
			symlink(t, "../../blobs/"+strings.Repeat("0", 64), snapshot+"/a-Q8_0.gguf")
		}, "is not there"},
		"leads out": {func(c fakeCache, snapshot string) {
			write(t, filepath.Join(c.dir, "../secret"), good)
			symlink(t, "../../../../secret", snapshot+"/a-Q8_0.gguf")
		}, "leads out of the store"},
		"leads to another repository": {func(c fakeCache, snapshot string) {
			blob := c.file("org/private", commitA, "x.txt", good)
			symlink(t, "../../../models--org--private/blobs/"+filepath.Base(blob), snapshot+"/a-Q8_0.gguf")
		}, "leads out of the store"},
		"leads out, absolute": {func(c fakeCache, snapshot string) { symlink(t, "/etc/hostname", snapshot+"/a-Q8_0.gguf") }, "leads out of the store"},
		"leads to itself":     {func(c fakeCache, snapshot string) { symlink(t, "a-Q8_0.gguf", snapshot+"/a-Q8_0.gguf") }, "too many links"},
		"leads to a folder":   {func(c fakeCache, snapshot string) { symlink(t, "..", snapshot+"/a-Q8_0.gguf") }, "not a regular file"},
		"cut":                 {func(c fakeCache, snapshot string) { c.file(repo, commitA, "a-Q8_0.gguf", good[:len(good)-50]) }, "truncated"},
		"no GGUF": {func(c fakeCache, snapshot string) {
			c.file(repo, commitA, "a-Q8_0.gguf", []byte("version https://git-lfs"))
		}, "not a GGUF file"},
		"empty": {func(c fakeCache, snapshot string) { c.file(repo, commitA, "a-Q8_0.gguf", nil) }, "truncated"},
		"adapter": {func(c fakeCache, snapshot string) {
			c.file(repo, commitA, "a-Q8_0.gguf", model(t, "a", "general.type", "adapter"))
		}, "general.type is adapter"},
		"projector": {func(c fakeCache, snapshot string) {
			c.file(repo, commitA, "a-Q8_0.gguf", model(t, "a", "general.architecture", "clip"))
		}, "projects pictures"},
		"kills the engine": {func(c fakeCache, snapshot string) {
			c.file(repo, commitA, "a-Q8_0.gguf", model(t, "a", "llama.block_count", uint32(100_000)))
		}, "block_count"},
		"part missing": {func(c fakeCache, snapshot string) {
			c.file(repo, commitA, "a-Q8_0-00001-of-00003.gguf", good)
			c.file(repo, commitA, "a-Q8_0-00003-of-00003.gguf", model(t, "b"))
		}, "has 2 of its 3 parts"},
		"part cut": {func(c fakeCache, snapshot string) {
			c.file(repo, commitA, "a-Q8_0-00001-of-00002.gguf", good)
			c.file(repo, commitA, "a-Q8_0-00002-of-00002.gguf", good[:100])
		}, "truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := newCache(t)
			c.ref(repo, "main", commitA)
			tc.make(c, filepath.Join(c.repo(repo), "snapshots", commitA))
			unusable(t, named(t, findAll(t, s, filepath.Dir(c.dir)), "org/repo:Q8_0"), tc.want)
		})
	}
}

func TestHuggingFaceRepositoryIsALink(t *testing.T) {
	c, s := newCache(t)
	c.file("org/repo", commitA, "a-Q8_0.gguf", model(t, "a"))
	elsewhere := filepath.Join(c.dir, "../elsewhere")
	if err := os.Rename(c.repo("org/repo"), elsewhere); err != nil {
		t.Fatal(err)
	}
	symlink(t, elsewhere, c.repo("org/repo"))
	found := findAll(t, s, c.dir)
	if len(found) != 1 || !strings.Contains(found[0].Problem, "is not followed") {
		t.Fatalf("found\n%s", list(found))
	}
}

// What is named as no repository can be is found, and no reference to the hub is made of it.
func TestHuggingFaceNames(t *testing.T) {
	c, s := newCache(t)
	for i, folder := range []string{"models--gpt2", "models--a--b--c", "models--..--x", "models--o--r\x1b]0;x\a", "models--o--re po", "models--o--r\u202eepo"} {
		write(t, filepath.Join(c.dir, folder, "snapshots", commitA, "a-Q8_0.gguf"), model(t, strings.Repeat("x", i)))
	}
	// Names that cannot be written in a reference.
	for _, name := range []string{"a@b.gguf", "a:b.gguf", "a\nb.gguf", "a\\b.gguf", "a\xffb.gguf", "a\u200bb.gguf"} {
		write(t, filepath.Join(c.repo("org/repo"), "snapshots", commitA, name), model(t, name))
	}
	found := findAll(t, s, c.dir)
	if len(found) != 12 {
		t.Fatalf("found\n%s", list(found))
	}
	for _, f := range found {
		if f.Problem != "" {
			t.Errorf("%s: %s", f.Name, f.Problem)
		}
		for _, ref := range f.Refs {
			if strings.HasPrefix(ref, "hf:") {
				t.Errorf("%s has the reference %q", f.Name, ref)
			}
		}
	}
}

func TestHuggingFaceRefsAreChecked(t *testing.T) {
	c, s := newCache(t)
	c.file("org/repo", commitA, "a-Q8_0.gguf", model(t, "a"))
	c.ref("org/repo", "main", "../../../etc")
	c.ref("org/repo", "v 1", commitA)
	c.ref("org/repo", "long", strings.Repeat("a", maxManifest+1))
	f := named(t, findAll(t, s, c.dir), "org/repo:Q8_0")
	usable(t, f, "hf:org/repo:Q8_0", "hf:org/repo/a-Q8_0.gguf", "hf:org/repo/a-Q8_0.gguf@"+commitA)
}

package catalog

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/peaks"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// Whatever lies in the data directory, nothing outside it is listed as ours, and nothing fails that has to
// do with other models.
func TestHostileManifests(t *testing.T) {
	outside := write(t, filepath.Join(t.TempDir(), "m.gguf"), weights(1, 4096))
	good := `{"name":"m","kind":"model","size_bytes":4384,"in_place":` + quoted(outside) + `}`
	for name, tc := range map[string]struct {
		id, text string
		listed   bool
	}{
		"good":              {"m", `{"schema":2,"id":"m","files":[` + good + `]}`, true},
		"no weights":        {"m", `{"schema":2,"id":"m","files":[]}`, false},
		"null":              {"m", `null`, false},
		"other id":          {"m", `{"schema":2,"id":"n","files":[` + good + `]}`, false},
		"schema 0":          {"m", `{"schema":0,"id":"m","files":[` + good + `]}`, false},
		"relative":          {"m", `{"schema":2,"id":"m","files":[{"kind":"model","in_place":"../../m.gguf"}]}`, false},
		"relative schema 1": {"m", `{"schema":1,"id":"m","in_place":"../../m.gguf"}`, false},
		"a folder":          {"m", `{"schema":2,"id":"m","files":[{"kind":"model","in_place":` + quoted(filepath.Dir(outside)) + `}]}`, false},
		"a device":          {"m", `{"schema":2,"id":"m","files":[{"kind":"model","in_place":` + quoted(os.DevNull) + `}]}`, false},
		"digest is a path":  {"m", `{"schema":2,"id":"m","files":[{"kind":"model","digest":"sha256:../../../m.gguf","size_bytes":4384}]}`, false},
		"upper case":        {"m", `{"schema":2,"id":"m","files":[{"kind":"model","digest":"sha256:` + strings.Repeat("A", 64) + `"}]}`, false},
		"control":           {"a\nb", `{"schema":2,"id":"a\nb","files":[` + good + `]}`, false},
		"long":              {strings.Repeat("x", 300), `{"schema":2,"id":"` + strings.Repeat("x", 300) + `","files":[` + good + `]}`, false},
		"deep":              {"m", strings.Repeat("[", 1<<20), false},
		"huge":              {"m", `{"schema":2,"id":"m","files":[` + good + `]}` + strings.Repeat(" ", maxManifest), false},
		"template first":    {"m", `{"schema":2,"id":"m","files":[{"kind":"template","in_place":` + quoted(write(t, outside+".t", nil)) + `},` + good + `]}`, true},
		"long refs":         {"m", `{"schema":2,"id":"m","refs":["` + strings.Repeat("r", messages.MaxRef+1) + `"],"files":[` + good + `]}`, true},
		"many refs":         {"m", `{"schema":2,"id":"m","refs":["x"` + strings.Repeat(`,"y"`, 10000) + `],"files":[` + good + `]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStock()
			s.put("test:other", "other", weights(5, 4096))
			c := at(t.TempDir(), s)
			write(t, filepath.Join(c.dir, folder(tc.id), manifestName), []byte(tc.text))
			write(t, filepath.Join(c.dir, "m.gguf"), weights(1, 4096))
			pull(t, c, Pull{Ref: "test:other"})
			want := 1
			if tc.listed {
				want++
				m, err := c.Find("m")
				if err != nil || m.Path != outside || m.SizeBytes != 4384 || len(m.Refs) > maxRefs {
					t.Errorf("%+v, %v", m, err)
				}
			}
			if got := c.List(); len(got) != want {
				t.Errorf("listed %q", ids(got))
			}
			if _, err := c.Verify(t.Context(), nil, Watcher{}); err != nil {
				t.Error(err)
			}
			_, _ = c.Remove(t.Context(), "m")
			if !lstat(outside) {
				t.Fatal("a file outside is gone")
			}
		})
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// Names that would meet the catalog's own files, or devices, get folders of their own.
func TestFolderNames(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"a", "A", "a.", "blobs", "partial", "claims", "Blobs", "peaks.json", "peaks.json.lock", "nul", "NUL", "con.txt", "CON.txt", "com1", "lpt9.x",
		"é", "e\u0301", "K", "\u212a", "k", "ſ", "s", "..", ".", "a/b", "a_b", ".lock", "-", strings.Repeat("x", 300), strings.Repeat("x", 299)} {
		f := folder(id)
		if other, ok := seen[strings.ToLower(f)]; ok {
			t.Errorf("%q and %q both have %q", id, other, f)
		}
		seen[strings.ToLower(f)] = id
		if f == blobsDir || f == partialDir || f == claimsDir || strings.HasPrefix(f, peaksName) && !strings.Contains(f, "@") || reserved.MatchString(f) || filepath.Base(f) != f || f[0] == '.' {
			t.Errorf("%q gives %q", id, f)
		}
	}
	s := newStock()
	s.put("test:a", "peaks.json", weights(1, 4096))
	c := at(t.TempDir(), s)
	m := pull(t, c, Pull{Ref: "test:a"})
	if err := c.Peaks().Record(peaks.Key{Digest: m.Digest, Device: CPU}, 1); err != nil {
		t.Error(err)
	}
	if len(c.List()) != 1 {
		t.Error("not listed")
	}
}

// Links that were planted in the data directory lead no write outside, and what they lead to stays.
func TestPlantedLinks(t *testing.T) {
	s := newStock()
	w := weights(1, 4096)
	s.put("test:a", "a", w)
	for name, tc := range map[string]struct {
		link  string // below models
		file  bool   // it leads to a file
		fails bool
	}{
		"model":     {"a", false, true},
		"download":  {filepath.Join(partialDir, digestOfBytes(w)[len(digestPrefix):]), false, true},
		"part":      {filepath.Join("a", manifestName+".part"), true, false},
		"manifest":  {filepath.Join("a", manifestName), true, false},
		"a blob":    {filepath.Join(blobsDir, blobPrefix+digestOfBytes(w)[len(digestPrefix):]), true, false},
		"other":     {"z", false, false},
		"old blob":  {filepath.Join(blobsDir, blobPrefix+strings.Repeat("0", 64)), true, false},
		"old claim": {filepath.Join(claimsDir, "c-x"), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			target := outside
			precious := write(t, filepath.Join(outside, "precious"), []byte("precious"))
			if tc.file {
				target = precious
			}
			c := at(t.TempDir(), s)
			link := filepath.Join(c.dir, tc.link)
			if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, link); err != nil {
				t.Fatal(err)
			}
			_, err := c.Pull(t.Context(), Pull{Ref: "test:a"}, Watcher{})
			if (err != nil) != tc.fails {
				t.Error(err)
			}
			if err != nil {
				wantError(t, err, messages.CodeInternal, link)
			}
			if _, err := c.GC(t.Context(), false, true); err != nil {
				t.Error(err)
			}
			_, _ = c.Remove(t.Context(), "a")
			if got, err := os.ReadFile(precious); err != nil || string(got) != "precious" {
				t.Errorf("%q, %v", got, err)
			}
			if all, _ := os.ReadDir(outside); len(all) != 1 {
				t.Errorf("outside: %v", all)
			}
		})
	}
}

func TestManifestTooLarge(t *testing.T) {
	m := manifest{Schema: manifestSchema, ID: "m"}
	for i := range 60000 {
		m.Files = append(m.Files, file{Name: fmt.Sprintf("a name of some length, as hostile sources have, %d", i), Kind: vendor.License})
	}
	dir := t.TempDir()
	wantError(t, m.write(dir), messages.CodeBadModel, "bytes")
	if all, _ := os.ReadDir(dir); len(all) != 0 {
		t.Errorf("%v", all)
	}
}

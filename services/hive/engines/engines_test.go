package engines

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ENGINES_TEST_INSTALL"); dir != "" { // a process that is killed while it installs
		New(dir, npmOf(testPin("sha512-none"))).Install(context.Background(), LlamaCpp, nil)
		return
	}
	goleak.VerifyTestMain(m)
}

type entry struct {
	name, body string
	kind       byte // 0: a plain file
}

var goodPackage = []entry{
	{name: "package/LICENSE", body: "MIT"},
	{name: "package/lib/" + libraryName() + ".v0.5.0", body: "library"},
	{name: "package/lib/libggml-cpu-x64.so", body: "variant"},
}

func pack(t testing.TB, entries []entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o4777, Size: int64(len(e.body)), Typeflag: tar.TypeReg}
		if e.kind != 0 {
			h.Typeflag, h.Size, h.Linkname = e.kind, 0, e.body
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.kind == 0 {
			if _, err := tw.Write([]byte(e.body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func integrity(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

func testPin(integrity string) pin {
	return pin{
		engine: LlamaCpp, release: "v0.5.0", goos: runtime.GOOS, goarch: runtime.GOARCH,
		parts: []part{{pkg: "@test/llama", version: "1.0.0", integrity: integrity}}, lib: "lib",
		links: []link{{libraryName(), libraryName() + ".v0.5.0"}},
	}
}

// npmOf installs for this system from pins.
func npmOf(pins ...pin) npmVendor {
	return npmVendor{pins: pins, goos: runtime.GOOS, goarch: runtime.GOARCH}
}

// fakeNpm puts a script named npm on PATH. It runs in the folder for the package, with the package
// to give in $PACKAGE and the number of its runs, as lines, in $RUNS.
func fakeNpm(t *testing.T, script string, tgz []byte) (runs func() int) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("PACKAGE", filepath.Join(dir, "package"))
	t.Setenv("RUNS", filepath.Join(dir, "runs"))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv(LibVar, "")
	if err := os.WriteFile(filepath.Join(dir, "package"), tgz, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\necho \"$*\" >>$RUNS\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return func() int {
		b, _ := os.ReadFile(filepath.Join(dir, "runs"))
		return bytes.Count(b, []byte("\n"))
	}
}

const give = "cp $PACKAGE ./any-name.tgz\n"

// nothingLeft checks that the data directory has no trace of an engine but the lock.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	entries, _ := os.ReadDir(filepath.Join(dir, "engines"))
	for _, e := range entries {
		if e.Name() != ".lock" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func wantNoEngine(t *testing.T, err error, words ...string) {
	t.Helper()
	if messages.CodeOf(err) != messages.CodeNoEngine {
		t.Fatalf("got %v, want code %s", err, messages.CodeNoEngine)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// The real package, through the npm of this machine.
func TestRealInstall(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		t.Fatal("npm is missing: install Node.js (apt-get install nodejs npm)")
	}
	t.Setenv(LibVar, "")
	s := New(t.TempDir())
	var texts []string
	e, err := s.Install(t.Context(), LlamaCpp, func(st Step) {
		if st.Done > st.Total {
			t.Errorf("%+v", st)
		}
		texts = append(texts, st.Text)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v; %d steps", e, len(texts))
	for _, name := range []string{"libllama.so", "libggml.so", "libggml-base.so"} {
		if fi, err := os.Stat(filepath.Join(e.Path, name)); err != nil || fi.Size() < 10<<10 {
			t.Errorf("%s: %v", name, err)
		}
	}
	variants, _ := filepath.Glob(filepath.Join(e.Path, "libggml-cpu-*.so"))
	if len(variants) < 5 || e.SizeBytes < 10<<20 || e.Version != "v0.5.0" || e.Source != "npm" {
		t.Errorf("%+v with %d CPU variants", e, len(variants))
	}
	if texts[0] != "npm pack "+npmPins[0].parts[0].String() && texts[0] != "npm pack "+npmPins[1].parts[0].String() {
		t.Errorf("steps: %q", texts)
	}
}

func TestPathVendor(t *testing.T) {
	good := t.TempDir()
	for _, name := range []string{libraryName(), "libllama.v0.5.0.so"} {
		if err := os.WriteFile(filepath.Join(good, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	empty := t.TempDir()
	file := filepath.Join(good, libraryName())
	for name, tc := range map[string]struct {
		dir  string
		fail string // what the error says; "": it works
	}{
		"good":    {dir: good},
		"empty":   {dir: empty, fail: libraryName()},
		"missing": {dir: filepath.Join(empty, "none"), fail: "no such file"},
		"a file":  {dir: file, fail: file},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(LibVar, tc.dir)
			s := New(t.TempDir())
			e, err := s.Install(t.Context(), LlamaCpp, nil)
			if tc.fail != "" {
				wantNoEngine(t, err, tc.fail, tc.dir, LibVar)
				if _, err := s.Find(LlamaCpp); err == nil || len(s.List()) != 0 {
					t.Fatal("found all the same")
				}
				return
			}
			if err != nil || e.Path != tc.dir || e.Source != "path" || e.Version != "v0.5.0" {
				t.Fatalf("%+v, %v", e, err)
			}
			if l := s.List(); len(l) != 1 || l[0] != e {
				t.Fatalf("list %+v", l)
			}
		})
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack(f, goodPackage))
	f.Add(pack(f, []entry{{name: "../x", body: "x"}, {name: "package/l", body: "/etc", kind: tar.TypeSymlink}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		outer := t.TempDir()
		dst := filepath.Join(outer, "dst")
		if err := os.Mkdir(dst, 0o700); err != nil {
			t.Fatal(err)
		}
		unpack(bytes.NewReader(b), dst, 1<<20, func() {})
		if all, _ := os.ReadDir(outer); len(all) != 1 {
			t.Fatalf("written outside: %v", all)
		}
	})
}

package engines

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestPinsAreWellFormed(t *testing.T) {
	exact := regexp.MustCompile(`^\d+\.\d+\.\d+$`)
	seen, names := map[string]bool{}, append([]string{LlamaCpp}, betterBuilds...)
	for _, p := range npmPins {
		what := p.engine + " " + p.goos + "/" + p.goarch
		if seen[what] {
			t.Errorf("%s is pinned twice", what)
		}
		seen[what] = true
		if !slices.Contains(names, p.engine) || len(p.parts) == 0 || len(p.links) < 2 || !filepath.IsLocal(p.lib) {
			t.Errorf("%s: %+v", what, p)
		}
		for _, q := range p.parts {
			sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(q.integrity, "sha512-"))
			if err != nil || len(sum) != 64 || !exact.MatchString(q.version) || q.into != "" && !filepath.IsLocal(q.into) {
				t.Errorf("%s: %+v", what, q)
			}
		}
		for _, l := range p.links {
			if target := filepath.Join(p.lib, l.target); filepath.Base(l.name) != l.name || !filepath.IsLocal(target) {
				t.Errorf("%s: link %+v", what, l)
			}
		}
	}
	for _, system := range []string{"linux/amd64", "linux/arm64", "darwin/arm64", "darwin/amd64", "windows/amd64", "windows/arm64"} {
		if !seen[LlamaCpp+" "+system] {
			t.Errorf("nothing for %s", system)
		}
	}
}

// TestEveryPin fetches every package, 800 MB, and unpacks it as its own system would.
func TestEveryPin(t *testing.T) {
	if os.Getenv("ENGINES_TEST_EVERY_PIN") == "" {
		t.Skip("it fetches 800 MB: make pins")
	}
	for _, p := range npmPins {
		t.Run(p.engine+"-"+p.goos+"-"+p.goarch, func(t *testing.T) {
			dst := t.TempDir()
			v := npmVendor{pins: npmPins, goos: p.goos, goarch: p.goarch}
			lib, err := v.Install(t.Context(), p.engine, dst, func(Step) {})
			if err != nil {
				t.Fatal(err)
			}
			loaded := map[string][]string{
				"linux": {"libllama.so", "libggml.so", "libggml-base.so"}, "darwin": {"libllama.dylib", "libggml.dylib", "libggml-base.dylib"},
				"windows": {"llama.dll", "ggml.dll", "ggml-base.dll"},
			}[p.goos]
			if p.engine != LlamaCpp {
				build, _, _ := strings.Cut(strings.TrimPrefix(p.engine, LlamaCpp+"-"), "12")
				loaded = append(loaded, map[string]string{"linux": "libggml-" + build + ".so", "windows": "ggml-" + build + ".dll"}[p.goos])
			}
			for _, name := range loaded {
				if fi, err := os.Stat(filepath.Join(dst, lib, name)); err != nil || fi.Size() < 10<<10 {
					t.Errorf("%s: %v", name, err)
				}
			}
			said, err := os.ReadFile(filepath.Join(dst, lib, "_nlcBuildMetadata.json"))
			if err != nil || !strings.Contains(string(said), `"release":"`+p.release+`"`) {
				t.Errorf("not llama.cpp %s: %s, %v", p.release, said, err)
			}
			cpu, _ := filepath.Glob(filepath.Join(dst, lib, "*ggml-cpu*"))
			t.Logf("%d MB, %d CPU variants", sizeOf(dst)>>20, len(cpu))
			if len(cpu) == 0 {
				t.Error("it has no CPU")
			}
		})
	}
}

// install puts builds on the disk as an installation leaves them.
func install(t *testing.T, s *Store, tgz []byte, builds ...string) {
	t.Helper()
	fakeNpm(t, give, tgz)
	for _, b := range builds {
		if e, err := s.Install(t.Context(), b, nil); err != nil || e.Name != b {
			t.Fatalf("%s: %+v, %v", b, e, err)
		}
	}
}

func TestBestBuild(t *testing.T) {
	tgz := pack(t, goodPackage)
	var pins []pin
	for _, name := range append([]string{LlamaCpp}, betterBuilds...) {
		p := testPin(integrity(tgz))
		p.engine = name
		pins = append(pins, p)
	}
	for name, tc := range map[string]struct {
		installed []string
		want      string
	}{
		"the CPU's alone":           {[]string{LlamaCpp}, LlamaCpp},
		"Vulkan before the CPU":     {[]string{LlamaCppVulkan, LlamaCpp}, LlamaCppVulkan},
		"CUDA before Vulkan":        {[]string{LlamaCppVulkan, LlamaCppCUDA, LlamaCpp}, LlamaCppCUDA},
		"CUDA 13 before CUDA 12":    {[]string{LlamaCppCUDA12, LlamaCppCUDA}, LlamaCppCUDA},
		"CUDA 12 before Vulkan":     {[]string{LlamaCppVulkan, LlamaCppCUDA12}, LlamaCppCUDA12},
		"a better one needs no CPU": {[]string{LlamaCppVulkan}, LlamaCppVulkan},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(t.TempDir(), pathVendor{getenv: os.Getenv}, npmOf(pins...))
			install(t, s, tgz, tc.installed...)
			if e, err := s.Find(LlamaCpp); err != nil || e.Name != tc.want {
				t.Errorf("%+v, %v; want %s", e, err, tc.want)
			}
			for _, b := range append([]string{LlamaCpp}, betterBuilds...)[1:] { // a build's own name is just that
				e, err := s.Find(b)
				if slices.Contains(tc.installed, b) {
					if err != nil || e.Name != b {
						t.Errorf("%s: %+v, %v", b, e, err)
					}
				} else {
					wantNoEngine(t, err, b, "rbee engine install "+b)
				}
			}
			if l := s.List(); len(l) != len(tc.installed) {
				t.Errorf("list %+v", l)
			}
		})
	}
}

func TestBestBuildDamagedOrReplaced(t *testing.T) {
	tgz := pack(t, goodPackage)
	cpu, cuda := testPin(integrity(tgz)), testPin(integrity(tgz))
	cuda.engine = LlamaCppCUDA
	s := New(t.TempDir(), pathVendor{getenv: os.Getenv}, npmOf(cpu, cuda))
	install(t, s, tgz, LlamaCpp, LlamaCppCUDA)
	e, err := s.Find(LlamaCpp)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(e.Path, libraryName())); err != nil {
		t.Fatal(err)
	}
	_, err = s.Find(LlamaCpp)
	wantNoEngine(t, err, LlamaCppCUDA, "damaged", "rbee engine install llama-cpp-cuda")

	own := t.TempDir() // the user's own folder comes first
	if err := os.WriteFile(filepath.Join(own, libraryName()), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(LibVar, own)
	if e, err := s.Find(LlamaCpp); err != nil || e.Path != own {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestParts: an engine of two packages has both, and a link from one into the other.
func TestParts(t *testing.T) {
	tgz := pack(t, goodPackage)
	p := testPin(integrity(tgz))
	second := p.parts[0]
	second.into = "more"
	p.parts = append(p.parts, second)
	p.links = append(p.links, link{"libggml-cuda.so", "../more/lib/libggml-cpu-x64.so"})
	runs := fakeNpm(t, give, tgz)
	s := New(t.TempDir(), npmOf(p))
	e, err := s.Install(t.Context(), LlamaCpp, nil)
	if err != nil || runs() != 2 {
		t.Fatalf("%+v, %v, npm ran %d times", e, err, runs())
	}
	if b, err := os.ReadFile(filepath.Join(e.Path, "libggml-cuda.so")); err != nil || string(b) != "variant" {
		t.Errorf("%q, %v", b, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(e.Path), "*", ".download")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	second.integrity = "sha512-other" // the second is checked as well
	p.parts[1] = second
	dir := t.TempDir()
	_, err = New(dir, npmOf(p)).Install(t.Context(), LlamaCpp, nil)
	wantNoEngine(t, err, "not the package that was pinned")
	nothingLeft(t, dir)
}

// TestRealGPUBuild installs the smallest GPU build, which loads without its GPU too.
func TestRealGPUBuild(t *testing.T) {
	if runtime.GOOS+"/"+runtime.GOARCH != "linux/amd64" {
		t.Skip("pinned for linux/amd64 alone")
	}
	if _, err := exec.LookPath("npm"); err != nil {
		t.Fatal("npm is missing: install Node.js (apt-get install nodejs npm)")
	}
	t.Setenv(LibVar, "")
	s := New(t.TempDir())
	if _, err := s.Install(t.Context(), LlamaCppVulkan, nil); err != nil {
		t.Fatal(err)
	}
	e, err := s.Find(LlamaCpp)
	if err != nil || e.Name != LlamaCppVulkan {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := os.Stat(filepath.Join(e.Path, "libggml-vulkan.so")); err != nil {
		t.Error(err)
	}
}

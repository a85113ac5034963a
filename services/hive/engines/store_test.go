package engines

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const patience = 30 * time.Second

func npmStore(dir, integrity string) *Store {
	return New(dir, pathVendor{getenv: os.Getenv}, npmOf(testPin(integrity)))
}

func TestInstallFindList(t *testing.T) {
	tgz := pack(t, goodPackage)
	runs := fakeNpm(t, give, tgz)
	dir := t.TempDir()
	s := npmStore(dir, integrity(tgz))
	_, err := s.Find(LlamaCpp)
	wantNoEngine(t, err, "not installed", "rbee engine install llama-cpp")
	if len(s.List()) != 0 {
		t.Fatal("something is listed")
	}
	e, err := s.Install(t.Context(), LlamaCpp, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "engines", "llama-cpp", "v0.5.0", "lib"); e.Path != want || e.InstalledAt.IsZero() {
		t.Fatalf("%+v, want path %s", e, want)
	}
	if b, err := os.ReadFile(filepath.Join(e.Path, libraryName())); err != nil || string(b) != "library" {
		t.Fatalf("%q, %v", b, err)
	}
	if fi, _ := os.Stat(filepath.Join(e.Path, "libggml-cpu-x64.so")); fi.Mode() != 0o644 {
		t.Fatalf("mode %v", fi.Mode())
	}
	again, err := s.Install(t.Context(), LlamaCpp, nil)
	if err != nil || again != e || runs() != 1 {
		t.Fatalf("second install: %+v, %v, npm ran %d times", again, err, runs())
	}
	if l := s.List(); len(l) != 1 || l[0] != e {
		t.Fatalf("list %+v", l)
	}
	_, err = s.Install(t.Context(), "../../evil", nil)
	wantNoEngine(t, err, "../../evil", LlamaCpp)

	// A damaged engine is not used, and installed anew.
	if err := os.Remove(filepath.Join(e.Path, libraryName())); err != nil {
		t.Fatal(err)
	}
	_, err = s.Find(LlamaCpp)
	wantNoEngine(t, err, "damaged", "rbee engine install llama-cpp")
	if _, err = s.Install(t.Context(), LlamaCpp, nil); err != nil || runs() != 2 {
		t.Fatalf("%v, npm ran %d times", err, runs())
	}
}

func TestInstallRefuses(t *testing.T) {
	with := func(e ...entry) []byte { return pack(t, append(append([]entry{}, goodPackage...), e...)) }
	good := pack(t, goodPackage)
	for name, tc := range map[string]struct {
		script string
		tgz    []byte
		pinned []byte // nil: tgz
		says   string
	}{
		"integrity":      {give, with(entry{name: "package/x", body: "evil"}), good, "not the package that was pinned"},
		"parent":         {give, with(entry{name: "package/../../../escaped", body: "x"}), nil, "path is refused"},
		"absolute":       {give, with(entry{name: "/package/escaped", body: "x"}), nil, "path is refused"},
		"backslash":      {give, with(entry{name: `package/..\..\escaped`, body: "x"}), nil, "path is refused"},
		"no folder":      {give, with(entry{name: "escaped", body: "x"}), nil, "path is refused"},
		"symlink":        {give, with(entry{name: "package/l", body: "/etc", kind: tar.TypeSymlink}), nil, "only plain files"},
		"hard link":      {give, with(entry{name: "package/l", body: "/etc/passwd", kind: tar.TypeLink}), nil, "only plain files"},
		"device":         {give, with(entry{name: "package/d", kind: tar.TypeChar}), nil, "only plain files"},
		"twice":          {give, with(goodPackage[0]), nil, "exists"},
		"no library":     {give, pack(t, goodPackage[:1]), nil, "has no " + libraryName()},
		"not a tgz":      {give, []byte("hello"), nil, "not a gzip"},
		"truncated":      {give, good[:len(good)/2], nil, "EOF"},
		"npm fails":      {"echo 'npm error code E404' >&2\nexit 1\n", nil, nil, "E404"},
		"npm is silent":  {"exit 0\n", nil, nil, "0 packages"},
		"npm gives more": {give + "cp $PACKAGE ./b.tgz\n", good, nil, "2 packages"},
	} {
		t.Run(name, func(t *testing.T) {
			fakeNpm(t, tc.script, tc.tgz)
			dir := t.TempDir()
			if tc.pinned == nil {
				tc.pinned = tc.tgz
			}
			_, err := npmStore(dir, integrity(tc.pinned)).Install(t.Context(), LlamaCpp, nil)
			wantNoEngine(t, err, tc.says)
			nothingLeft(t, dir)
			if _, err := os.Stat(filepath.Join(dir, "escaped")); err == nil {
				t.Fatal("escaped")
			}
		})
	}
}

func TestUnpackBounds(t *testing.T) {
	tgz := pack(t, []entry{{name: "package/zeros", body: strings.Repeat("\x00", 2000)}})
	err := unpack(bytes.NewReader(tgz), t.TempDir(), 1999, func() {})
	if err == nil || !strings.Contains(err.Error(), "more bytes") {
		t.Fatal(err)
	}
	many := make([]entry, maxFiles+1)
	for i := range many {
		many[i] = entry{name: "package/d", kind: tar.TypeDir}
	}
	err = unpack(bytes.NewReader(pack(t, many)), t.TempDir(), 1999, func() {})
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Fatal(err)
	}
}

func TestNoNpm(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(LibVar, "")
	dir := t.TempDir()
	_, err := npmStore(dir, "x").Install(t.Context(), LlamaCpp, nil)
	wantNoEngine(t, err, "npm", "Node.js", LibVar)
	nothingLeft(t, dir)
}

func TestNoPinForThisSystem(t *testing.T) {
	t.Setenv(LibVar, "")
	p := testPin("x")
	p.goos = "plan9"
	_, err := New(t.TempDir(), npmOf(p)).Install(t.Context(), LlamaCpp, nil)
	wantNoEngine(t, err, runtime.GOOS, LibVar)
}

func TestConcurrentInstalls(t *testing.T) {
	tgz := pack(t, goodPackage)
	runs := fakeNpm(t, give, tgz)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { // each with a lock file of its own, as processes have
			if _, err := npmStore(dir, integrity(tgz)).Install(t.Context(), LlamaCpp, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if runs() != 1 {
		t.Errorf("npm ran %d times", runs())
	}
}

// hanging is an npm that leaves half a package, tells its pid through a pipe and stays.
const hanging = "head -c 10 $PACKAGE >half.tgz\necho $$ >$STARTED\nexec sleep 600\n"

// started gives the pid of the hanging npm once it runs.
func started(t *testing.T) func() int {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "started")
	if err := exec.Command("mkfifo", fifo).Run(); err != nil {
		t.Fatal("mkfifo is missing (apt-get install coreutils): ", err)
	}
	t.Setenv("STARTED", fifo)
	return func() int {
		b, err := os.ReadFile(fifo)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
}

func TestCancelledInstall(t *testing.T) {
	fakeNpm(t, hanging, pack(t, goodPackage))
	npm := started(t)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := npmStore(dir, "x").Install(ctx, LlamaCpp, nil)
		ended <- err
	}()
	npm()

	// Whoever waits for the lock leaves when it is told to.
	waiting, leave := context.WithCancel(t.Context())
	_, err := npmStore(dir, "x").Install(waiting, LlamaCpp, func(Step) { leave() })
	if messages.CodeOf(err) != messages.CodeCancelled {
		t.Fatalf("waiting: %v", err)
	}
	cancel()
	if err := <-ended; messages.CodeOf(err) != messages.CodeCancelled {
		t.Fatalf("installing: %v", err)
	}
	nothingLeft(t, dir)
}

func TestKilledInstall(t *testing.T) {
	tgz := pack(t, goodPackage)
	fakeNpm(t, hanging, tgz)
	npm := started(t)
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "ENGINES_TEST_INSTALL="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := npm()
	cmd.Process.Kill()
	cmd.Wait()
	if p, err := os.FindProcess(pid); err == nil {
		p.Signal(syscall.SIGKILL)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "engines", tempPrefix+"*")); len(left) != 1 {
		t.Fatalf("left: %q; want the temporary folder", left)
	}
	s := npmStore(dir, integrity(tgz))
	if _, err := s.Find(LlamaCpp); err == nil || len(s.List()) != 0 {
		t.Fatal("half an engine was found")
	}
	fakeNpm(t, give, tgz)
	if _, err := s.Install(t.Context(), LlamaCpp, nil); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "engines", tempPrefix+"*")); len(left) != 0 {
		t.Fatalf("not swept: %q", left)
	}
}

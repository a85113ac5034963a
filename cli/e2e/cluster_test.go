package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/messages"
)

// patience bounds every wait of these tests.
const patience = 60 * time.Second

var bin string // folder of the binaries under test

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (int, error) {
	if os.Getenv("RBEE_LLAMA_LIB") == "" {
		return 1, errors.New("RBEE_LLAMA_LIB is not set: run `make test`, or `make libs` and set it to the path that bin/rbee engine list --data-dir .cache/rbee shows")
	}
	dir, err := os.MkdirTemp("", "rbee-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	for _, pkg := range []string{"cli/cmd/rbee", "services/worker/cmd/rbee-worker", "services/queen/cmd/rbee-queen", "services/hive/cmd/rbee-hive"} {
		c := exec.Command("go", "build", "-o", dir, "github.com/rbee-project/rbee/"+pkg)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	bin = dir
	return m.Run(), nil
}

// cluster is an `rbee up` on free ports and a data dir of its own.
type cluster struct {
	dir  string
	addr solo.Address
	up   *exec.Cmd
	log  string
	done chan error
	wrap []string // a command that runs the program which follows
}

// env is a clean environment: nothing of the machine's own rbee or nats, and no way to the real HuggingFace or
// Ollama: a test that has a source of its own sets its variable.
func env(dir string) []string {
	own := []string{"HF_ENDPOINT=http://127.0.0.1:1", "RBEE_OLLAMA_REGISTRY=http://127.0.0.1:1"}
	for _, name := range []string{"HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "RBEE_OLLAMA_REGISTRY"} {
		if v, ok := os.LookupEnv(name); ok {
			own = append(own, name+"="+v)
		}
	}
	return append(own, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_CONFIG_HOME=" + filepath.Join(dir, "config"),
		"RBEE_DATA_DIR=" + dir, "RBEE_LLAMA_LIB=" + os.Getenv("RBEE_LLAMA_LIB"), "TMPDIR=" + os.TempDir()}...)
}

// start runs `rbee up` and waits until it says so. The test's end stops it by Ctrl-C, and fails when
// that is not clean or a process stays.
func start(t testing.TB, args ...string) *cluster {
	t.Helper()
	c := &cluster{dir: t.TempDir()}
	c.run(t, args...)
	t.Cleanup(func() { c.stop(t) })
	return c
}

func (c *cluster) run(t testing.TB, args ...string) {
	t.Helper()
	c.log = filepath.Join(c.dir, "up.log")
	p := launchBy(t, c.wrap, c.dir, "up.log", append([]string{"--http", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, args...)...)
	c.up, c.done = p.cmd, p.done
	var ok bool
	if c.addr, ok = solo.ReadAddress(c.dir); !ok {
		t.Fatal("no address file")
	}
}

// proc is an `rbee up` that said that it is up.
type proc struct {
	cmd  *exec.Cmd
	done chan error
	log  string
}

// launch runs `rbee up` on dir and waits until it says so.
func launch(t testing.TB, dir, logName string, args ...string) *proc {
	t.Helper()
	return launchBy(t, nil, dir, logName, args...)
}

func launchBy(t testing.TB, wrap []string, dir, logName string, args ...string) *proc {
	t.Helper()
	p := &proc{log: filepath.Join(dir, logName), done: make(chan error, 1)}
	line := append(append([]string{}, wrap...), append([]string{filepath.Join(bin, "rbee"), "up", "--monitor", ""}, args...)...)
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Env = env(dir)
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ready := make(chan bool, 1)
	go func() {
		defer log.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			fmt.Fprintln(log, s.Text())
			if strings.HasPrefix(s.Text(), "rbee is up") {
				ready <- true
			}
		}
		r.Close()
		p.done <- p.cmd.Wait()
	}()
	select {
	case <-ready:
	case err := <-p.done:
		t.Fatalf("rbee up ended: %v\n%s", err, p.logs())
	case <-time.After(patience):
		t.Fatalf("rbee up says nothing\n%s", p.logs())
	}
	return p
}

func (p *proc) logs() string {
	b, _ := os.ReadFile(p.log)
	return string(b)
}

func (c *cluster) logs() string {
	b, _ := os.ReadFile(c.log)
	return string(b)
}

func (c *cluster) stop(t testing.TB) {
	t.Helper()
	if c.up == nil {
		return
	}
	_ = c.up.Process.Signal(os.Interrupt)
	c.ended(t)
}

// ended waits for an `rbee up` that was told to stop.
func (c *cluster) ended(t testing.TB) {
	t.Helper()
	select {
	case err := <-c.done:
		if err != nil {
			t.Errorf("rbee up ended with %v\n%s", err, c.logs())
		}
	case <-time.After(patience):
		_ = c.up.Process.Kill()
		t.Errorf("rbee up does not stop\n%s", c.logs())
	}
	c.up = nil
	if left := processes(c.dir); len(left) > 0 {
		t.Errorf("processes stayed: %q", left)
	}
}

// processes are the command lines that name dir.
func processes(dir string) (found []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range all {
		if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(dir)) {
			found = append(found, string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// result of a command.
type result struct {
	stdout, stderr string
	code           int
}

// rbee runs a command of the CLI against the cluster.
func (c *cluster) rbee(t testing.TB, args ...string) result {
	t.Helper()
	return rbee(t, c.dir, "", args...)
}

func rbee(t testing.TB, dir, stdin string, args ...string) result {
	t.Helper()
	return command(t, dir, stdin, filepath.Join(bin, "rbee"), args...)
}

func command(t testing.TB, dir, stdin, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env(dir)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v\n%s", name, args, err, errs.String())
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// ok is rbee that must succeed; it returns stdout.
func (c *cluster) ok(t testing.TB, args ...string) string {
	t.Helper()
	r := c.rbee(t, args...)
	if r.code != 0 {
		t.Fatalf("rbee %q: exit %d\n%s\n%s", args, r.code, r.stderr, c.logs())
	}
	return r.stdout
}

// spawn starts a worker and returns what the registry says of it.
func (c *cluster) spawn(t testing.TB, model string, args ...string) messages.WorkerInfo {
	t.Helper()
	var w messages.WorkerInfo
	out := c.ok(t, append([]string{"worker", "spawn", model, "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &w); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return w
}

// workers is `rbee worker list --json`.
func (c *cluster) workers(t testing.TB) []messages.WorkerInfo {
	t.Helper()
	var all []messages.WorkerInfo
	for dec := json.NewDecoder(strings.NewReader(c.ok(t, "worker", "list", "--json"))); ; {
		var w messages.WorkerInfo
		if err := dec.Decode(&w); err != nil {
			return all
		}
		all = append(all, w)
	}
}

// info asks the worker itself.
func info(t testing.TB, w *messages.WorkerInfo) (i messages.WorkerInfo) {
	t.Helper()
	r, err := http.Get(fmt.Sprintf("http://%s:%d/info", w.Host, w.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&i); err != nil {
		t.Fatal(err)
	}
	return i
}

// connect is the admin, as the CLI connects.
func (c *cluster) connect(t testing.TB) *bus.Conn {
	t.Helper()
	creds, err := bus.ReadCredentials(filepath.Join(c.dir, "creds", "admin.creds"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := bus.Connect(context.Background(), bus.Config{URL: c.addr.NATS, Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func (c *cluster) post(t testing.TB, ctx context.Context, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.addr.HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(b)
}

// await polls until holds is true, within patience.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); !holds(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func kill(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal %d: %v", pid, err)
	}
}

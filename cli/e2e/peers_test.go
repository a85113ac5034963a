package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
)

// farHive is an rbee-hive with a data dir and credentials of its own.
type farHive struct {
	name, dir string
	cluster   *cluster
	args      []string
	cmd       *exec.Cmd
	ended     chan error
}

// hive starts another hive on the cluster's bus and waits until the queen knows it.
func (c *cluster) hive(t *testing.T, name string, args ...string) *farHive {
	t.Helper()
	h := &farHive{name: name, dir: t.TempDir(), cluster: c, args: args}
	creds := filepath.Join(h.dir, "hive.creds")
	if err := os.WriteFile(creds, []byte(c.ok(t, "creds", "create", "--role", "hive", "--name", name)), 0o600); err != nil {
		t.Fatal(err)
	}
	h.run(t)
	t.Cleanup(func() { h.stop(t, syscall.SIGTERM) })
	return h
}

func (h *farHive) run(t *testing.T) {
	t.Helper()
	h.cmd = exec.Command(filepath.Join(bin, "rbee-hive"), append([]string{"--server", h.cluster.addr.NATS, "--creds", filepath.Join(h.dir, "hive.creds"),
		"--data-dir", h.dir}, h.args...)...)
	h.cmd.Env = env(h.dir)
	log, err := os.OpenFile(filepath.Join(h.dir, "hive.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	h.cmd.Stderr = log
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.ended = make(chan error, 1)
	go func(c *exec.Cmd, ended chan error) { ended <- c.Wait() }(h.cmd, h.ended)
	await(t, h.name+" is there", func() bool { return h.cluster.rbee(t, "hive", "get", h.name).code == 0 })
}

func (h *farHive) stop(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if h.cmd == nil {
		return
	}
	_ = h.cmd.Process.Signal(sig)
	select {
	case <-h.ended:
	case <-time.After(patience):
		t.Errorf("%s does not end", h.name)
		_ = h.cmd.Process.Kill()
	}
	h.cmd = nil
}

// randomBee adds a repository with bee-random, 4.5 MB, and gives its reference and its file at the hub.
func randomBee(t *testing.T, h *fakehub.Hub) (ref, file string, size int64) {
	t.Helper()
	b := bee(t, bees.Random)
	h.Add(fakehub.Repo{Name: "honey/Random-GGUF", Files: []fakehub.File{{Path: "Random-F32.gguf", Content: b, LFS: true}}})
	return "hf:honey/Random-GGUF", "honey/Random-GGUF/Random-F32.gguf", int64(len(b))
}

// hasModel says whether a data dir has one model, whole.
func hasModel(t *testing.T, dir, digest string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(dir, "models", "blobs", strings.Replace(digest, ":", "-", 1)))
	return err == nil
}

// Three hives that pull one model at once cost one copy from outside, by their ports and over the bus.
func TestHivesCopyFromEachOther(t *testing.T) {
	for name, args := range map[string][]string{"by port": nil, "over the bus": {"--peer-listen", ""}} {
		t.Run(name, func(t *testing.T) {
			h := hub(t)
			ref, file, size := randomBee(t, h)
			h.Throttle(3 << 20)
			c := start(t, args...)
			far := []*farHive{c.hive(t, "h2", args...), c.hive(t, "h3", args...)}
			r := c.rbee(t, "model", "pull", ref, "--all-hives")
			r.says(t, 0)
			if strings.Count(r.stderr, "copying from hive") < 2 {
				t.Errorf("no two copy: %s", r.stderr)
			}
			if sent := h.SentBytes(file); sent > size {
				t.Errorf("%d bytes came from outside for a file of %d", sent, size)
			}
			digest := "sha256:" + fakehub.Digest(fakehub.File{Content: bee(t, bees.Random)})
			for _, dir := range []string{c.dir, far[0].dir, far[1].dir} {
				if !hasModel(t, dir, digest) {
					t.Errorf("%s has it not", dir)
				}
			}
			// Who comes later copies as well.
			late := c.hive(t, "h4", args...)
			h.Forget()
			c.ok(t, "model", "pull", ref, "--hive", "h4")
			if sent := h.SentBytes(file); sent > 0 || !hasModel(t, late.dir, digest) {
				t.Errorf("%d bytes came from outside for the fourth", sent)
			}
		})
	}
}

// The hive that fetches is killed in the middle: another goes on where it was, and no byte comes twice.
func TestHiveThatFetchesIsKilled(t *testing.T) {
	h := hub(t)
	ref, file, size := randomBee(t, h)
	h.Throttle(1 << 20)
	c := start(t)
	second, third := c.hive(t, "h2"), c.hive(t, "h3")
	c.pullJob(t, ref, "--hive", "h2")
	await(t, "it fetches", func() bool { return h.SentBytes(file) > size/10 })
	jobs := []string{c.pullJob(t, ref, "--hive", "h3"), c.pullJob(t, ref, "--hive", host(t))}
	for _, id := range jobs {
		await(t, "another copies from it", func() bool { return strings.Contains(c.ok(t, "job", "get", id), "copying from hive h2") })
	}
	await(t, "it is in the middle", func() bool { return h.SentBytes(file) > size/2 })
	second.stop(t, syscall.SIGKILL)
	h.Throttle(0)
	for _, id := range jobs {
		c.rbee(t, "job", "watch", id).says(t, 0)
	}
	if sent := h.SentBytes(file); sent > size+size/10 {
		t.Errorf("%d bytes came from outside for a file of %d", sent, size)
	}
	digest := "sha256:" + fakehub.Digest(fakehub.File{Content: bee(t, bees.Random)})
	if !hasModel(t, c.dir, digest) || !hasModel(t, third.dir, digest) {
		t.Error("it is not there")
	}
	// It comes back and copies what it lacks.
	h.Forget()
	second.run(t)
	c.ok(t, "model", "pull", ref, "--hive", "h2")
	if sent := h.SentBytes(file); sent > 0 {
		t.Errorf("%d bytes came from outside when it came back", sent)
	}
}

// host is the id of the hive in `rbee up`.
func host(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

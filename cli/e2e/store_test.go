package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// startOnDisk runs `rbee up` whose NATS store is a small disk of its own, in a mount namespace that
// ends with it. in gives the path by which the test sees a file there.
func startOnDisk(t *testing.T, options string) (c *cluster, in func(name string) string) {
	t.Helper()
	c = &cluster{dir: t.TempDir()}
	store := filepath.Join(c.dir, "nats")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	c.wrap = []string{"unshare", "-m", "sh", "-c", `mount -t tmpfs -o "$0" none "$1" && shift && exec "$@"`, options, store}
	c.run(t)
	t.Cleanup(func() { c.stop(t) })
	return c, func(name string) string {
		return filepath.Join("/proc", fmt.Sprint(c.up.Process.Pid), "root", store, name)
	}
}

// inside runs a command in the mount namespace of `rbee up`.
func (c *cluster) inside(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("nsenter", append([]string{"-m", "-t", fmt.Sprint(c.up.Process.Pid)}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

func (c *cluster) healthIs(t *testing.T, want string) {
	t.Helper()
	await(t, "health "+want, func() bool {
		for _, line := range strings.Split(c.ok(t, "status"), "\n") {
			if strings.HasPrefix(line, "health") && strings.Contains(line, want) {
				return true
			}
		}
		return false
	})
}

// answers fails unless a worker is started and answers.
func (c *cluster) answers(t *testing.T) {
	t.Helper()
	if out := c.ok(t, "run", "builtin:bee-tiny", "hi"); !strings.Contains(out, "The queen") {
		t.Errorf("it does not answer: %q", out)
	}
}

// kept waits until the store keeps events and keys again.
func (c *cluster) kept(t *testing.T, id string) {
	t.Helper()
	c.healthIs(t, " ok")
	c.spawn(t, "builtin:bee-tiny", "--id", id)
	await(t, "events of "+id+" are kept", func() bool {
		return strings.Contains(c.ok(t, "events", "--since", "1h", "--no-follow"), id)
	})
}

// A store without room is said, serving goes on, and when there is room again it keeps things again.
func TestFullStore(t *testing.T) {
	c, in := startOnDisk(t, "size=20m")
	c.spawn(t, "builtin:bee-tiny", "--id", "w1")
	fill(t, in("filler"))
	c.spawn(t, "builtin:bee-tiny", "--id", "w2") // it is to be written, and cannot be
	c.healthIs(t, "degraded")
	c.answers(t)
	c.ok(t, "worker", "stop", "w2")
	if err := os.Remove(in("filler")); err != nil {
		t.Fatal(err)
	}
	c.kept(t, "w3")
}

// fill writes until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

// A store that is read-only when rbee starts: it starts, says so, and uses the store when it can.
func TestStartOnReadOnlyStore(t *testing.T) {
	c, _ := startOnDisk(t, "size=40m,ro")
	c.healthIs(t, "degraded")
	c.answers(t)
	c.inside(t, "mount", "-o", "remount,rw", filepath.Join(c.dir, "nats"))
	c.kept(t, "w3")
}

// What is left of a store after a bad crash does not keep rbee from starting.
func TestCorruptStore(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"garbage": func(t *testing.T, path string) { overwrite(t, path, []byte(strings.Repeat("\xde\xad", 3000))) },
		"empty":   func(t *testing.T, path string) { overwrite(t, path, nil) },
		"cut": func(t *testing.T, path string) {
			st, err := os.Stat(path)
			if err == nil {
				err = os.Truncate(path, st.Size()/2)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			c.spawn(t, "builtin:bee-tiny", "--id", "w1")
			kill(t, c.up.Process.Pid, syscall.SIGKILL)
			<-c.done
			n := 0
			err := filepath.Walk(filepath.Join(c.dir, "nats", "jetstream"), func(path string, st os.FileInfo, err error) error {
				if err == nil && st.Mode().IsRegular() {
					n++
					spoil(t, path)
				}
				return err
			})
			if err != nil || n < 6 {
				t.Fatalf("%d files, %v", n, err)
			}
			c.run(t, "--nats", strings.TrimPrefix(c.addr.NATS, "nats://"))
			await(t, "its worker is back", func() bool { return len(c.workers(t)) == 1 })
			c.answers(t)
			c.kept(t, "w2")
		})
	}
}

func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A process with few file descriptors left says so and serves.
func TestFewFileDescriptors(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	c.wrap = []string{"sh", "-c", `ulimit -n 64; exec "$@"`, "sh"}
	c.run(t)
	t.Cleanup(func() { c.stop(t) })
	c.answers(t)
}

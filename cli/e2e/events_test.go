package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rbee events shows what happened, then what happens, each once, and ends by Ctrl-C.
func TestEventsThenAndNow(t *testing.T) {
	c := start(t)
	c.spawn(t, "builtin:bee-tiny", "--id", "w1")
	cmd := exec.Command(filepath.Join(bin, "rbee"), "events", "--since", "1h", "--kind", "worker.*")
	cmd.Env = env(c.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 64)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	var seen []string
	until := func(what string) {
		for !strings.Contains(strings.Join(seen, "\n"), what) {
			line, open := <-lines
			if !open {
				t.Fatalf("it ended before %q: %q", what, seen)
			}
			seen = append(seen, line)
		}
	}
	until("worker.ready       w1")
	c.spawn(t, "builtin:bee-tiny", "--id", "w2")
	c.ok(t, "worker", "stop", "w1")
	until("worker.stopped     w1")
	until("worker.exited      w1")
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	for _, want := range []string{"worker.ready       w1", "worker.ready       w2", "worker.exited      w1"} {
		if n := strings.Count(strings.Join(seen, "\n"), want); n != 1 {
			t.Errorf("%q %d times in %q", want, n, seen)
		}
	}
	for kind, code := range map[string]int{"worker.*": 0, "no such.kind": 2, "a.>.b": 2} {
		if r := c.rbee(t, "events", "--no-follow", "--kind", kind); r.code != code {
			t.Errorf("--kind %q: exit %d, %s", kind, r.code, r.stderr)
		}
	}
	if r := c.rbee(t, "events", "--since", "-5m"); r.code != 2 {
		t.Errorf("--since -5m: exit %d", r.code)
	}
}

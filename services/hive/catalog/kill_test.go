package catalog

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	childEnv     = "RBEE_CATALOG_CHILD"      // the data directory of a child process
	childHoldEnv = "RBEE_CATALOG_CHILD_HOLD" // it pulls test:split and stays in the fetch of its second part
)

// busyStock is what children and their parent pull: two models share their weights, one is split.
func busyStock() *stock {
	s := newStock()
	shared := weights(1, 1<<20)
	for _, name := range []string{"one", "two"} {
		a := s.put("test:"+name, name, shared)
		a.Files = append(a.Files, s.file("template", vendor.Template, []byte("template of "+name)))
		s.set("test:"+name, *a)
	}
	s.put("test:split", "split", split(10, 3, 512<<10)...)
	return s
}

// child pulls, removes and sweeps until it is killed, and prints a line at each step.
func child(dir string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s := busyStock()
	c := at(dir, s)
	w := Watcher{Step: func(Step) { fmt.Println("step") }}
	if os.Getenv(childHoldEnv) != "" {
		s.before = func(ctx context.Context, f *vendor.File) error {
			if f.Name != "part2.gguf" {
				return nil
			}
			fmt.Println("held")
			<-ctx.Done()
			return ctx.Err()
		}
		_, err := c.Pull(ctx, Pull{Ref: "test:split"}, Watcher{})
		fmt.Println(err)
		return 1
	}
	refs := []string{"test:one", "test:two", "test:split"}
	for ctx.Err() == nil {
		fmt.Println("step")
		ref := refs[rand.IntN(len(refs))]
		var err error
		switch rand.IntN(5) {
		case 0:
			_, err = c.Remove(ctx, ref)
		case 1:
			_, err = c.GC(ctx, false, rand.IntN(2) == 0)
		default:
			_, err = c.Pull(ctx, Pull{Ref: ref, BytesPerSecond: 4 << (20 + rand.Int64N(6))}, w)
		}
		if code := messages.CodeOf(err); err != nil && code != messages.CodeModelUnknown {
			fmt.Println("error", err)
			return 1
		}
	}
	return 0
}

// startChild starts a process that works on the data directory; its lines come on the channel, which is
// closed at its end.
func startChild(t *testing.T, dir string, env ...string) (*exec.Cmd, <-chan string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(append(os.Environ(), childEnv+"="+dir), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	return cmd, lines
}

// kill ends a child as nothing else does, and waits for its end.
func kill(t *testing.T, cmd *exec.Cmd, lines <-chan string) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range lines {
	}
	_ = cmd.Wait()
}

// Two processes at a time pull, remove and sweep, and are killed at random moments: whatever is listed is
// whole, and a last sweep leaves what the models need and nothing else.
func TestKillAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	c := at(dir, busyStock())
	for round := range 20 {
		var cmds [2]*exec.Cmd
		var lines [2]<-chan string
		for i := range cmds {
			cmds[i], lines[i] = startChild(t, dir)
		}
		for i := range cmds {
			for range 1 + rand.IntN(25) {
				if line := receive(t, lines[i]); line != "step" {
					t.Fatalf("round %d: a child says %q", round, line)
				}
			}
			kill(t, cmds[i], lines[i])
		}
		whole(t, c)
		for _, m := range c.manifests() {
			if _, err := c.present(&m); err != nil {
				t.Fatalf("round %d: %s is registered and not there: %v", round, m.ID, err)
			}
		}
	}
	for _, ref := range []string{"test:one", "test:two", "test:split"} { // all gets over what is left
		pull(t, c, Pull{Ref: ref})
	}
	if _, err := c.Remove(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GC(t.Context(), false, true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GC(t.Context(), false, true); err != nil {
		t.Fatal(err)
	}
	whole(t, c)
	var needed []string
	for _, name := range []string{"two", "split"} {
		m, err := c.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range m.Files {
			needed = append(needed, f.Digest)
		}
	}
	wantBlobs(t, c, needed...)
	for _, left := range []string{filepath.Join(partialDir, "*"), filepath.Join(claimsDir, "*"), filepath.Join("*", "*.part")} {
		if found, _ := filepath.Glob(filepath.Join(c.dir, left)); len(found) != 0 {
			t.Errorf("left: %q", found)
		}
	}
	if got := ids(c.List()); !slices.Equal(got, []string{"split", "two"}) {
		t.Errorf("list %q", got)
	}
}

// What another process has claimed stays while it lives, and goes when it is dead.
func TestClaimOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	c := at(dir, busyStock())
	first := digestOfBytes(split(10, 3, 512<<10)[0])
	cmd, lines := startChild(t, dir, childHoldEnv+"=1")
	if line := receive(t, lines); line != "held" {
		t.Fatal(line)
	}
	for range 3 {
		if _, err := c.GC(t.Context(), false, true); err != nil {
			t.Fatal(err)
		}
	}
	wantBlobs(t, c, first)
	if len(c.List()) != 0 {
		t.Fatal("half a model is listed")
	}
	kill(t, cmd, lines)
	out, err := c.GC(t.Context(), false, true)
	if err != nil || out.FreedBytes == 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	wantBlobs(t, c)
}

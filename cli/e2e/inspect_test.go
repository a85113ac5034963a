package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// step is a command of a document and the lines that its output must hold.
type step struct {
	command string
	want    []string
}

// consoleBlocks reads the ```console blocks of a document.
func consoleBlocks(t *testing.T, path string) (steps []step) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for _, line := range strings.Split(string(data), "\n") {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && isCommand:
			steps = append(steps, step{command: command})
		case inside && line != "":
			last := &steps[len(steps)-1]
			last.want = append(last.want, line)
		}
	}
	return steps
}

// docs/inspect.md is true: each command is run by the real nats CLI.
func TestInspectDocument(t *testing.T) {
	nats := os.Getenv("RBEE_NATS_CLI")
	if nats == "" {
		t.Fatal("RBEE_NATS_CLI is not set: run `make test`, or `make tools` and set it to .tools/nats")
	}
	c := start(t)
	c.spawn(t, "builtin:bee-tiny", "--id", "w1")
	steps := consoleBlocks(t, "../../docs/inspect.md")
	if len(steps) < 15 {
		t.Fatalf("only %d commands found", len(steps))
	}
	for _, s := range steps {
		t.Run(s.command, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", "-c", s.command)
			cmd.Env = append(env(c.dir), "PATH="+filepath.Dir(nats)+":"+bin+":"+os.Getenv("PATH"))
			out, _ := cmd.CombinedOutput() // what is refused exits 1; its words are in the document
			for _, w := range s.want {
				if !bytes.Contains(out, []byte(w)) {
					t.Errorf("%q is not in:\n%s", w, out)
				}
			}
		})
	}
	// The contexts are ours alone: none is selected, and a foreign one is not replaced.
	dir := filepath.Join(c.dir, "config", "nats")
	if _, err := os.Stat(filepath.Join(dir, "context.txt")); err == nil {
		t.Error("a context is selected")
	}
}

package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/creack/pty"
)

// terminal is a command on a pseudo-terminal.
type terminal struct {
	cmd  *exec.Cmd
	in   func(string)
	mu   sync.Mutex
	text bytes.Buffer
	from int // what was expected so far
}

func (c *cluster) terminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	term := &terminal{cmd: exec.Command(filepath.Join(bin, "rbee"), args...)}
	term.cmd.Env = append(env(c.dir), "TERM=xterm")
	f, err := pty.Start(term.cmd)
	if err != nil {
		t.Fatal(err)
	}
	term.in = func(s string) {
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			term.mu.Lock()
			term.text.Write(buf[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = term.cmd.Process.Kill()
		f.Close()
		<-read
		if t.Failed() {
			t.Logf("the terminal showed %q", term.text.Bytes()[max(0, term.text.Len()-400):])
		}
	})
	return term
}

// expect waits for what was not expected yet.
func (term *terminal) expect(t *testing.T, what string) {
	t.Helper()
	await(t, "the terminal shows "+what, func() bool {
		term.mu.Lock()
		defer term.mu.Unlock()
		i := bytes.Index(term.text.Bytes()[term.from:], []byte(what))
		if i >= 0 {
			term.from += i + len(what)
		}
		return i >= 0
	})
}

// Ctrl-C stops the answer and not the chat; what was typed comes back by the arrow key.
func TestChat(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-endless")
	term := c.terminal(t, "run", "builtin:bee-endless")
	term.expect(t, ">>> ")
	term.in("tell me a story\r")
	term.expect(t, "The queen sends")
	term.in("\x03")
	term.expect(t, ">>> ")
	await(t, "the engine stops", func() bool { return info(t, &w).SlotsUsed == 0 })
	term.in("\x1b[A") // arrow up
	term.expect(t, "tell me a story")
	term.in("\r")
	term.expect(t, "The queen sends")
	term.in("\x03")
	term.expect(t, ">>> ")
	term.in("/bye\r")
	if err := term.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

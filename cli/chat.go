package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/term"
)

// chat asks and answers until /bye or the end of input. Ctrl-C stops the answer, not the chat.
func (r *runCmd) chat(a *app, c *client, model string) error {
	in, out := a.stdin.(*os.File), a.stdout
	fmt.Fprintf(a.stderr, "%s: /bye leaves, /clear forgets, Ctrl-C stops an answer\n", model)
	line := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, ">>> ")
	history := r.first()
	for {
		text, err := readLine(a.ctx, in, line)
		switch text = strings.TrimSpace(text); {
		case errors.Is(err, io.EOF), text == "/bye":
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case text == "":
			continue
		case text == "/clear":
			history = r.first()
			continue
		}
		history = append(history, map[string]string{"role": "user", "content": text})
		ctx, stop := signal.NotifyContext(a.ctx, os.Interrupt)
		answer, t, err := r.answer(ctx, a, c, model, history)
		interrupted := ctx.Err() != nil
		stop()
		switch {
		case err != nil && !interrupted:
			fmt.Fprintln(a.stderr, "rbee:", err)
			history = history[:len(history)-1]
			continue
		case r.Verbose && err == nil:
			fmt.Fprintf(a.stderr, "TTFT %s, %s\n", t.ttft, t.rate())
		}
		history = append(history, map[string]string{"role": "assistant", "content": answer})
	}
}

// readLine reads in raw mode, with editing and history; between lines the terminal is as it was, so
// that Ctrl-C is a signal again. The end of ctx is the end of input; the read that is left behind ends
// with the process.
func readLine(ctx context.Context, in *os.File, t *term.Terminal) (string, error) {
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(in.Fd()), old)
	if w, h, err := term.GetSize(int(in.Fd())); err == nil && w > 0 {
		_ = t.SetSize(w, h)
	}
	type read struct {
		text string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		text, err := t.ReadLine()
		done <- read{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", io.EOF
	}
}

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
)

type runCmd struct {
	Model       string   `arg:"" help:"hf:ORG/REPO[:QUANT], ollama:NAME, builtin:NAME, an address, or the path of a .gguf. What is not there is pulled."`
	Prompt      []string `arg:"" optional:"" help:"What to ask. Without it: stdin, or a chat on a terminal."`
	System      string   `help:"System message."`
	MaxTokens   int      `help:"Most tokens of an answer; 0: as many as fit." default:"0"`
	Temperature *float64 `help:"0 is greedy. Default: the engine's."`
	Seed        *int64   `help:"Same seed, same text."`
	Verbose     bool     `help:"Print timings." short:"v"`
	Hive        string   `help:"Where to start a worker, if one must be."`
	Device      string   `help:"ggml's name of the device." default:"auto"`
	Slots       int      `help:"Requests at once." default:"4"`
	Ctx         int      `help:"Tokens a slot; 0: the trained length, at most 4096." default:"0"`
	Force       bool     `help:"Skip the memory check."`
	Offline     bool     `help:"Use the models that are here; fetch nothing."`
	engineFlags
}

// Run answers and, if it had to start a queen of its own, stops everything again.
func (r *runCmd) Run(a *app) error {
	// Ctrl-C stops the answer; what runs is then stopped in order.
	ctx, stop := signal.NotifyContext(a.ctx, os.Interrupt)
	defer stop()
	prompt, chat, err := r.prompt(ctx, a)
	if err != nil {
		return cancelled(ctx, a, err)
	}
	c, alone, err := a.queenOrLone(ctx, r.Offline)
	if err != nil {
		return cancelled(ctx, a, err)
	}
	if alone != nil {
		defer alone()
	}
	defer c.Close()
	ref := r.Model
	if alone != nil || c.local(ctx, messages.HiveID(r.Hive)) {
		if ref, err = modelRef(ref); err != nil {
			return err
		}
		if err := r.onThisMachine(); err != nil {
			return err
		}
	}
	began := time.Now()
	w, fresh, err := r.worker(ctx, a, c, ref)
	if err != nil {
		return cancelled(ctx, a, err)
	}
	load := time.Since(began)
	if fresh && alone == nil {
		defer fmt.Fprintf(a.stderr, "worker %s goes on serving %s; stop it with: rbee worker stop %s\n", w.ID, w.ModelID, w.ID)
	}
	if chat {
		stop()
		return r.chat(a, c, w.ModelID)
	}
	msgs := append(r.first(), map[string]string{"role": "user", "content": prompt})
	_, t, err := r.answer(ctx, a, c, w.ModelID, msgs)
	if err != nil {
		return cancelled(ctx, a, err)
	}
	if r.Verbose {
		fmt.Fprintf(a.stderr, "load %s, TTFT %s, %s\n", load.Round(time.Millisecond), t.ttft.Round(100*time.Microsecond), t.rate())
	}
	return nil
}

// cancelled turns an error that Ctrl-C caused into exit code 130.
func cancelled(ctx context.Context, a *app, err error) error {
	if ctx.Err() == nil {
		return err
	}
	fmt.Fprintln(a.stderr, "cancelled")
	a.exit = exitCancelled
	return nil
}

// prompt is the arguments, else what a pipe holds, else a chat.
func (r *runCmd) prompt(ctx context.Context, a *app) (text string, chat bool, err error) {
	if len(r.Prompt) > 0 {
		return strings.Join(r.Prompt, " "), false, nil
	}
	if isTerminal(a.stdin) {
		return "", true, nil
	}
	const most = messages.MaxPayload / 2 // as JSON in a message it may grow
	data, err := readAll(ctx, io.LimitReader(a.stdin, most+1))
	if err != nil {
		return "", false, fmt.Errorf("read the prompt: %w", err)
	}
	if len(data) > most {
		return "", false, messages.Errorf(messages.CodeBadRequest, "run", "the prompt is longer than %d KiB", most>>10)
	}
	if text = strings.TrimRight(string(data), "\n"); text == "" {
		return "", false, misused("no prompt: give one as an argument or on stdin")
	}
	return text, false, nil
}

// readAll is io.ReadAll that ctx ends: a pipe may never end. The read that is left behind ends with
// the process.
func readAll(ctx context.Context, in io.Reader) ([]byte, error) {
	type read struct {
		data []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		data, err := io.ReadAll(in)
		done <- read{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *runCmd) first() []map[string]string {
	if r.System == "" {
		return nil
	}
	return []map[string]string{{"role": "system", "content": r.System}}
}

// worker makes sure that one serves the model; fresh says that it was started for this.
func (r *runCmd) worker(ctx context.Context, a *app, c *client, ref string) (w *messages.WorkerInfo, fresh bool, err error) {
	p := a.progress()
	defer p.done()
	watch := p.watcher()
	show := watch.Event
	watch.Event = func(e messages.JobEvent) {
		fresh = fresh || e.State == messages.JobStep
		show(e)
	}
	id := messages.JobID(messages.NewID("run-"))
	w = &messages.WorkerInfo{}
	req := &messages.EnsureRequest{SpawnRequest: messages.SpawnRequest{Job: id, Model: ref, Hive: messages.HiveID(r.Hive), Device: r.Device,
		Slots: r.Slots, ContextLength: r.Ctx, Force: r.Force, Offline: r.Offline, Engine: r.options()}}
	err = c.RunJob(ctx, c.do(messages.OpEnsure), id, req, w, watch)
	if err != nil {
		c.callOff(ctx, id)
	}
	return w, fresh, err
}

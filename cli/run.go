package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/cli/solo"
	"github.com/rbee-project/rbee/messages"
)

type runCmd struct {
	Model       string   `arg:"" help:"builtin:NAME, or the path of a .gguf."`
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
	engineFlags
}

// loneOrphanAfter is how long the workers of a lone run outlive it, should it be killed.
const loneOrphanAfter = 15 * time.Second

// Run answers and, if it had to start a queen of its own, stops everything again.
func (r *runCmd) Run(a *app) error {
	// Ctrl-C stops the answer; what runs is then stopped in order.
	ctx, stop := signal.NotifyContext(a.ctx, os.Interrupt)
	defer stop()
	prompt, chat, err := r.prompt(ctx, a)
	if err != nil {
		return cancelled(ctx, a, err)
	}
	c, alone, err := r.queen(ctx, a)
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

// queen connects to one that runs, or starts one for the time of the command: only if no server was
// named and none answers.
func (r *runCmd) queen(ctx context.Context, a *app) (c *client, stop func(), err error) {
	if c, err = a.connect(ctx); err == nil || a.Server != "" {
		return c, nil, err
	}
	sweepLone()
	state, err := os.MkdirTemp("", lonePrefix) // 0700
	if err != nil {
		return nil, nil, fmt.Errorf("temporary folder: %w", err)
	}
	s, err := solo.Start(ctx, solo.Config{DataDir: a.DataDir, StateDir: state, HTTP: solo.FreeAddr, NATS: solo.FreeAddr,
		Roles: []string{solo.RoleBus, solo.RoleQueen, solo.RoleHive}, OrphanAfter: loneOrphanAfter, DrainTimeout: 5 * time.Second,
		Version: Version, Log: a.log})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(state))
	}
	stop = func() { s.Stop(context.WithoutCancel(ctx)); _ = os.RemoveAll(state) }
	path := filepath.Join(state, "creds", "admin.creds")
	if err = ensureCreds(s.Realm, bus.RoleAdmin, path); err == nil {
		lone := *a
		lone.Server, lone.Creds = s.Address.NATS, path
		c, err = lone.connect(ctx)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return c, stop, nil
}

const lonePrefix = "rbee-run-"

// sweepLone removes the folders of lone runs that were killed: nobody holds their lock, and they are
// not just being made.
func sweepLone() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), lonePrefix+"*"))
	for _, d := range dirs {
		if st, err := os.Stat(d); err != nil || time.Since(st.ModTime()) < time.Minute {
			continue
		}
		if release, err := bus.LockRole(d, solo.RoleBus); err == nil {
			_ = os.RemoveAll(d)
			release()
		}
	}
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
		Slots: r.Slots, ContextLength: r.Ctx, Force: r.Force, Engine: r.options()}}
	err = c.RunJob(ctx, c.do(messages.OpEnsure), id, req, w, watch)
	if err != nil {
		c.callOff(ctx, id)
	}
	return w, fresh, err
}

// modelRef makes a path of this machine absolute. A reference, or the public name of a model that a
// hive has, stays as it is.
func modelRef(ref string) (string, error) {
	if _, err := os.Stat(ref); err != nil && !strings.HasSuffix(ref, ".gguf") && !filepath.IsAbs(ref) {
		return ref, nil
	}
	abs, err := filepath.Abs(ref)
	if err != nil {
		return "", fmt.Errorf("model: %w", err)
	}
	return abs, nil
}

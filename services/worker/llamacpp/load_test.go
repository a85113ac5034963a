package llamacpp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

// halfway calls do once, in the middle of a load.
func halfway(do func()) func(float64) {
	var once sync.Once
	return func(f float64) {
		if f > 0.3 && f < 1 {
			once.Do(do)
		}
	}
}

func TestLoadEndsHalfway(t *testing.T) {
	e := unloaded(t, Config{ModelPath: bee(t, bees.Slow)}) // the other models load in one go
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last := 0.0
	stop := halfway(cancel)
	err := e.Load(ctx, func(f float64) {
		last = f
		stop(f)
	})
	if !errors.Is(err, context.Canceled) || last == 0 || last == 1 {
		t.Errorf("load gave %v at %g, want %v halfway", err, last, context.Canceled)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsLoad(t *testing.T) {
	e := unloaded(t, Config{ModelPath: bee(t, bees.Slow)})
	done := make(chan struct{})
	err := e.Load(t.Context(), halfway(func() {
		go func() {
			defer close(done)
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}()
		for ctx := t.Context(); ctx.Err() == nil; { // until Close has been seen
			e.mu.Lock()
			p := e.phase
			e.mu.Unlock()
			if p == closed {
				return
			}
			runtime.Gosched()
		}
	}))
	if messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("load gave %v after a close, want %s", err, messages.CodeUnavailable)
	}
	<-done
}

func TestLoadOnce(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Tiny)})
	if err := e.Load(t.Context(), nil); messages.CodeOf(err) != messages.CodeConflict {
		t.Errorf("a second load gave %v, want %s", err, messages.CodeConflict)
	}
	fresh := unloaded(t, Config{ModelPath: bee(t, bees.Tiny)})
	if _, err := enginetest.Ask(t.Context(), fresh, chat("hi", nil)); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("a request before load gave %v, want %s", err, messages.CodeUnavailable)
	}
	if err := fresh.Close(); err != nil {
		t.Errorf("close without load: %v", err)
	}
}

// TestTwoEngines: each has its own context, and closing one leaves the other alone.
func TestTwoEngines(t *testing.T) {
	a := loaded(t, Config{ModelPath: bee(t, bees.Random)})
	b := unloaded(t, Config{ModelPath: bee(t, bees.Tiny)})
	if err := b.Load(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	req := chat("hello", map[string]any{"max_tokens": 20})
	before, err := enginetest.Ask(t.Context(), a, req)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := enginetest.Ask(t.Context(), a, req); err != nil || after.Text != before.Text {
		t.Errorf("%q before the other closed, %q after it: %v", before.Text, after.Text, err)
	}
}

// TestLog: what llama.cpp prints goes to the engine's log, not to the terminal.
func TestLog(t *testing.T) {
	var out bytes.Buffer // slog's handlers lock
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e := unloaded(t, Config{ModelPath: bee(t, bees.Tiny), Log: log, ContextLength: 1 << 20})
	if err := e.Load(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := e.Info().Models[0].ContextLength; got != 4096 {
		t.Errorf("context %d, want the trained 4096", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "from=llama.cpp") || !strings.Contains(s, "context length lowered") {
		t.Errorf("the log has not both kinds of lines:\n%s", s)
	}
	size := out.Len()
	logLine(4, "after close")
	if out.Len() != size {
		t.Error("a line after close")
	}
}

func TestNewChecks(t *testing.T) {
	good := Config{LibDir: "lib", ModelPath: "m.gguf"}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   messages.Code
	}{
		"fine":             {func(*Config) {}, ""},
		"no library":       {func(c *Config) { c.LibDir = "" }, messages.CodeNoEngine},
		"no model":         {func(c *Config) { c.ModelPath = "" }, messages.CodeBadModel},
		"negative slots":   {func(c *Config) { c.Slots = -1 }, messages.CodeBadRequest},
		"too many slots":   {func(c *Config) { c.Slots = MaxSlots + 1 }, messages.CodeBadRequest},
		"negative context": {func(c *Config) { c.ContextLength = -1 }, messages.CodeBadRequest},
		"too many threads": {func(c *Config) { c.Threads = 1000 }, messages.CodeBadRequest},
	} {
		c := good
		tc.change(&c)
		if _, err := New(c); messages.CodeOf(err) != tc.want {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

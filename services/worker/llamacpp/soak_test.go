//go:build soak

package llamacpp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebitengine/purego"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// TestSoak keeps 16 clients busy on 8 slots for SOAK, 30m if unset, with all kinds of requests, a
// third of which are cancelled at a random moment. Memory, goroutines, slots and callbacks into Go
// must not grow.
func TestSoak(t *testing.T) {
	length := 30 * time.Minute
	if d, err := time.ParseDuration(os.Getenv("SOAK")); err == nil {
		length = d
	}
	e := loaded(t, Config{ModelPath: bee(t, bees.Random), Slots: 8, ContextLength: 512, CacheBytes: 16 << 20})
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	first, size := callbackAddress(), uintptr(0)
	size = callbackAddress() - first
	var done, left, busy atomic.Int64
	var wg sync.WaitGroup
	for client := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(client), 1))
			for ctx.Err() == nil {
				err := soakOne(ctx, e, r)
				switch {
				case err == nil:
					done.Add(1)
				case messages.CodeOf(err) == messages.CodeBusy:
					busy.Add(1)
					<-time.After(time.Duration(r.IntN(30)) * time.Millisecond) // as a client would
				case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
					left.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	var rss, goroutines []int
	tick := time.NewTicker(max(length/60, time.Second))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			rss, goroutines = append(rss, residentKiB(t)), append(goroutines, runtime.NumGoroutine())
		case <-ctx.Done():
		}
	}
	wg.Wait()
	runtime.GC()
	n := len(rss)
	early, late := slices.Max(rss[n/10:n/2]), slices.Max(rss[n/2:])
	t.Logf("%v: %d answers, %d left, %d times busy; RSS %d MiB in the first half, %d in the second, goroutines %d to %d, %d now",
		length, done.Load(), left.Load(), busy.Load(), early>>10, late>>10, slices.Min(goroutines), slices.Max(goroutines), runtime.NumGoroutine())
	if late > early+early/20 {
		t.Errorf("memory grew from %d to %d KiB: %v", early, late, rss)
	}
	if used := e.Stats().SlotsUsed; used != 0 {
		t.Errorf("%d slots are still used", used)
	}
	if now := (callbackAddress() - first) / size; now != 2 {
		t.Errorf("%d callbacks into Go were made meanwhile", now-2)
	}
}

// callbackAddress makes a callback into Go, which stays, and says where it is: one after the other.
func callbackAddress() uintptr { return purego.NewCallback(func() uintptr { return 0 }) }

func soakOne(ctx context.Context, e *Engine, r *rand.Rand) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	words := strings.Repeat("honey "+strconv.Itoa(r.IntN(5))+" ", 1+r.IntN(40))
	body := map[string]any{"temperature": r.Float64(), "max_tokens": 1 + r.IntN(60)}
	task := messages.TaskChat
	body["messages"] = []any{map[string]any{"role": "user", "content": words}}
	switch r.IntN(8) {
	case 0:
		body["response_format"] = map[string]any{"type": "json_object"}
	case 1:
		body["n"] = 2
	case 2:
		body["logprobs"], body["top_logprobs"] = true, 3
	case 3:
		task = messages.TaskEmbedding
		body = map[string]any{"input": []string{words, "wax"}}
	case 4:
		body["repeat_penalty"], body["dry_multiplier"], body["stop"] = 1.1, 0.8, []string{"zz"}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	leave, n := r.IntN(3) == 0, r.IntN(20)
	if leave && n == 0 {
		cancel()
	}
	_, err = e.Infer(ctx, engine.Request{ID: "r", Model: "m", Task: task, Stream: task == messages.TaskChat, Body: raw}, func([]byte) error {
		if n--; leave && n == 0 {
			cancel()
		}
		return nil
	})
	return err
}

// residentKiB is the process's memory.
func residentKiB(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

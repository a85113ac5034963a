package plan

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/hive/resident"
)

// The sum is the worker's resident memory, within 10%: the peak, as the kernel counts it, of the real
// worker on the CPU after every slot has read a prompt, together more than one step. llama.cpp writes the
// whole attention cache when it starts, and maps the weights, which the first step reads all. Longer prompts
// would add the rest of the attention's mask, and a fast machine the rest of the compute memory, since the
// worker's steps are shorter on a slow one: both under 6% of the sum here, and in it. Saved contexts are off.
func TestEstimateIsWhatTheWorkerTakes(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "bee-large.gguf") // 130 MB, made for more context than bee-large
	if err := os.WriteFile(model, changed(t, bees.Large, "llama.context_length", uint32(16384)), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := OfFile(model)
	if err != nil {
		t.Fatal(err)
	}
	program := buildWorker(t, dir)
	for _, o := range []Options{{ContextLength: 1024, Slots: 1}, {ContextLength: 4096, Slots: 4}, {ContextLength: 16384, Slots: 2}} {
		t.Run(fmt.Sprintf("%d slots of %d tokens", o.Slots, o.ContextLength), func(t *testing.T) {
			sum, err := Estimate(h, o)
			if err != nil || sum.Rough {
				t.Fatalf("%+v, %v", sum, err)
			}
			w := startWorker(t, program, model, o)
			var slots sync.WaitGroup
			for slot := range o.Slots {
				slots.Go(func() { w.read(t, slot, max(540/o.Slots, 200)) })
			}
			slots.Wait()
			real, err := resident.PeakBytes(w.pid)
			if err != nil {
				t.Fatal(err)
			}
			off := float64(sum.Total())/float64(real) - 1
			t.Logf("%s; the worker has %s: %+.1f%%", sum.Parts, size(real), 100*off)
			if off < -0.1 || off > 0.1 {
				t.Errorf("the estimate is off by %+.1f%%", 100*off)
			}
		})
	}
}

// Weights that the CPU engine has in another order are in memory twice.
func TestCopiedWeightsAreResident(t *testing.T) {
	dir := t.TempDir()
	program, model := buildWorker(t, dir), filepath.Join(dir, "four-bit.gguf")
	if err := os.WriteFile(model, fourBit(t, false), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := OfFile(model)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{ContextLength: 512, Slots: 1}
	sum, err := Estimate(h, o)
	if err != nil {
		t.Fatal(err)
	}
	real, err := resident.PeakBytes(startWorker(t, program, model, o).pid)
	if err != nil {
		t.Fatal(err)
	}
	idle := sum.Total() - sum.Compute // nobody has asked anything
	off := float64(idle)/float64(real) - 1
	t.Logf("%s; the worker has %s, without compute memory: %+.1f%%", sum.Parts, size(real), 100*off)
	if off < -0.1 || off > 0.1 {
		t.Errorf("the estimate is off by %+.1f%%", 100*off)
	}
}

// buildWorker builds rbee-worker as it is released.
func buildWorker(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "github.com/rbee-project/rbee/services/worker/cmd/rbee-worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the worker: %v\n%s", err, out)
	}
	return filepath.Join(dir, "rbee-worker")
}

// runningWorker is a worker process that has loaded its model.
type runningWorker struct {
	pid  int
	url  string
	name string
}

func startWorker(t *testing.T, program, model string, o Options) *runningWorker {
	t.Helper()
	lib := os.Getenv("RBEE_LLAMA_LIB")
	if lib == "" {
		t.Fatal("RBEE_LLAMA_LIB is not set: run `make libs` and set it to the folder that it prints")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, "--model", model, "--lib", lib, "--device", "CPU", "--cache-ram", "0",
		"--ctx", strconv.Itoa(o.ContextLength), "--slots", strconv.Itoa(o.Slots))
	lines, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, lines)
		_ = cmd.Wait()
	})
	w := &runningWorker{pid: cmd.Process.Pid, name: strings.TrimSuffix(filepath.Base(model), ".gguf")}
	for log := bufio.NewScanner(lines); log.Scan(); {
		var line struct{ Msg, HTTP string }
		_ = json.Unmarshal(log.Bytes(), &line)
		if line.HTTP != "" {
			w.url = "http://" + line.HTTP
		}
		if line.Msg == "model loaded" {
			go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the process
			return w
		}
	}
	t.Fatal("the worker ended before it had loaded the model")
	return nil
}

// read has a slot read so many tokens.
func (w *runningWorker) read(t *testing.T, slot, tokens int) {
	body, _ := json.Marshal(map[string]any{"id": fmt.Sprintf("r%d", slot), "model": w.name, "task": "completion", "stream": false,
		"body": map[string]any{"prompt": fmt.Sprint(slot) + strings.Repeat(" hive", tokens), "max_tokens": 4}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/infer", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%d %.500s, %v", resp.StatusCode, text, err)
	}
}

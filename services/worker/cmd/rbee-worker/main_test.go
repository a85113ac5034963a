package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/worker/chattemplate"
)

// workerEnv makes the test binary the worker itself.
const workerEnv = "RBEE_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		main()
	}
	chattemplate.Main()
	goleak.VerifyTestMain(m)
}

// libDir is the folder with llama.cpp's libraries.
func libDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("RBEE_LLAMA_LIB")
	if dir == "" {
		t.Fatal("RBEE_LLAMA_LIB is not set: run `make libs` and set it to the folder that it prints")
	}
	return dir
}

func TestExitCodes(t *testing.T) {
	lib := libDir(t)
	none := t.TempDir()
	model, missing := filepath.Join(none, "bee-tiny.gguf"), filepath.Join(none, "missing.gguf")
	if err := bees.WriteFile(model, "bee-tiny"); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(none, "garbage.gguf")
	if err := os.WriteFile(garbage, []byte("GGUFgarbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := strconv.Itoa(busy.Addr().(*net.TCPAddr).Port)
	for name, tc := range map[string]struct {
		args string
		want int
		says string // on stderr
	}{
		"unknown flag":      {"--nosuch", 2, "--nosuch"},
		"unknown command":   {"dance --lib " + lib, 2, "dance"},
		"no model":          {"--lib " + lib, 2, "--model"},
		"not a number":      {"--lib " + lib + " --model " + model + " --slots many", 2, "--slots"},
		"not a duration":    {"--lib " + lib + " --model " + model + " --orphan-after soon", 2, "--orphan-after"},
		"busy port":         {"--lib " + lib + " --model " + model + " --port " + port, 98, "address already in use"},
		"missing model":     {"--lib " + lib + " --threads 1 --model " + missing, 1, "missing.gguf"},
		"garbage model":     {"--lib " + lib + " --threads 1 --model " + garbage, 1, "garbage.gguf"},
		"missing library":   {"--lib " + none + " --model " + model, 1, none},
		"devices, no lib":   {"devices --lib " + none, 1, none},
		"bad worker id":     {"--lib " + lib + " --model " + model + " --worker-id w.1", 1, "w.1"},
		"too many slots":    {"--lib " + lib + " --model " + model + " --slots 100000", 1, "slots"},
		"no credentials":    {"--lib " + lib + " --model " + model + " --queen-url nats://127.0.0.1:1", 1, "credentials"},
		"devices":           {"devices --lib " + lib, 0, ""},
		"devices, as lines": {"devices --json --lib " + lib, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := exit(t, strings.Fields(tc.args))
			if code != tc.want || !strings.Contains(stderr, tc.says) {
				t.Errorf("exit %d, want %d; stderr, which should have %q:\n%s", code, tc.want, tc.says, stderr)
			}
			if (stdout == "") == (tc.want == 0) {
				t.Errorf("stdout %q", stdout)
			}
		})
	}
}

// exit runs the command to its end.
func exit(t *testing.T, args []string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- run(args, &out, &errs) }()
	select {
	case code = <-done:
		return code, out.String(), errs.String()
	case <-ctx.Done():
		t.Fatalf("%q does not end", args)
		return 0, "", ""
	}
}

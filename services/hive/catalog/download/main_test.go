package download

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const childEnv = "RBEE_DOWNLOAD_CHILD"

// childSpec is what a child process downloads.
type childSpec struct {
	Dir, Final, Address, Digest string
	Size, Limit                 int64
	Streams                     int
}

func TestMain(m *testing.M) {
	if raw := os.Getenv(childEnv); raw != "" {
		os.Exit(child(raw))
	}
	goleak.VerifyTestMain(m)
}

// child is a process that downloads; it prints what Get returned.
func child(raw string) int {
	var c childSpec
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		fmt.Println(err)
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	s := Spec{Dir: c.Dir, SizeBytes: c.Size, Digest: c.Digest, Streams: c.Streams, BytesPerSecond: c.Limit, Source: sourceOf(vendor.NewClient(), c.Address),
		Limits: Limits{Backoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond},
		Say:    func(text string) { fmt.Println("say", text) },
		FinalFor: func(digest string) string {
			if c.Digest != "" {
				return c.Final
			}
			return filepath.Join(c.Final, strings.TrimPrefix(digest, digestPrefix))
		}}
	fmt.Println("start")
	r, err := Get(ctx, s)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	out, _ := json.Marshal(r)
	fmt.Println("result", string(out))
	return 0
}

// startChild starts one; its lines come on the channel, which is closed at its end.
func startChild(t testing.TB, c childSpec) (*exec.Cmd, <-chan string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(c)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(raw))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return cmd, lines
}

// resultOf waits for a child's result.
func resultOf(t testing.TB, cmd *exec.Cmd, lines <-chan string) Result {
	t.Helper()
	var r Result
	var seen []string
	for line := range lines {
		seen = append(seen, line)
		if raw, ok := strings.CutPrefix(line, "result "); ok {
			if err := json.Unmarshal([]byte(raw), &r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || r.Path == "" {
		t.Fatalf("child: %v\n%s", err, strings.Join(seen, "\n"))
	}
	return r
}

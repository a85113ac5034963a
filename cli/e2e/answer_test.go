package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const hello = `{"model":"builtin:bee-random","max_tokens":24,"temperature":0,"messages":[{"role":"user","content":"What does the queen do?"}]%s}`

// said is a text and its usage.
type said struct {
	text  string
	usage messages.Usage
}

// object reads a whole answer or a chunk.
func (s *said) object(t testing.TB, raw []byte) {
	t.Helper()
	var o struct {
		Choices []struct {
			Message, Delta struct{ Content string }
		}
		Usage *messages.Usage
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	for _, c := range o.Choices {
		s.text += c.Message.Content + c.Delta.Content
	}
	if o.Usage != nil {
		s.usage = *o.Usage
	}
}

func (s *said) events(t testing.TB, stream string) {
	t.Helper()
	event := ""
	for _, line := range strings.Split(stream, "\n") {
		name, isEvent := strings.CutPrefix(line, "event: ")
		data, isData := strings.CutPrefix(line, "data: ")
		switch {
		case isEvent:
			event = name
		case isData && event == "end":
			var end messages.StreamEnd
			if err := json.Unmarshal([]byte(data), &end); err != nil {
				t.Fatal(err)
			}
			s.usage = end.Usage
		case isData && data != "[DONE]":
			s.object(t, []byte(data))
		}
	}
}

// The same prompt by every way in is the same text and the same usage.
func TestSameAnswerByEveryWay(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-random")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ways := map[string]said{}

	_, whole := c.post(t, ctx, "/v1/chat/completions", fmt.Sprintf(hello, ""))
	var s said
	s.object(t, []byte(whole))
	ways["HTTP"] = s

	s = said{}
	_, stream := c.post(t, ctx, "/v1/chat/completions", fmt.Sprintf(hello, `,"stream":true,"stream_options":{"include_usage":true}`))
	s.events(t, stream)
	ways["HTTP stream"] = s

	ways["bus"] = overBus(t, c)

	body := fmt.Sprintf(`{"model":"builtin:bee-random","stream":%%t,"body":%s}`, fmt.Sprintf(hello, ""))
	s = said{}
	s.events(t, infer(t, &w, fmt.Sprintf(body, true)))
	ways["worker stream"] = s
	s = said{}
	s.object(t, []byte(infer(t, &w, fmt.Sprintf(body, false))))
	ways["worker"] = s

	// rbee run prints text alone; its usage is in the chunks of --json only when asked for.
	run := c.ok(t, "run", "builtin:bee-random", "What does the queen do?", "--max-tokens", "24", "--temperature", "0")
	ways["rbee run"] = said{strings.TrimSuffix(run, "\n"), ways["HTTP"].usage}

	want := ways["HTTP"]
	if want.text == "" || want.usage.CompletionTokens != 24 {
		t.Fatalf("no answer: %+v", want)
	}
	want.usage.CachedTokens = 0
	for way, got := range ways {
		got.usage.CachedTokens = 0 // who asks later finds more of the prompt read
		if got != want {
			t.Errorf("%s: %+v, want %+v", way, got, want)
		}
	}
}

func infer(t *testing.T, w *messages.WorkerInfo, body string) string {
	t.Helper()
	r, err := http.Post(fmt.Sprintf("http://%s:%d/v1/infer", w.Host, w.Port), "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%d %s %v", r.StatusCode, b, err)
	}
	return string(b)
}

func overBus(t *testing.T, c *cluster) (s said) {
	t.Helper()
	conn := c.connect(t)
	req := &messages.InferRequest{ID: "r1", Model: "builtin:bee-random", Stream: true, Body: json.RawMessage(fmt.Sprintf(hello, ""))}
	r, err := conn.OpenStream(messages.DoSubject(conn.Caller, messages.OpInfer), conn.NewInbox(), "", messages.MustEncode(req))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		o, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			s.usage = r.Usage()
			return s
		}
		if err != nil {
			t.Fatal(err)
		}
		s.object(t, o)
	}
}

// leavers start an endless answer and return what makes its reader leave.
var leavers = map[string]func(t testing.TB, c *cluster) (leave func()){
	"Ctrl-C in rbee run": func(t testing.TB, c *cluster) func() {
		cmd := exec.Command(filepath.Join(bin, "rbee"), "run", "builtin:bee-endless", "go on")
		cmd.Env = env(c.dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadByte(); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, out) }()
		t.Cleanup(func() {
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("rbee run exits %d, want 130", code)
			}
		})
		return func() { kill(t, cmd.Process.Pid, syscall.SIGINT) }
	},
	"dropped HTTP client": func(t testing.TB, c *cluster) func() {
		ctx, cancel := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.addr.HTTP+"/v1/chat/completions",
			strings.NewReader(`{"model":"builtin:bee-endless","stream":true,"messages":[{"role":"user","content":"go on"}]}`))
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(r.Body).ReadByte(); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, r.Body) }()
		t.Cleanup(func() { r.Body.Close() })
		return cancel
	},
}

// The engine still decodes when the reader leaves, and then its step counter stops.
func TestReaderThatLeavesStopsTheEngine(t *testing.T) {
	c := start(t)
	w := c.spawn(t, "builtin:bee-endless")
	for name, open := range leavers {
		t.Run(name, func(t *testing.T) {
			leave := open(t, c)
			before := info(t, &w).Steps
			await(t, "the engine decodes", func() bool { return info(t, &w).Steps > before })
			leave()
			await(t, "the slot is free", func() bool { return info(t, &w).SlotsUsed == 0 })
			still := info(t, &w).Steps
			for range 20 {
				if s := info(t, &w).Steps; s != still {
					t.Fatalf("it goes on decoding: step %d, then %d", still, s)
				}
			}
		})
	}
}

func BenchmarkCancel(b *testing.B) {
	c := start(b)
	w := c.spawn(b, "builtin:bee-endless")
	for name, open := range leavers {
		b.Run(name, func(b *testing.B) {
			var worst time.Duration
			for b.Loop() {
				leave := open(b, c)
				left := time.Now()
				leave()
				await(b, "the slot is free", func() bool { return info(b, &w).SlotsUsed == 0 })
				worst = max(worst, time.Since(left))
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "max-ms")
		})
	}
}

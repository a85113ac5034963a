package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

// beeFile writes a model that is only for tests; it is served by its path.
func beeFile(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name+".gguf")
	if err := bees.WriteFile(path, name); err != nil {
		t.Fatal(err)
	}
	return path
}

// asked is a task's body and what its answer must be.
type asked struct {
	task, path, body string // the body has %q for the model
	check            func(t *testing.T, raw string)
}

// object reads an answer.
func object(t *testing.T, raw string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), into); err != nil {
		t.Errorf("%.300q: %v", raw, err)
	}
}

var embedAsked = []asked{
	{messages.TaskEmbedding, "/v1/embeddings", `{"model":%q,"input":["the queen sends each job","each job the queen sends","10%%"],"dimensions":64}`, func(t *testing.T, raw string) {
		var o struct {
			Data []struct {
				Index     int
				Embedding []float64
			}
			Usage struct {
				Total int `json:"total_tokens"`
			}
		}
		object(t, raw, &o)
		if len(o.Data) != 3 || o.Usage.Total == 0 {
			t.Fatalf("%.300s", raw)
		}
		dot := func(a, b int) (sum float64) {
			for i := range 64 {
				sum += o.Data[a].Embedding[i] * o.Data[b].Embedding[i]
			}
			return sum
		}
		if len(o.Data[2].Embedding) != 64 || o.Data[2].Index != 2 || math.Abs(dot(2, 2)-1) > 1e-5 || dot(0, 1) < dot(0, 2) {
			t.Errorf("%g, near %g, far %g", dot(2, 2), dot(0, 1), dot(0, 2))
		}
	}},
	{messages.TaskTokenize, "/tokenize", `{"model":%q,"content":"The queen","with_pieces":true}`, func(t *testing.T, raw string) {
		var o struct{ Tokens []struct{ Piece string } }
		object(t, raw, &o)
		text := ""
		for _, p := range o.Tokens {
			text += p.Piece
		}
		if text != "The queen" {
			t.Errorf("%s", raw)
		}
	}},
	{messages.TaskDetokenize, "/detokenize", `{"model":%q,"tokens":[]}`, func(t *testing.T, raw string) {
		if raw != `{"content":""}` {
			t.Errorf("%s", raw)
		}
	}},
}

var rerankAsked = []asked{
	{messages.TaskRerank, "/v1/rerank", `{"model":%q,"query":"the queen sends","documents":["10%%","the queen sends each job"],"top_n":1,"return_documents":true}`, func(t *testing.T, raw string) {
		var o struct {
			Results []struct {
				Index    int
				Document struct{ Text string }
			}
		}
		object(t, raw, &o)
		if len(o.Results) != 1 || o.Results[0].Index != 1 || o.Results[0].Document.Text != "the queen sends each job" {
			t.Errorf("%s", raw)
		}
	}},
}

// onBus asks over the bus; the answer is one object.
func onBus(t *testing.T, c *cluster, task, model, body string) (string, error) {
	t.Helper()
	conn := c.connect(t)
	req := &messages.InferRequest{ID: messages.NewID("r"), Model: model, Task: task, Body: json.RawMessage(body)}
	r, err := conn.OpenStream(messages.DoSubject(conn.Caller, messages.OpInfer), conn.NewInbox(), "", messages.MustEncode(req))
	if err != nil {
		return "", err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out := ""
	for {
		o, err := r.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return "", err
		case out != "":
			t.Errorf("another object: %.200s", o)
		}
		out = string(o)
	}
}

// The four tasks over the queen's port and on the bus, of models that are served by their path, by both routes.
func TestTasks(t *testing.T) {
	for _, route := range []string{"direct", "bus"} {
		t.Run(route, func(t *testing.T) {
			c := start(t, "--route", route)
			tasksOf(t, c, beeFile(t, c.dir, bees.Embed), embedAsked, "embedding, tokenize", messages.TaskRerank)
			tasksOf(t, c, beeFile(t, c.dir, bees.Rerank), rerankAsked, "rerank, tokenize", messages.TaskEmbedding)
			if route == "direct" {
				large(t, c)
			}
			metrics := c.get(t, "/metrics")
			for _, task := range []string{messages.TaskEmbedding, messages.TaskRerank, messages.TaskTokenize, messages.TaskDetokenize} {
				for _, via := range []string{"http", "bus"} {
					if want := fmt.Sprintf(`rbee_requests_total{code="ok",task=%q,via=%q}`, task, via); !strings.Contains(metrics, want) {
						t.Errorf("no %s in %s", want, metrics)
					}
				}
			}
		})
	}
}

func tasksOf(t *testing.T, c *cluster, path string, all []asked, can, cannot string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w := c.spawn(t, path)
	if got := strings.Join(w.Models[0].Capabilities, ", "); got != can {
		t.Errorf("%s can %s, want %s", w.ModelID, got, can)
	}
	if out := c.ok(t, "worker", "get", string(w.ID)); !strings.Contains(out, can) {
		t.Errorf("worker get does not say %q:\n%s", can, out)
	}
	for _, a := range all {
		body := fmt.Sprintf(a.body, w.ModelID)
		status, over := c.post(t, ctx, a.path, body)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", a.path, status, over)
		}
		a.check(t, over)
		if bus, err := onBus(t, c, a.task, w.ModelID, body); err != nil || bus != over {
			t.Errorf("%s on the bus: %.200s, over HTTP %.200s, %v", a.task, bus, over, err)
		}
		if status, over := c.post(t, ctx, a.path, strings.Replace(body, "{", `{"stream":true,`, 1)); status != 400 || !strings.Contains(over, "is one object") {
			t.Errorf("%s as a stream: %d %s", a.path, status, over)
		}
	}
	wrong := map[string]string{messages.TaskRerank: "/v1/rerank", messages.TaskEmbedding: "/v1/embeddings"}[cannot]
	both := fmt.Sprintf(`{"model":%q,"input":"a","query":"q","documents":["a"],"messages":[{"role":"user","content":"hi"}]}`, w.ModelID)
	for _, p := range []string{wrong, "/v1/chat/completions"} {
		if status, over := c.post(t, ctx, p, both); status != 400 || !strings.Contains(over, "this model ") || !strings.Contains(over, "bad_request") {
			t.Errorf("%s: %d %s", p, status, over)
		}
	}
}

// An answer that is larger than a message of the bus comes over HTTP, and is refused on the bus.
func large(t *testing.T, c *cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w := c.workers(t)
	i := slices.IndexFunc(w, func(w messages.WorkerInfo) bool { return strings.Contains(w.ModelID, bees.Embed) })
	inputs := strings.TrimSuffix(strings.Repeat(`"queen",`, 1500), ",")
	body := fmt.Sprintf(`{"model":%q,"input":[%s]}`, w[i].ModelID, inputs)
	status, over := c.post(t, ctx, "/v1/embeddings", body)
	if status != 200 || len(over) <= messages.MaxPayload || !json.Valid([]byte(over)) {
		t.Errorf("%d, %d bytes: %.200s", status, len(over), over)
	}
	_, err := onBus(t, c, messages.TaskEmbedding, w[i].ModelID, body)
	if messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), "does not fit a message") || !strings.Contains(err.Error(), "HTTP") {
		t.Errorf("on the bus: %v", err)
	}
	if got := info(t, &w[i]).SlotsUsed; got != 0 {
		t.Errorf("%d slots stay used", got)
	}
}

// get reads a path of the queen's port.
func (c *cluster) get(t *testing.T, path string) string {
	t.Helper()
	r, err := http.Get("http://" + c.addr.HTTP + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", path, r.StatusCode, err)
	}
	return string(b)
}

// argv is a process' command line, a space behind each word.
func argv(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\x00", " ")
}

// What `rbee worker spawn` says of the engine reaches the worker, and works there.
func TestTasksEngineFlags(t *testing.T) {
	c := start(t)
	dir := t.TempDir()
	lora, template := filepath.Join(dir, "a b.gguf"), filepath.Join(dir, "chat.jinja")
	f, err := os.Create(lora)
	if err == nil {
		err = errors.Join(bees.WriteLoRA(f, bees.Random, 1), f.Close())
	}
	if err == nil {
		err = os.WriteFile(template, []byte("{% for m in messages %}{{ m.content }}{% endfor %}"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	random := beeFile(t, dir, bees.Random)
	answer := func(w messages.WorkerInfo, task, body string) string {
		t.Helper()
		return infer(t, &w, fmt.Sprintf(`{"model":%q,"task":%q,"body":%s}`, w.ModelID, task, body))
	}
	const hi, plain = `{"messages":[{"role":"user","content":"hi"}],"temperature":0,"max_tokens":16}`, `{"prompt":"hi","temperature":0,"max_tokens":16}`
	text := func(raw string) string {
		var o struct {
			Choices []struct {
				Text    string
				Message struct{ Content string }
			}
		}
		object(t, raw, &o)
		return o.Choices[0].Text + o.Choices[0].Message.Content
	}

	w := c.spawn(t, random, "--id", "bare")
	first := text(answer(w, messages.TaskChat, hi))
	bare := text(answer(w, messages.TaskCompletion, plain))

	w = c.spawn(t, random, "--id", "lora", "--lora", lora, "--lora", lora+"=0", "--cache-ram", "7", "--threads", "1")
	for _, want := range []string{"--lora=" + lora + " ", "--lora=" + lora + "=0 ", "--cache-ram=7 ", "--threads=1 "} {
		if got := argv(t, w.PID); !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if got := text(answer(w, messages.TaskChat, hi)); got == first {
		t.Error("the adapter changes nothing")
	}
	w = c.spawn(t, random, "--id", "lora0", "--lora", lora+"=0")
	if got := text(answer(w, messages.TaskChat, hi)); got != first {
		t.Errorf("at scale 0: %q, want %q", got, first)
	}

	w = c.spawn(t, random, "--id", "template", "--chat-template", template, "--cache-ram", "0")
	if got := argv(t, w.PID); !strings.Contains(got, "--chat-template="+template+" ") || !strings.Contains(got, "--cache-ram=0 ") {
		t.Error(got)
	}
	if got := text(answer(w, messages.TaskChat, hi)); got != bare {
		t.Errorf("by the file's template %q, want %q", got, bare)
	}

	w = c.spawn(t, beeFile(t, dir, bees.Embed), "--id", "mean")
	mean := answer(w, messages.TaskEmbedding, `{"input":"the queen"}`)
	w = c.spawn(t, filepath.Join(dir, bees.Embed+".gguf"), "--id", "cls", "--pooling", "cls")
	if got := answer(w, messages.TaskEmbedding, `{"input":"the queen"}`); got == mean || !strings.Contains(argv(t, w.PID), "--pooling=cls ") {
		t.Error("the pooling is the model's own")
	}

	w = c.spawn(t, "builtin:bee-slow", "--id", "shift", "--context-shift", "--ctx", "256", "--slots", "1")
	var o struct {
		Usage   messages.Usage
		Choices []struct{ Finish_reason string } //nolint:revive // as JSON has it
	}
	object(t, answer(w, messages.TaskChat, strings.Replace(hi, "16", "300", 1)), &o)
	if o.Usage.CompletionTokens != 300 || !strings.Contains(argv(t, w.PID), "--context-shift ") {
		t.Errorf("%+v", o)
	}
}

// What cannot be is said by name, and leaves no worker.
func TestTasksEngineFlagsRefused(t *testing.T) {
	c := start(t)
	dir := t.TempDir()
	other := filepath.Join(dir, "other.gguf")
	f, err := os.Create(other)
	if err == nil {
		err = errors.Join(bees.WriteLoRA(f, bees.Qwen, 1), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"another model's adapter": {[]string{"--lora", other}, other},
		"no adapter":              {[]string{"--lora", filepath.Join(dir, "none.gguf")}, "none.gguf"},
		"no template":             {[]string{"--chat-template", filepath.Join(dir, "none.jinja")}, "none.jinja"},
		"pooling":                 {[]string{"--pooling", "median"}, "median"},
		"cache":                   {[]string{"--cache-ram=-5"}, "cache of -5 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.rbee(t, append([]string{"worker", "spawn", "builtin:bee-tiny"}, tc.args...)...)
			if r.code != 1 || !strings.Contains(r.stderr, tc.says) {
				t.Errorf("exit %d: %s", r.code, r.stderr)
			}
			await(t, "no worker stays", func() bool { return len(c.workers(t)) == 0 })
		})
	}
}

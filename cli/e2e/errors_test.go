package e2e

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

func TestWrongModelsAreSaid(t *testing.T) {
	c := start(t)
	dir := t.TempDir()
	good := filepath.Join(dir, "good.gguf")
	if err := bees.WriteFile(good, bees.Tiny); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	var long bytes.Buffer // a model that was trained for a context that no machine here has the memory for
	if err := bees.WriteChanged(&long, bees.Random, "llama.context_length", uint32(messages.MaxContext)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want []string // in stderr
	}{
		"missing":            {[]string{filepath.Join(dir, "none.gguf")}, []string{"none.gguf", "hive"}},
		"garbage":            {[]string{write("garbage.gguf", []byte("this is no model at all, not even nearly"))}, []string{"garbage.gguf"}},
		"truncated":          {[]string{write("short.gguf", data[:len(data)/2])}, []string{"short.gguf"}},
		"a folder":           {[]string{filepath.Join(dir)}, []string{dir}},
		"unknown builtin":    {[]string{"builtin:bee-none"}, []string{"bee-none"}},
		"larger than memory": {[]string{write("long.gguf", long.Bytes()), "--ctx", "1048576", "--slots", "64"}, []string{"free", "--force"}},
		"no such hive":       {[]string{"builtin:bee-tiny", "--hive", "nowhere"}, []string{"nowhere", "rbee hive list"}},
		"no such device":     {[]string{"builtin:bee-tiny", "--device", "CUDA7"}, []string{"CUDA7"}},
		"bad id":             {[]string{"builtin:bee-tiny", "--id", "a.b"}, []string{"a.b"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.rbee(t, append([]string{"worker", "spawn"}, tc.args...)...)
			if r.code != 1 || r.stdout != "" {
				t.Errorf("exit %d, stdout %q", r.code, r.stdout)
			}
			for _, w := range tc.want {
				if !strings.Contains(r.stderr, w) {
					t.Errorf("%q is not in: %s", w, r.stderr)
				}
			}
		})
	}
	if ws := c.workers(t); len(ws) != 0 {
		t.Errorf("workers stayed: %+v", ws)
	}
	// A path works under the file's name, and is the same model the second time.
	if w := c.spawn(t, good); w.ModelID != "good" {
		t.Errorf("its public name is %q", w.ModelID)
	}
	for _, ref := range []string{good, "good"} {
		if out := c.ok(t, "run", ref, "hi"); !strings.HasPrefix(out, "The queen") {
			t.Errorf("run %s: %q", ref, out)
		}
	}
	if ws := c.workers(t); len(ws) != 1 {
		t.Errorf("%d workers serve one model", len(ws))
	}
}

func TestUpRefuses(t *testing.T) {
	c := start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	free := []string{"--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--monitor", ""}
	other := t.TempDir()
	for name, tc := range map[string]struct {
		dir  string
		args []string
		want string
	}{
		"the same data dir":    {c.dir, free, "already runs"},
		"a busy NATS port":     {other, []string{"--http", "127.0.0.1:0", "--nats", ln.Addr().String(), "--monitor", ""}, ln.Addr().String()},
		"a busy HTTP port":     {other, []string{"--http", ln.Addr().String(), "--nats", "127.0.0.1:0", "--monitor", ""}, "--http"},
		"an open HTTP address": {other, []string{"--http", "0.0.0.0:0"}, "not loopback"},
		"an open NATS address": {other, []string{"--nats", "0.0.0.0:0"}, "not loopback"},
		"an unknown role":      {other, append([]string{"--roles", "king"}, free...), "king"},
	} {
		t.Run(name, func(t *testing.T) {
			r := rbee(t, tc.dir, "", append([]string{"up"}, tc.args...)...)
			if r.code != 1 || !strings.Contains(r.stderr, tc.want) {
				t.Errorf("exit %d: %s", r.code, r.stderr)
			}
		})
	}
}

func TestHTTPRefuses(t *testing.T) {
	c := start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for name, tc := range map[string]struct {
		body string
		code int
		want string
	}{
		"bad JSON":        {`{"model":`, 400, "JSON"},
		"no model":        {`{"messages":[]}`, 400, "model"},
		"unknown model":   {`{"model":"nobody","messages":[]}`, 404, "nobody"},
		"a path":          {`{"model":"/etc/passwd","messages":[]}`, 404, "no hive has it"},
		"bad temperature": {`{"model":"builtin:bee-tiny","temperature":9,"messages":[{"role":"user","content":"x"}]}`, 400, "temperature"},
		"no messages":     {`{"model":"builtin:bee-tiny","messages":[]}`, 400, "messages"},
		"too long":        {`{"model":"builtin:bee-tiny","messages":[{"role":"user","content":"` + strings.Repeat("word ", 9000) + `"}]}`, 400, "context"},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := c.post(t, ctx, "/v1/chat/completions", tc.body)
			if code != tc.code || !strings.Contains(body, tc.want) || !strings.Contains(body, `"error"`) {
				t.Errorf("%d %s", code, body)
			}
		})
	}
}

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Two lone runs at once share models and engines and nothing else, and leave nothing behind.
func TestLoneRuns(t *testing.T) {
	dir := t.TempDir()
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			r := rbee(t, dir, "tell me\n", "run", "--verbose", "builtin:bee-tiny")
			if r.code != 0 || !strings.HasPrefix(r.stdout, "The queen sends each job") || !strings.Contains(r.stderr, "tokens/s") {
				t.Errorf("exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
			}
		})
	}
	wg.Wait()
	if left := processes(dir); len(left) > 0 {
		t.Errorf("processes stayed: %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("temporary files stayed: %q", left)
	}
	for _, name := range []string{"keys", "nats", "server.json", "creds", "config"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("a lone run made %s", name)
		}
	}
}

// A reader that leaves ends the run in order: nothing stays behind.
func TestLoneRunWhoseReaderLeaves(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	r := command(t, dir, "", "bash", "-c", filepath.Join(bin, "rbee")+" run builtin:bee-endless hi | head -c 20")
	if !strings.HasPrefix(r.stdout, "The queen") {
		t.Errorf("%+v", r)
	}
	await(t, "the run has ended", func() bool { return len(processes(dir)) == 0 })
	if left, _ := filepath.Glob(filepath.Join(tmp, "rbee-run-*")); len(left) > 0 {
		t.Errorf("temporary files stayed: %q", left)
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  string // in stderr
	}{
		"no command":        {nil, "", 2, "expected one of"},
		"unknown command":   {[]string{"enginez"}, "", 2, "enginez"},
		"unknown flag":      {[]string{"ps", "--nope"}, "", 2, "nope"},
		"no queen":          {[]string{"ps"}, "", 1, "rbee up"},
		"a named server":    {[]string{"run", "builtin:bee-tiny", "x", "--server", "nats://127.0.0.1:1"}, "", 1, "rbee up"},
		"no prompt":         {[]string{"run", "builtin:bee-tiny"}, "", 2, "no prompt"},
		"no such model":     {[]string{"run", "nothing", "hi"}, "", 1, "builtin:"},
		"help":              {[]string{"--help"}, "", 0, ""},
		"version":           {[]string{"version"}, "", 0, ""},
		"engines alone":     {[]string{"engine", "list"}, "", 0, ""},
		"models alone":      {[]string{"model", "list"}, "", 0, ""},
		"no such to get":    {[]string{"model", "get", "nothing"}, "", 1, "no model"},
		"nothing to pull":   {[]string{"model", "pull"}, "", 2, "models"},
		"a name for two":    {[]string{"model", "pull", "--name", "x", "a", "b"}, "", 2, "one model"},
		"hives and all":     {[]string{"model", "pull", "builtin:bee-tiny", "--hive", "a", "--all-hives"}, "", 2, "exclude"},
		"a bad rate":        {[]string{"model", "pull", "builtin:bee-tiny", "--limit-rate", "fast"}, "", 2, "5MB"},
		"left alone":        {[]string{"model", "pull", "builtin:bee-tiny", "--detach"}, "", 2, "rbee up"},
		"no such hive":      {[]string{"model", "pull", "builtin:bee-tiny", "--hive", "nowhere"}, "", 1, "no hive"},
		"a bad plan":        {[]string{"model", "plan", "builtin:bee-tiny", "--slots", "1000"}, "", 1, "slots"},
		"nothing to remove": {[]string{"model", "rm", "nothing"}, "", 1, "no model"},
		"nothing to verify": {[]string{"model", "verify", "nothing"}, "", 1, "no model"},
		"no such store":     {[]string{"model", "import", "--from", "nowhere"}, "", 1, "ollama"},
		"an empty gc":       {[]string{"model", "gc"}, "", 0, ""},
		"creds":             {[]string{"creds", "create", "--role", "client", "--name", "alice"}, "", 0, ""},
		"creds of no role":  {[]string{"creds", "create", "--role", "king", "--name", "x"}, "", 2, "role"},
		"decode":            {[]string{"decode"}, "\x81\xa2id\xa2w1", 0, ""},
		"decode of a part":  {[]string{"decode"}, "\x81\xa1a", 1, "msgpack"},
		"no role":           {[]string{"up", "--roles", ""}, "", 1, "role"},
		"decode of garbage": {[]string{"decode"}, "\xc1", 1, "msgpack"},
		"completion":        {[]string{"completion", "bash"}, "", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := rbee(t, dir, tc.stdin, tc.args...)
			if r.code != tc.code || !strings.Contains(r.stderr, tc.want) {
				t.Errorf("exit %d, want %d\nstdout: %s\nstderr: %s", r.code, tc.code, r.stdout, r.stderr)
			}
		})
	}
	if r := rbee(t, dir, "\x81\xa2id\xa2w1", "decode"); r.stdout != "{\"id\":\"w1\"}\n" {
		t.Errorf("decode prints %q", r.stdout)
	}
	t.Run("a file of flags", func(t *testing.T) {
		file := filepath.Join(dir, "rbee.yaml")
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("srever: x\n")
		if r := rbee(t, dir, "", "ps", "--config", file); r.code != 2 || !strings.Contains(r.stderr, "srever") {
			t.Errorf("a wrong key: exit %d, %s", r.code, r.stderr)
		}
		write("up:\n  http: 0.0.0.0:1\n")
		if r := rbee(t, dir, "", "up", "--config", file); !strings.Contains(r.stderr, "0.0.0.0:1") {
			t.Errorf("a command's key: %s", r.stderr)
		}
		write("server: nats://127.0.0.1:2\nlog-level: warn\n")
		creds := rbee(t, dir, "", "creds", "create", "--role", "client", "--name", "alice").stdout
		path := filepath.Join(dir, "alice.creds")
		if err := os.WriteFile(path, []byte(creds), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := rbee(t, dir, "", "ps", "--config", file, "--creds", path); !strings.Contains(r.stderr, "127.0.0.1:2") {
			t.Errorf("%s", r.stderr)
		}
	})
}

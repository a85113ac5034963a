package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
)

// bee is the bytes of one of the test models.
func bee(t testing.TB, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := bees.Write(&b, name); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	hubRepo = "honey/Bee-GGUF"
	hubFile = "Bee-F16.gguf"
)

// hub is a fake HuggingFace with bee-tiny as honey/Bee-GGUF:F16, and where the program finds it.
func hub(t *testing.T, more ...fakehub.File) *fakehub.Hub {
	t.Helper()
	h := fakehub.Start()
	t.Cleanup(h.Close)
	h.Add(fakehub.Repo{Name: hubRepo, License: "apache-2.0", Architecture: "llama", ContextLength: 4096,
		Files: append([]fakehub.File{{Path: "README.md", Content: []byte("# Bee")}, {Path: hubFile, Content: bee(t, bees.Tiny), LFS: true}}, more...)})
	t.Setenv("HF_ENDPOINT", h.URL())
	return h
}

// models is `rbee model list --json` without what was never pulled.
func models(t *testing.T, dir string) (out []messages.Model) {
	t.Helper()
	r := rbee(t, dir, "", "model", "list", "--json")
	if r.code != 0 {
		t.Fatalf("model list: %+v", r)
	}
	for dec := json.NewDecoder(strings.NewReader(r.stdout)); ; {
		var m messages.Model
		if err := dec.Decode(&m); err != nil {
			return out
		}
		if m.Path != "" {
			out = append(out, m)
		}
	}
}

// says checks exit code and that stderr has the words.
func (r result) says(t *testing.T, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.stdout, r.stderr)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("stderr does not say %q: %s", w, r.stderr)
		}
	}
}

// One command pulls, spawns and answers, and the next needs no network.
func TestRunFromHub(t *testing.T) {
	h, dir := hub(t), t.TempDir()
	r := rbee(t, dir, "", "run", "hf:"+hubRepo, "Hello")
	r.says(t, 0, "pulling hf:"+hubRepo, "starting", "loading "+hubRepo+":F16")
	if !strings.HasPrefix(r.stdout, "The queen") {
		t.Errorf("answer %q", r.stdout)
	}
	all := models(t, dir)
	if len(all) != 1 {
		t.Fatalf("models %+v", all)
	}
	m := all[0]
	if m.ID != hubRepo+":F16" || len(m.Refs) != 1 || m.Refs[0] != "hf:"+hubRepo || m.License != "apache-2.0" || m.Quantization != "F16" ||
		m.Architecture != "llama" || m.SizeBytes != int64(len(bee(t, bees.Tiny))) || !strings.HasPrefix(m.Digest, "sha256:") || !strings.HasPrefix(m.Path, dir) {
		t.Errorf("%+v", m)
	}
	h.Close()
	for _, args := range [][]string{{"hf:" + hubRepo}, {hubRepo + ":F16"}, {"hf:" + hubRepo + ":F16", "--offline"}} {
		r = rbee(t, dir, "", append([]string{"run", args[0], "Hello"}, args[1:]...)...)
		r.says(t, 0)
		if !strings.HasPrefix(r.stdout, "The queen") {
			t.Errorf("%q without the hub: %q", args, r.stdout)
		}
	}
	rbee(t, dir, "", "run", "hf:other/repo", "Hello", "--offline").says(t, 1, "offline", "rbee model list")
	rbee(t, dir, "", "run", "hf:other/repo", "Hello").says(t, 1, "cannot reach")
}

// A model is asked for over HTTP by its short name and by the full reference; another file of the same name
// needs one of its own.
func TestPulledModelOverHTTP(t *testing.T) {
	h := hub(t)
	c := start(t)
	c.ok(t, "model", "pull", "hf:"+hubRepo+"/"+hubFile)
	for _, name := range []string{hubRepo + ":F16", "hf:" + hubRepo + ":F16", "hf:" + hubRepo + "/" + hubFile} {
		body := `{"model":"` + name + `","messages":[{"role":"user","content":"hi"}]}`
		if code, answer := c.post(t, context.Background(), "/v1/chat/completions", body); code != 200 || !strings.Contains(answer, "The queen") {
			t.Errorf("%s: %d %s", name, code, answer)
		}
	}
	if n := len(c.workers(t)); n != 1 {
		t.Errorf("%d workers serve one model", n)
	}
	// What is behind a branch is another file; the same reference asked for again is an update.
	h.Push(hubRepo, "next", []fakehub.File{{Path: hubFile, Content: bee(t, bees.Random), LFS: true}})
	other := "hf:" + hubRepo + ":F16@next"
	c.rbee(t, "model", "pull", other).says(t, 1, "taken", "--name")
	c.ok(t, "model", "pull", other, "--name", "second")
	if all := models(t, c.dir); len(all) != 2 || all[0].Digest == all[1].Digest {
		t.Errorf("models %+v", all)
	}
	var m messages.Model
	if err := json.Unmarshal([]byte(c.ok(t, "model", "get", other, "--json")), &m); err != nil || m.ID != "second" || len(m.Files) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	// What is served stays, unless it is forced.
	c.rbee(t, "model", "rm", hubRepo+":F16").says(t, 1, "served by", "--force")
	c.ok(t, "model", "rm", "hf:"+hubRepo+":F16", "--force")
	await(t, "the worker has gone", func() bool { return len(c.workers(t)) == 0 })
	if all := models(t, c.dir); len(all) != 1 || all[0].ID != "second" {
		t.Errorf("models %+v", all)
	}
	c.rbee(t, "model", "pull", "builtin:one", "builtin:other").says(t, 1, "builtin:one: ", "builtin:other: ")
	c.rbee(t, "model", "rm", "nothing", "second").says(t, 1, `no model "nothing"`) // and the other goes
	if left, _ := filepath.Glob(filepath.Join(c.dir, "models", "blobs", "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// pullJob starts a pull and returns its job.
func (c *cluster) pullJob(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(c.ok(t, append([]string{"model", "pull", "--detach"}, args...)...))
}

// A job that was left goes on, and is watched from another machine; what is damaged is found and mended.
func TestDetachedPull(t *testing.T) {
	h := hub(t)
	h.Throttle(2 << 20)
	c := start(t)
	id := c.pullJob(t, "hf:"+hubRepo)
	elsewhere := t.TempDir()
	creds := filepath.Join(elsewhere, "client.creds")
	if err := os.WriteFile(creds, []byte(c.ok(t, "creds", "create", "--role", "client", "--name", "alice")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := rbee(t, elsewhere, "", "job", "watch", id, "--server", c.addr.NATS, "--creds", creds)
	r.says(t, 0)
	if !strings.Contains(r.stdout, "succeeded") {
		t.Errorf("%+v", r)
	}
	path := models(t, c.dir)[0].Path
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	v := c.rbee(t, "model", "verify")
	if v.code != 1 || !strings.Contains(v.stdout, "damaged") {
		t.Errorf("%+v", v)
	}
	if all := models(t, c.dir); len(all) != 0 {
		t.Errorf("a damaged model is listed: %+v", all)
	}
	h.Throttle(0)
	c.ok(t, "model", "pull", "hf:"+hubRepo)
	c.ok(t, "model", "verify")
}

// Whatever a kill interrupts goes on where it was, with the next pull; equal pulls are one download.
func TestKilledPullGoesOn(t *testing.T) {
	h := hub(t)
	h.Throttle(1 << 20)
	size := int64(len(bee(t, bees.Tiny)))
	c := start(t)
	for range 3 {
		c.pullJob(t, "hf:"+hubRepo)
	}
	await(t, "it is on its way", func() bool { return h.SentBytes(hubRepo+"/"+hubFile) > size/3 })
	kill(t, c.up.Process.Pid, syscall.SIGKILL)
	<-c.done
	c.run(t)
	var jobs []string
	for range 8 {
		jobs = append(jobs, c.pullJob(t, "hf:"+hubRepo))
	}
	for _, id := range jobs {
		c.rbee(t, "job", "watch", id).says(t, 0)
	}
	if sent := h.SentBytes(hubRepo + "/" + hubFile); sent > size+size/20 {
		t.Errorf("%d bytes were sent for a file of %d", sent, size)
	}
	if len(models(t, c.dir)) != 1 {
		t.Error("not one model")
	}
	if left, _ := filepath.Glob(filepath.Join(c.dir, "models", "partial", "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// A plan reads the header alone, and what does not fit the quota is refused before it is fetched.
func TestPlanAndQuota(t *testing.T) {
	h := hub(t)
	size := int64(len(bee(t, bees.Tiny)))
	c := start(t, "--models-quota", "1MB")
	var p messages.PlanReply
	if err := json.Unmarshal([]byte(c.ok(t, "model", "plan", "hf:"+hubRepo, "--ctx", "512", "--slots", "2", "--json")), &p); err != nil {
		t.Fatal(err)
	}
	if p.Model != hubRepo+":F16" || p.DownloadBytes != size || p.ContextLength != 512 || p.Slots != 2 || p.KVBytes == 0 || p.License != "apache-2.0" ||
		p.TotalBytes != p.WeightsBytes+p.KVBytes+p.ComputeBytes+p.BaseBytes+p.CopiedBytes || len(p.Fits) == 0 || !p.Fits[0].Fits {
		t.Errorf("%+v", p)
	}
	if p.FetchedBytes > size || h.SentBytes(hubRepo+"/"+hubFile) > 16<<20 {
		t.Errorf("fetched %d, sent %d", p.FetchedBytes, h.SentBytes(hubRepo+"/"+hubFile))
	}
	c.rbee(t, "model", "pull", "hf:"+hubRepo).says(t, 1, "quota", "rbee model rm")
	if left, _ := filepath.Glob(filepath.Join(c.dir, "models", "blobs", "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	c.rbee(t, "model", "plan", "hf:no/such-repo").says(t, 1, "no/such-repo")
}

// Without a route everything that is here works at once, and what is not is refused at once.
func TestNoRoute(t *testing.T) {
	for _, tool := range []string{"unshare", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: apt-get install util-linux iproute2", err)
		}
	}
	hub(t)
	dir := t.TempDir()
	rbee(t, dir, "", "model", "pull", "hf:"+hubRepo).says(t, 0)
	began := time.Now()
	alone := func(args ...string) result {
		return command(t, dir, "", "unshare", append([]string{"-n", "sh", "-c", `ip link set lo up && exec "$@"`, "sh", filepath.Join(bin, "rbee")}, args...)...)
	}
	for _, ref := range []string{"hf:" + hubRepo, hubRepo + ":F16"} {
		r := alone("run", ref, "Hello")
		r.says(t, 0)
		if !strings.HasPrefix(r.stdout, "The queen") {
			t.Errorf("%s: %q", ref, r.stdout)
		}
	}
	alone("run", "hf:other/repo", "Hello", "--offline").says(t, 1, "offline")
	t.Setenv("HF_ENDPOINT", "http://192.0.2.1")
	alone("run", "hf:other/repo", "Hello").says(t, 1, "cannot reach")
	t.Logf("four runs took %s", time.Since(began))
}

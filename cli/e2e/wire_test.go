package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/nats-io/nats.go"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/vmihailenco/msgpack/v5"
)

// tap is everything that passes on the bus, as the queen may hear it.
type tap struct {
	mu  sync.Mutex
	all []*nats.Msg
}

func tapInto(t *testing.T, c *cluster) *tap {
	t.Helper()
	realm, err := bus.OpenRealm(filepath.Join(c.dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := realm.Creds(bus.RoleQueen, "tap", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tap.creds")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(c.addr.NATS, nats.UserCredentials(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	tp := &tap{}
	if _, err := nc.Subscribe(">", func(m *nats.Msg) {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		tp.all = append(tp.all, m)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return tp
}

func (tp *tap) has(suffix string) bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return slices.ContainsFunc(tp.all, func(m *nats.Msg) bool { return strings.HasSuffix(m.Subject, suffix) })
}

// kind is one line of the tables: its subjects, its payload, and whether the test must see it.
type kind struct {
	name           string
	subject        *regexp.Regexp
	payload, reply *jsonschema.Resolved
	json           bool
	seen           int
}

func kinds(t *testing.T) (all []*kind) {
	t.Helper()
	resolve := func(v any) *jsonschema.Resolved {
		if v == nil {
			return nil
		}
		s, err := bus.SchemaOf(v)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Resolve(nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	pattern := func(subject string) *regexp.Regexp {
		parts := strings.Split(subject, ".")
		for i, p := range parts {
			if strings.HasPrefix(p, "{") {
				parts[i] = "[^.]+"
			}
		}
		return regexp.MustCompile("^" + strings.Join(parts, `\.`) + "$")
	}
	for _, c := range messages.Channels() {
		all = append(all, &kind{name: c.Subject, subject: pattern(c.Subject), payload: resolve(c.Payload), json: c.JSON})
	}
	for _, o := range messages.Operations() {
		all = append(all, &kind{name: o.Subject(), subject: pattern(o.Subject()), payload: resolve(o.Request), reply: resolve(o.Reply)})
	}
	return all
}

// generic is a payload as JSON has it.
func generic(t *testing.T, data []byte) (v any) {
	t.Helper()
	if messages.FormatOf(data) == messages.JSON {
		if len(data) == 0 {
			return map[string]any{}
		}
		if err := json.Unmarshal(data, &v); err != nil {
			t.Errorf("%q: %v", data, err)
		}
		return v
	}
	if err := msgpack.Unmarshal(data, &v); err != nil {
		t.Errorf("%q: %v", data, err)
		return nil
	}
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		t.Error(err)
	}
	return v
}

// Every message on the wire is one of docs/asyncapi.yaml's, and each of those is seen.
func TestWireIsWhatTheDocumentSays(t *testing.T) {
	h := hub(t)
	c := start(t, "--route", "bus", "--peer-listen", "")
	tp := tapInto(t, c)
	exercise(t, c)
	exerciseModels(t, c, h)
	await(t, "a hive's beat", func() bool { return tp.has(".beat") })
	tp.mu.Lock()
	defer tp.mu.Unlock()
	all := kinds(t)
	replies := map[string]*kind{}
	for _, m := range tp.all {
		if k := replies[m.Subject]; k != nil {
			if m.Header.Get("Nats-Service-Error-Code") == "" && m.Header.Get("Status") == "" && k.reply != nil {
				check(t, k.name+", its reply", k.reply, m)
			}
			for _, own := range all { // a worker's replies have a subject of their own
				if own.subject.MatchString(m.Subject) {
					own.seen++
				}
			}
			continue
		}
		if !strings.HasPrefix(m.Subject, "rbee.") {
			continue // JetStream's own, inboxes of what is streamed
		}
		i := slices.IndexFunc(all, func(k *kind) bool { return k.subject.MatchString(m.Subject) })
		if i < 0 {
			t.Errorf("%s is in no table", m.Subject)
			continue
		}
		k := all[i]
		k.seen++
		if k.payload != nil {
			check(t, k.name, k.payload, m)
			if isJSON := messages.FormatOf(m.Data) == messages.JSON; k.json && !isJSON {
				t.Errorf("%s is not JSON", m.Subject)
			}
		}
		if m.Reply != "" {
			replies[m.Reply] = k
		}
	}
	unseen := map[string]bool{}
	for _, k := range all {
		if k.seen == 0 {
			unseen[k.name] = true
		}
	}
	for _, known := range []string{
		"rbee.do.{caller}.worker.renew",  // after a day
		"rbee.do.{caller}.worker.delete", // worker.stop's other name
		"rbee.hive.{hive}.worker.watch",  // of a hive that was restarted
		"rbee.hive.{hive}.engine.list", "rbee.hive.{hive}.engine.install", "rbee.hive.{hive}.job.cancel",
		"rbee.worker.{worker}.{incarnation}.info", // of a suspect
		"rbee.worker.{worker}.{incarnation}.stop", // of a worker without a hive
	} {
		delete(unseen, known)
	}
	if len(unseen) > 0 {
		t.Errorf("never seen: %q", slices.Sorted(maps.Keys(unseen)))
	}
}

// exerciseModels has two hives do everything with models, the second by copying over the bus from the first.
func exerciseModels(t *testing.T, c *cluster, h *fakehub.Hub) {
	t.Helper()
	ref := "hf:" + hubRepo
	c.ok(t, "model", "plan", ref)
	c.ok(t, "model", "pull", ref)
	c.hive(t, "h2", "--peer-listen", "")
	h.Forget()
	c.ok(t, "model", "pull", ref, "--hive", "h2")
	if sent := h.SentBytes(hubRepo + "/" + hubFile); sent > 0 {
		t.Errorf("%d bytes came from outside", sent)
	}
	c.ok(t, "model", "get", ref)
	c.ok(t, "model", "verify")
	c.ok(t, "model", "import")
	c.ok(t, "model", "rm", ref)
	c.ok(t, "model", "gc")
}

func check(t *testing.T, what string, s *jsonschema.Resolved, m *nats.Msg) {
	t.Helper()
	if err := s.Validate(generic(t, m.Data)); err != nil {
		t.Errorf("%s, on %s: %.500s\n%.500q", what, m.Subject, err, m.Data)
	}
}

// exercise does what a user does.
func exercise(t *testing.T, c *cluster) {
	w := c.spawn(t, "builtin:bee-tiny", "--id", "w1")
	conn := c.connect(t)
	id := messages.NewID("r")
	_, _ = conn.RequestRaw(t.Context(), messages.DoSubject(conn.Caller, messages.OpCancel), messages.MustEncode(&messages.CancelRequest{ID: id}))
	_ = conn.PublishRaw(messages.DoSubject(conn.Caller, messages.OpInferCtl)+"."+id, "", []byte("cancel"))
	for _, args := range [][]string{{"run", "builtin:bee-tiny", "hi"}, {"status"}, {"ps"}, {"worker", "get", "w1"}, {"worker", "logs", "w1"}, {"hive", "list"},
		{"hive", "get", string(w.Hive)}, {"model", "list"}, {"job", "list"}, {"worker", "drain", "w1"}, {"worker", "undrain", "w1"},
		{"events", "--since", "1h", "--no-follow"}} {
		c.ok(t, args...)
	}
	if r := c.rbee(t, "job", "cancel", "nobody"); r.code != 1 {
		t.Errorf("a job that is not: exit %d", r.code)
	}
	var jobs struct{ Job string }
	if err := json.Unmarshal([]byte(strings.Split(c.ok(t, "job", "list", "--json"), "\n")[0]), &jobs); err != nil {
		t.Fatal(err)
	}
	c.ok(t, "job", "get", jobs.Job)
	c.ok(t, "job", "watch", jobs.Job)
	streamBus(t, conn)
	c.ok(t, "worker", "stop", "w1")
}

// streamBus cancels an answer on the bus, so that the control subjects are used.
func streamBus(t *testing.T, conn *bus.Conn) {
	t.Helper()
	id := messages.NewID("r")
	req := &messages.InferRequest{ID: id, Model: "builtin:bee-tiny", Task: messages.TaskChat, Stream: true, Body: []byte(`{"messages":[{"role":"user","content":"hi"}]}`)}
	r, err := conn.OpenStream(messages.DoSubject(conn.Caller, messages.OpInfer), conn.NewInbox(), messages.DoSubject(conn.Caller, messages.OpInferCtl)+"."+id, messages.MustEncode(req))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(t.Context()); err != nil {
		t.Error(err)
	}
	r.Close()
}

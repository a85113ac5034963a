package queen

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// keys is what bucket holds.
func (w *world) keys(t *testing.T, bucket string) []string {
	t.Helper()
	kv, err := w.q.conn.JetStream().KeyValue(deadline(t), bucket)
	if err != nil {
		t.Fatal(err)
	}
	l, err := kv.ListKeys(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for k := range l.Keys() {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// TestQueenRestarted: the bucket is for people. Another life of the queen knows whom it has heard, serves what
// it has heard of, and takes away what the earlier one left.
func TestQueenRestarted(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t)
	first := beginOn(t, s, Config{Name: "q", Route: "bus"})
	f := first.ready(t, "w1")
	first.hive(t)
	kv, err := first.q.conn.JetStream().KeyValue(deadline(t), messages.WorkersBucket)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := kv.WatchAll(deadline(t), jetstream.IgnoreDeletes())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Stop() }()
	for e := (jetstream.KeyValueEntry)(nil); e == nil || e.Key() != "w1"; {
		e = recv(t, "w1's key", watch.Updates())
	}
	first.stop()
	if _, err := kv.Put(deadline(t), "w7", []byte(`{"id":"w7","incarnation":"i","model_id":"m7","models":[{"id":"m7","slots":4}],"status":"ready","slots_total":4}`)); err != nil {
		t.Fatal(err)
	}

	w := beginOn(t, s, Config{Name: "q", Route: "bus"})
	if all := w.q.registry.Workers(); len(all) > 0 || len(w.q.registry.Hives()) > 0 {
		t.Errorf("it took over %+v", all)
	}
	if got := w.keys(t, messages.WorkersBucket); !slices.Equal(got, []string{"w1", "w7"}) {
		t.Fatalf("the bucket has %v", got)
	}
	f.beat(t, messages.StatusReady)
	w.until(t, "w1 is known", func() bool { _, ok := w.q.registry.Worker("w1"); return ok })
	if status, body := w.chat(deadline(t)); status != http.StatusOK || !strings.HasSuffix(body, "[DONE]\n\n") {
		t.Errorf("got %d %s", status, body)
	}
	for _, bucket := range []string{messages.WorkersBucket, messages.HivesBucket} {
		if got := w.keys(t, bucket); len(got) == 0 {
			t.Errorf("%s is empty too early", bucket)
		}
	}
	w.q.workers.Prune()
	w.q.hives.Prune()
	for ctx := deadline(t); !slices.Equal(w.keys(t, messages.WorkersBucket), []string{"w1"}) || len(w.keys(t, messages.HivesBucket)) > 0; {
		if ctx.Err() != nil {
			t.Fatalf("the buckets have %v and %v", w.keys(t, messages.WorkersBucket), w.keys(t, messages.HivesBucket))
		}
	}
	r, err := http.NewRequestWithContext(deadline(t), http.MethodPost, w.http+"/v1/chat/completions", strings.NewReader(strings.Replace(chatBody, `"m"`, `"m7"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := read(http.DefaultClient.Do(r)); status != http.StatusNotFound || !strings.Contains(body, "m7") {
		t.Errorf("a model of the bucket alone: %d %s", status, body)
	}
}

// TestRequestThatWaitedForABeat: of a queen that has just started, a request without a worker waits for the
// beats; when one has come that serves its model, it goes there.
func TestRequestThatWaitedForABeat(t *testing.T) {
	t.Parallel()
	for status, want := range map[messages.Status]messages.Code{messages.StatusReady: "", messages.StatusBusy: "", messages.StatusDraining: messages.CodeNoWorker} {
		t.Run(string(status), func(t *testing.T) {
			w := begin(t)
			waits := make(chan error, 1)
			ctx := deadline(t)
			go func() { waits <- w.q.ensureServed(ctx, "m") }()
			newWorker(t, w.s, "w1", 100).beat(t, status)
			wantCode(t, recv(t, "an answer", waits), want)
		})
	}
}

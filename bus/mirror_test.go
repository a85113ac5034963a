package bus_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

var bucket = jetstream.KeyValueConfig{Bucket: "test", Storage: jetstream.FileStorage}

// truth is a map that a mirror writes.
type truth struct {
	*bus.Mirror
	mu   sync.Mutex
	want map[string]string
}

func (m *truth) put(key, value string) {
	m.mu.Lock()
	m.want[key] = value
	m.mu.Unlock()
	m.Touch(key)
}

func (m *truth) drop(key string) {
	m.mu.Lock()
	delete(m.want, key)
	m.mu.Unlock()
	m.Touch(key)
}

func (m *truth) source() bus.Source {
	return bus.Source{
		Keys: func() []string { m.mu.Lock(); defer m.mu.Unlock(); return slices.Collect(maps.Keys(m.want)) },
		Value: func(key string) ([]byte, bool) {
			m.mu.Lock()
			defer m.mu.Unlock()
			v, ok := m.want[key]
			return []byte(v), ok
		},
	}
}

// mirror runs one until stop or the test's end; its words on the bucket come by the channel.
func mirror(t *testing.T, c *bus.Conn) (m *truth, said <-chan error, stop func()) {
	t.Helper()
	m = &truth{want: map[string]string{}}
	m.Mirror = c.NewMirror(bucket, m.source())
	words, done := make(chan error, 1024), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { defer close(done); m.Run(ctx, func(err error) { words <- err }) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return m, words, stop
}

func content(t *testing.T, c *bus.Conn) map[string]string {
	t.Helper()
	kv, err := c.JetStream().KeyValue(deadline(t), bucket.Bucket)
	if err != nil {
		return nil
	}
	l, err := kv.ListKeys(deadline(t))
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for k := range l.Keys() {
		if e, err := kv.Get(deadline(t), k); err == nil {
			out[k] = string(e.Value())
		}
	}
	return out
}

func wantContent(t *testing.T, c *bus.Conn, want map[string]string) {
	t.Helper()
	for ctx := deadline(t); ; {
		got := content(t, c)
		if maps.Equal(got, want) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the bucket has %v, want %v", got, want)
		}
	}
}

func TestMirrorFollowsTheMap(t *testing.T) {
	c := bustest.Start(t).Connect(t, bus.RoleQueen, "q")
	m, said, _ := mirror(t, c)
	m.put("a", "1")
	m.put("b", "1")
	m.put("a", "2")
	m.drop("b")
	m.drop("never")
	wantContent(t, c, map[string]string{"a": "2"})
	if err := <-said; err != nil {
		t.Errorf("it says %v", err)
	}
	for i := range 200 {
		m.put(fmt.Sprint("k", i%10), fmt.Sprint(i))
	}
	want := map[string]string{"a": "2"}
	for i := range 10 {
		want[fmt.Sprint("k", i)] = fmt.Sprint(190 + i)
	}
	wantContent(t, c, want)
}

// TestMirrorPrunes: what an earlier life left goes only when it is told, and what is the map's own stays.
func TestMirrorPrunes(t *testing.T) {
	c := bustest.Start(t).Connect(t, bus.RoleQueen, "q")
	first, _, stop := mirror(t, c)
	for _, k := range []string{"old", "gone", "both"} {
		first.put(k, "first")
	}
	wantContent(t, c, map[string]string{"old": "first", "gone": "first", "both": "first"})
	stop()
	second, _, _ := mirror(t, c)
	second.put("both", "second")
	second.put("new", "second")
	wantContent(t, c, map[string]string{"old": "first", "gone": "first", "both": "second", "new": "second"})
	second.Prune()
	wantContent(t, c, map[string]string{"both": "second", "new": "second"})
}

// TestMirrorPrunesWhatItCouldNot: a Prune that the store refuses is made good.
func TestMirrorPrunesWhatItCouldNot(t *testing.T) {
	s := bustest.Start(t)
	c := s.Connect(t, bus.RoleQueen, "q")
	m, said, _ := mirror(t, c)
	m.put("a", "1")
	wantContent(t, c, map[string]string{"a": "1"})
	kv, err := c.JetStream().KeyValue(deadline(t), bucket.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(deadline(t), "stale", nil); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	for ctx := deadline(t); c.Connected() && ctx.Err() == nil; {
	}
	m.Prune()
	m.put("b", "2")
	for ctx := deadline(t); ; {
		select {
		case err := <-said:
			if err == nil {
				continue
			}
		case <-ctx.Done():
			t.Fatal("it never said that the bucket is away")
		}
		break
	}
	s.Restart(t)
	wantContent(t, c, map[string]string{"a": "1", "b": "2"})
}

// TestMirrorFillsADeletedBucket: the map is the truth.
func TestMirrorFillsADeletedBucket(t *testing.T) {
	c := bustest.Start(t).Connect(t, bus.RoleQueen, "q")
	m, _, _ := mirror(t, c)
	m.put("a", "1")
	m.put("b", "2")
	wantContent(t, c, map[string]string{"a": "1", "b": "2"})
	if err := c.JetStream().DeleteKeyValue(deadline(t), bucket.Bucket); err != nil {
		t.Fatal(err)
	}
	m.put("c", "3")
	wantContent(t, c, map[string]string{"a": "1", "b": "2", "c": "3"})
}

func TestSchemas(t *testing.T) {
	seen := map[string]bool{}
	for _, op := range messages.Operations() {
		for _, payload := range []any{op.Request, op.Reply} {
			if payload == nil {
				continue
			}
			s, err := bus.SchemaOf(payload)
			if err != nil || s.Type != "object" || s.AdditionalProperties != nil {
				t.Errorf("%s: schema of %T: %+v, %v", op.Op, payload, s, err)
				continue
			}
			seen[fmt.Sprintf("%T", payload)] = true
			if slices.Contains(s.Required, "v") {
				t.Errorf("%T: by hand nobody writes a version", payload)
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %v", seen)
	}
	if _, err := bus.SchemaOf(make(chan int)); err == nil {
		t.Error("a channel has a schema")
	}
}

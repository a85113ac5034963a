package queen

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

// How long news of a connection's end may take, on a loaded machine; and beside other tests.
const (
	atOnceIs = 800 * time.Millisecond
	soonIs   = 3 * time.Second
)

// TestConnectionEnds: the server's word makes suspect, the probe finds nobody, and silence does the rest.
func TestConnectionEnds(t *testing.T) {
	t.Parallel()
	w := begin(t)
	f := w.ready(t, "w1")
	news := w.news(t)
	began := time.Now()
	f.c.Close()
	e := next(t, news, registry.WorkerSuspect, registry.WorkerLost)
	if took := time.Since(began); took > soonIs || e.Kind != registry.WorkerSuspect || e.Worker != "w1" || !strings.Contains(e.Cause, "its connection ended") {
		t.Errorf("after %v: %+v", took, e)
	}
	w.until(t, "nobody answers on the bus", func() bool {
		v, ok := w.q.registry.Worker("w1")
		return ok && v.Bus == registry.RouteDown && v.Suspect != ""
	})
	if took := time.Since(began); took > soonIs {
		t.Errorf("the probe took %v", took)
	}
	if status, body := w.chat(deadline(t)); status == http.StatusOK {
		t.Errorf("it was asked all the same: %s", body)
	}
	e = next(t, news, registry.WorkerLost, registry.WorkerReady)
	if took := time.Since(began); e.Kind != registry.WorkerLost || took < messages.LostAfter-time.Second || !strings.Contains(e.Cause, "silent") {
		t.Errorf("after %v: %+v", took, e)
	}
	if status, body := get(t, w.http+"/metrics"); status != 200 || !strings.Contains(body, `rbee_worker_suspects_total{cause="disconnect"} 1`) ||
		!strings.Contains(body, `rbee_worker_losses_total{cause="silence"} 1`) {
		t.Errorf("metrics %d: %.3000s", status, body)
	}
}

// TestOneOfTwoConnectionsEnds: who still answers is picked again.
func TestOneOfTwoConnectionsEnds(t *testing.T) {
	w := begin(t)
	w.ready(t, "w1")
	news := w.news(t)
	second := w.s.Connect(t, bus.RoleWorker, "w1")
	began := time.Now()
	second.Close()
	if e := next(t, news, registry.WorkerSuspect, registry.WorkerLost); e.Kind != registry.WorkerSuspect {
		t.Errorf("%+v", e)
	}
	if e := next(t, news, registry.WorkerReady, registry.WorkerLost); e.Kind != registry.WorkerReady || e.Cause != "it answers" {
		t.Errorf("%+v", e)
	}
	if took := time.Since(began); took > atOnceIs {
		t.Errorf("it took %v", took)
	}
	if status, body := w.chat(deadline(t)); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// TestStalledWorkerAnswersNoProbe: no reply says little; suspect it stays, lost it is not.
func TestStalledWorkerAnswersNoProbe(t *testing.T) {
	t.Parallel()
	w := begin(t)
	f := w.ready(t, "w1")
	f.mu.Lock()
	f.mute = true
	f.mu.Unlock()
	w.q.suspect(&f.info, "a request stalled")
	w.q.probe(registry.Probe{ID: "w1", Incarnation: f.info.Incarnation, Bus: true}) // returns after probeFor
	v, ok := w.q.registry.Worker("w1")
	if !ok || v.Suspect != "a request stalled" || v.Bus != registry.RouteUp {
		t.Errorf("%+v, %v", v, ok)
	}
	f.beat(t, messages.StatusReady)
	w.until(t, "it is picked again", func() bool { v, _ := w.q.registry.Worker("w1"); return v.Suspect == "" })
}

// port is a worker's HTTP port that says info.
func port(t *testing.T, info messages.WorkerInfo) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(info) }))
	t.Cleanup(s.Close)
	return s
}

// withPort is a worker that beats with the port of s.
func (w *world) withPort(t *testing.T, s *httptest.Server, f *fakeWorker) {
	t.Helper()
	a := s.Listener.Addr().(*net.TCPAddr)
	f.info.Host, f.info.Port = "127.0.0.1", a.Port
	f.beat(t, messages.StatusReady)
	w.until(t, "its port is known", func() bool { v, _ := w.q.registry.Worker("w1"); return v.Port == a.Port })
}

// direct waits until the queen has found out about the worker's port.
func (w *world) direct(t *testing.T, want registry.RouteState) {
	t.Helper()
	ctx := deadline(t)
	for limit := time.Now().Add(5 * time.Second); ; {
		v, ok := w.q.registry.Worker("w1")
		if ok && v.Direct == want {
			return
		}
		if !ok || time.Now().After(limit) {
			t.Fatalf("known %v, direct %d, want %d", ok, v.Direct, want)
		}
		_ = w.client.Flush(ctx)
	}
}

// TestPortRefuses: a port that was the worker's and refuses, with nobody on the bus, is its end at once.
func TestPortRefuses(t *testing.T) {
	w := beginOn(t, bustest.Start(t), Config{Name: "q"})
	f := newWorker(t, w.s, "w1", 100)
	s := port(t, f.info)
	w.withPort(t, s, f)
	w.direct(t, registry.RouteUp)
	news := w.news(t)
	began := time.Now()
	s.Close()
	f.c.Close()
	e := next(t, news, registry.WorkerLost)
	if took := time.Since(began); took > atOnceIs || !strings.Contains(e.Cause, "its port refuses") {
		t.Errorf("after %v: %+v", took, e)
	}
}

// TestPortOfAnother: whoever answers there but is not this life of the worker, is not it.
func TestPortOfAnother(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*messages.WorkerInfo){
		"another worker": func(i *messages.WorkerInfo) { i.ID = "w2" },
		"another life":   func(i *messages.WorkerInfo) { i.Incarnation = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			w := beginOn(t, bustest.Start(t), Config{Name: "q"})
			f := newWorker(t, w.s, "w1", 100)
			other := f.info
			edit(&other)
			w.withPort(t, port(t, other), f)
			w.direct(t, registry.RouteDown)
			if v, _ := w.q.registry.Worker("w1"); v.Suspect != "" || v.Bus != registry.RouteUp {
				t.Errorf("%+v", v)
			}
		})
	}
}

// ended is the server's event of a connection that role and name had; its own name is chosen by the client.
func ended(t *testing.T, s *bustest.Server, role bus.Role, name, reason string) bus.Msg {
	t.Helper()
	_, key, err := bus.NewUserKey()
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := s.Realm.Mint(role, name, key, 0)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := json.Marshal(map[string]any{"client": map[string]any{"name": "w1", "name_tag": "w1", "tags": []string{"role:worker"}, "jwt": token}, "reason": reason})
	return bus.Msg{Data: data}
}

func TestDisconnectEvents(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.hive(t)
	f := w.ready(t, "w1")
	f.mu.Lock()
	f.mute = true
	f.mu.Unlock()
	news := w.news(t)
	for name, tc := range map[string]struct {
		m    bus.Msg
		want string // the kind that follows
	}{
		"a worker":                      {ended(t, w.s, bus.RoleWorker, "w1", "Stale Connection"), registry.WorkerSuspect},
		"a hive":                        {ended(t, w.s, bus.RoleHive, "h1", "Client Closed"), registry.HiveSuspect},
		"a worker named like the hive":  {ended(t, w.s, bus.RoleWorker, "h1", "Client Closed"), ""},
		"a client named like a worker":  {ended(t, w.s, bus.RoleClient, "w1", "Client Closed"), ""},
		"somebody whom the queen lacks": {ended(t, w.s, bus.RoleWorker, "w9", "Client Closed"), ""},
		"the key ran out":               {ended(t, w.s, bus.RoleWorker, "w1", "Authentication Expired"), ""},
		"the server stops":              {ended(t, w.s, bus.RoleWorker, "w1", "Server Shutdown"), ""},
		"the key was revoked":           {ended(t, w.s, bus.RoleWorker, "w1", "Credentials Revoked"), ""},
		"noise":                         {bus.Msg{Data: []byte("\xdf\xff")}, ""},
		"no credentials":                {bus.Msg{Data: []byte(`{"client":{"name_tag":"w1","tags":["role:worker"]},"reason":"Client Closed"}`)}, ""},
		"credentials that are none":     {bus.Msg{Data: []byte(`{"client":{"jwt":"a.b.c"},"reason":"Client Closed"}`)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w.q.hearDisconnect(tc.m)
			w.q.registry.Suspect("w1", f.info.Incarnation, "the mark") // what follows next, if nothing was said
			e := next(t, news, registry.WorkerSuspect, registry.HiveSuspect)
			if got := e.Kind; (tc.want != "" && got != tc.want) || (tc.want == "" && e.Cause != "the mark") {
				t.Errorf("%+v", e)
			}
			if e.Kind == registry.HiveSuspect { // the mark is yet to come
				next(t, news, registry.WorkerSuspect)
			}
			f.beat(t, messages.StatusReady)
			next(t, news, registry.WorkerReady)
		})
	}
}

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

// atOnceIs how long news of a connection's end may take, on a loaded machine.
const atOnceIs = 800 * time.Millisecond

// TestConnectionEnds: the server's word makes suspect, the probe finds nobody, and silence does the rest.
func TestConnectionEnds(t *testing.T) {
	t.Parallel()
	w := begin(t)
	f := w.ready(t, "w1")
	news := w.news(t)
	began := time.Now()
	f.c.Close()
	e := next(t, news, registry.WorkerSuspect, registry.WorkerLost)
	if took := time.Since(began); took > atOnceIs || e.Kind != registry.WorkerSuspect || e.Worker != "w1" || !strings.Contains(e.Cause, "its connection ended") {
		t.Errorf("after %v: %+v", took, e)
	}
	w.until(t, "nobody answers on the bus", func() bool {
		v, ok := w.q.registry.Worker("w1")
		return ok && v.Bus == registry.RouteDown && v.Suspect != ""
	})
	if took := time.Since(began); took > atOnceIs {
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

func TestDisconnectEvents(t *testing.T) {
	w := begin(t)
	w.hive(t)
	f := w.ready(t, "w1")
	f.mu.Lock()
	f.mute = true
	f.mu.Unlock()
	news := w.news(t)
	says := func(name, reason string, tags ...string) []byte {
		data, _ := json.Marshal(map[string]any{"client": map[string]any{"name_tag": name, "tags": tags}, "reason": reason})
		return data
	}
	for name, tc := range map[string]struct {
		m    bus.Msg
		want string // the kind that follows
	}{
		"a worker":                      {bus.Msg{Data: says("w1", "Stale Connection", "role:worker")}, registry.WorkerSuspect},
		"a hive":                        {bus.Msg{Data: says("h1", "Client Closed", "role:hive")}, registry.HiveSuspect},
		"a worker named like the hive":  {bus.Msg{Data: says("h1", "Client Closed", "role:worker")}, ""},
		"a client named like a worker":  {bus.Msg{Data: says("w1", "Client Closed", "role:client")}, ""},
		"no role":                       {bus.Msg{Data: says("w1", "Client Closed")}, ""},
		"the key ran out":               {bus.Msg{Data: says("w1", "Authentication Expired", "role:worker")}, ""},
		"the server stops":              {bus.Msg{Data: says("w1", "Server Shutdown", "role:worker")}, ""},
		"the key was revoked":           {bus.Msg{Data: says("w1", "Credentials Revoked", "role:worker")}, ""},
		"a name that is none":           {bus.Msg{Data: says("w.1", "Client Closed", "role:worker")}, ""},
		"noise":                         {bus.Msg{Data: []byte("\xdf\xff")}, ""},
		"a request is no event":         {bus.Msg{Data: says("w1", "Client Closed", "role:worker"), Reply: "_INBOX_x"}, ""},
		"somebody whom the queen lacks": {bus.Msg{Data: says("w9", "Client Closed", "role:worker")}, ""},
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

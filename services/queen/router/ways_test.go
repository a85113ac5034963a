package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

func TestUsable(t *testing.T) {
	const unknown, up, down = registry.RouteUnknown, registry.RouteUp, registry.RouteDown
	ready := func(bus, direct registry.RouteState, port int) registry.View {
		w := worker("a")
		w.Port = port
		return registry.View{WorkerInfo: w, Bus: bus, Direct: direct}
	}
	as := func(v registry.View, s messages.Status, suspect string) registry.View {
		v.Status, v.Suspect = s, suspect
		return v
	}
	all := ready(up, up, 1)
	for name, tc := range map[string]struct {
		v                              registry.View
		auto, bus, direct, off, offBus Ways // by route; off is auto while offline
	}{
		"both up":             {all, anyWay, WayBus, WayDirect, WayDirect, 0},
		"busy":                {as(all, messages.StatusBusy, ""), anyWay, WayBus, WayDirect, WayDirect, 0},
		"starting":            {v: as(all, messages.StatusStarting, "")},
		"draining":            {v: as(all, messages.StatusDraining, "")},
		"no status":           {v: as(all, "", "")},
		"suspect":             {v: as(all, messages.StatusReady, "silent")},
		"busy and suspect":    {v: as(all, messages.StatusBusy, "silent")},
		"no port":             {ready(up, up, 0), WayBus, WayBus, 0, 0, 0},
		"port never answered": {ready(up, unknown, 1), WayBus, WayBus, WayDirect, 0, 0},
		"port down":           {ready(up, down, 1), WayBus, WayBus, 0, 0, 0},
		"bus down":            {ready(down, up, 1), WayDirect, 0, WayDirect, WayDirect, 0},
		"bus unknown":         {ready(unknown, up, 1), WayDirect, 0, WayDirect, WayDirect, 0},
		"both unknown":        {ready(unknown, unknown, 1), 0, 0, WayDirect, 0, 0},
		"both down":           {v: ready(down, down, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				route  string
				online bool
				want   Ways
			}{{RouteAuto, true, tc.auto}, {RouteBus, true, tc.bus}, {RouteDirect, true, tc.direct},
				{RouteAuto, false, tc.off}, {RouteBus, false, tc.offBus}, {RouteDirect, false, tc.direct}} {
				if got := usable(&tc.v, c.route, c.online); got != c.want {
					t.Errorf("%s, online %v: %b, want %b", c.route, c.online, got, c.want)
				}
			}
		})
	}
}

// TestOtherWayLast: who failed here by one way waits for somebody else, and comes back by the other way
// when nobody else is left.
func TestOtherWayLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher()
		a, b := worker("a"), worker("b")
		a.Port = 1
		d.Changed(beats(a))
		d.Changed(beats(with(slots(b, 1), messages.StatusBusy, 1)))
		failed := map[string]Ways{a.Incarnation: WayDirect}
		out := make(chan outcome, 2)
		queue(t.Context(), d, 0, failed, out)
		queue(t.Context(), d, 1, failed, out)
		if ls := got(t, out); len(ls) != 0 {
			t.Fatalf("went to %s", ls[0].Worker.ID)
		}
		d.Changed(beats(slots(b, 1)))
		if ls := got(t, out); len(ls) != 1 || ls[0].Worker.ID != "b" {
			t.Fatalf("%d go", len(ls))
		}
		d.Changed(lost(b))
		if ls := got(t, out); len(ls) != 1 || ls[0].Worker.ID != "a" || ls[0].Ways != WayBus {
			t.Fatalf("%d go", len(ls))
		}
		d.Changed(lost(a))
	})
}

// port gives w a port that h serves.
func port(t *testing.T, w *messages.WorkerInfo, h http.HandlerFunc) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	listens(w, srv.Listener.Addr())
}

func listens(w *messages.WorkerInfo, addr net.Addr) {
	tcp := addr.(*net.TCPAddr)
	w.Host, w.Port = tcp.IP.String(), tcp.Port
}

// resets ends the connection instead of an answer: at once, or after the status.
func resets(n *atomic.Int32, status bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		if status {
			fmt.Fprint(w, ": keep-alive\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

func refuses(n *atomic.Int32, status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const drains = `{"error":{"code":"unavailable","op":"infer","message":"draining"}}`

// TestWays: worker a has a port, in trouble, and answers on the bus; b may be there, on the bus.
func TestWays(t *testing.T) {
	srv := bustest.Start(t)
	const nobody = "" // answers; the route is the error's code then
	for name, tc := range map[string]struct {
		port         func(*atomic.Int32) http.HandlerFunc // nil: refused
		b            bool
		by           string // who answers
		route        string
		ports, buses int32 // how often a was asked by either
		told         []string
		fails        int // that a's breaker counts
	}{
		"refused":             {nil, true, "a", RouteBus, 0, 1, []string{"direct of a"}, 0},
		"reset":               {func(n *atomic.Int32) http.HandlerFunc { return resets(n, false) }, true, "a", RouteBus, 1, 1, []string{"direct of a"}, 0},
		"not a worker":        {func(n *atomic.Int32) http.HandlerFunc { return refuses(n, 503, "<html>") }, true, "a", RouteBus, 1, 1, []string{"direct of a"}, 0},
		"breaks, b is there":  {func(n *atomic.Int32) http.HandlerFunc { return resets(n, true) }, true, "b", RouteBus, 1, 0, []string{"direct of a"}, 1},
		"breaks, alone":       {func(n *atomic.Int32) http.HandlerFunc { return resets(n, true) }, false, "a", RouteBus, 1, 1, []string{"direct of a"}, 0},
		"drains, b is there":  {func(n *atomic.Int32) http.HandlerFunc { return refuses(n, 503, drains) }, true, "b", RouteBus, 1, 0, nil, 0},
		"drains, alone":       {func(n *atomic.Int32) http.HandlerFunc { return refuses(n, 503, drains) }, false, nobody, "unavailable", 1, 0, nil, 0},
		"a worker's refusal":  {func(n *atomic.Int32) http.HandlerFunc { return refuses(n, 400, `{"error":{"code":"bad_request"}}`) }, true, nobody, "bad_request", 1, 0, nil, 0},
		"a worker's own fail": {func(n *atomic.Int32) http.HandlerFunc { return refuses(n, 500, `{"error":{"code":"internal"}}`) }, true, nobody, "internal", 1, 0, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := startOn(t, srv, RouteAuto)
			var ports, buses atomic.Int32
			a := busWorker(t, c.s, "a", counted(&buses, say(3)))
			if a.Host, a.Port = "127.0.0.1", 1; tc.port != nil {
				port(t, &a, tc.port(&ports))
			}
			c.d.Changed(beats(a))
			if tc.b {
				c.d.Changed(beats(with(busWorker(t, c.s, "b", say(3)), messages.StatusReady, 1))) // more loaded
			}
			an, err := c.Infer(deadline(t), request(true))
			switch {
			case err != nil && tc.by != nobody:
				t.Error(err)
			case err != nil:
				wantCode(t, err, messages.Code(tc.route))
			default:
				n, err := readAnswer(deadline(t), an)
				if n != 3 || !errors.Is(err, io.EOF) || string(an.Worker.ID) != tc.by || an.Route != tc.route {
					t.Errorf("%d objects of %s by %s, %v", n, an.Worker.ID, an.Route, err)
				}
			}
			if ports.Load() != tc.ports || buses.Load() != tc.buses || c.fails(a) != tc.fails {
				t.Errorf("asked %d times by its port, %d on the bus, %d failures", ports.Load(), buses.Load(), c.fails(a))
			}
			c.wantTold(t, tc.told...)
		})
	}
}

// TestNobodyByAnyWay: the port refuses and nobody listens on the bus; each is tried, and told of, once.
func TestNobodyByAnyWay(t *testing.T) {
	srv := bustest.Start(t)
	for how, want := range map[string][]string{RouteAuto: {"direct of a", "bus of a"}, RouteBus: {"bus of a"}, RouteDirect: {"direct of a"}} {
		t.Run(how, func(t *testing.T) {
			c := startOn(t, srv, how)
			a := worker("a")
			a.Host, a.Port = "127.0.0.1", 1
			c.d.Changed(beats(a))
			_, err := c.Infer(deadline(t), request(true))
			wantCode(t, err, messages.CodeUnavailable)
			c.wantTold(t, want...)
		})
	}
}

// TestThreeTriesByAnyWay: the second way of a worker is a try as any other.
func TestThreeTriesByAnyWay(t *testing.T) {
	srv := bustest.Start(t)
	for n, want := range []struct {
		ports, buses int32
		told         int
		code         messages.Code // "": answered
	}{1: {1, 1, 1, ""}, 2: {2, 1, 2, ""}, 3: {3, 0, 3, messages.CodeStreamBroken}, 4: {3, 0, 3, messages.CodeStreamBroken}} {
		if n == 0 {
			continue
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := startOn(t, srv, RouteAuto)
			var ports, buses atomic.Int32
			for i := range n {
				w := busWorker(t, c.s, fmt.Sprint("w", i), counted(&buses, say(1)))
				port(t, &w, resets(&ports, true))
				c.d.Changed(beats(w))
			}
			_, err := c.ask(deadline(t))
			if want.code != "" {
				wantCode(t, err, want.code)
			} else if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			if ports.Load() != want.ports || buses.Load() != want.buses || len(c.told) != want.told {
				t.Errorf("ports asked %d times, buses %d; told %q", ports.Load(), buses.Load(), c.told)
			}
		})
	}
}

// TestNotBlamed: what ends for another reason says nothing of the worker.
func TestNotBlamed(t *testing.T) {
	srv := bustest.Start(t)
	for name, add := range map[string]func(*cluster, *testing.T, string, script) messages.WorkerInfo{"bus": (*cluster).bus, "direct": (*cluster).http} {
		for why, end := range map[string]func(*cluster, messages.WorkerInfo, context.CancelFunc){
			"cancelled": func(_ *cluster, _ messages.WorkerInfo, cancel context.CancelFunc) { cancel() },
			"lost":      func(c *cluster, w messages.WorkerInfo, _ context.CancelFunc) { c.d.Changed(lost(w)) },
		} {
			for _, silent := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, silent %v", name, why, silent), func(t *testing.T) {
					c := startOn(t, srv, RouteAuto)
					began, told := make(chan struct{}, 1), make(chan struct{}, 1)
					w := add(c, t, "a", func(ctx context.Context, req *messages.InferRequest, s func(string)) error {
						began <- struct{}{}
						return untilCancelled(silent, told)(ctx, req, s)
					})
					ctx, cancel := context.WithCancel(deadline(t))
					defer cancel()
					var a *Answer
					var err error
					if silent {
						go func() { <-began; end(c, w, cancel) }()
						_, err = c.Infer(ctx, request(true))
					} else if a, err = c.Infer(ctx, request(true)); err == nil {
						_, _ = a.Next(ctx)
						end(c, w, cancel)
						_, err = readAnswer(ctx, a)
					}
					<-told
					wantCode(t, err, map[string]messages.Code{"cancelled": messages.CodeCancelled, "lost": messages.CodeUnavailable}[why])
					if c.fails(w) != 0 {
						t.Errorf("the breaker counts %d", c.fails(w))
					}
					c.wantTold(t)
				})
			}
		}
	}
}

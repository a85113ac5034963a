package bus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// everyone lists the roles that may, by first letter: q a h w c o.
type row struct{ subject, pub, sub string }

// The name of each connection is "x"; subjects of "y" are another's.
var roleTable = []row{
	{"rbee.heartbeat.x", "qw", "qaco"},
	{"rbee.heartbeat.y", "q", "qaco"},
	{"rbee.heartbeat.*", "", "qaco"},
	{"rbee.hive.x.beat", "qh", "qhaco"},
	{"rbee.hive.y.beat", "q", "qaco"},
	{"rbee.hive.*.beat", "", "qaco"},
	{"rbee.hive.x.worker.spawn", "q", "qh"},
	{"rbee.hive.y.worker.spawn", "q", "q"},
	{"rbee.hive.y.model.read", "qh", "q"}, // a hive copies from another, with a ticket
	{"rbee.hive.y.model.offer", "q", "q"},
	{"rbee.hive.y.model.rm", "q", "q"},
	{"rbee.queen.worker.list", "qaco", "q"},
	{"rbee.do.client-x.worker.spawn", "qc", "q"},
	{"rbee.do.client-y.worker.spawn", "q", "q"},
	{"rbee.do.admin-x.infer", "qa", "q"},
	{"rbee.do.queen-x.infer", "q", "q"},
	{"rbee.do.hive-x.worker.sign", "qh", "q"},
	{"rbee.do.hive-x.model.locate", "qh", "q"},
	{"rbee.do.hive-y.model.locate", "q", "q"},
	{"rbee.do.hive-x.model.pull", "q", "q"},
	{"rbee.do.hive-x.worker.spawn", "q", "q"},
	{"rbee.do.worker-x.worker.renew", "qw", "q"},
	{"rbee.do.worker-x.infer", "q", "q"},
	{"rbee.worker.x.i1.infer", "q", "qw"},
	{"rbee.worker.y.i1.infer", "q", "q"},
	{"rbee.worker.x.i1.ctl.r1", "q", "qw"},
	{"rbee.reply.queen-q.x.n1", "qw", "q"},
	{"rbee.reply.queen-q.y.n1", "q", "q"},
	{"rbee.job.hive-x.j1", "qh", "qaco"},
	{"rbee.job.hive-y.j1", "q", "qaco"},
	{"rbee.job.queen-x.j1", "q", "qaco"},
	{"rbee.tick.hive-x.j1", "qh", "qaco"},
	{"rbee.event.hive.x.worker.exited", "qh", "qaco"},
	{"rbee.event.hive.y.worker.exited", "q", "qaco"},
	{"rbee.event.queen.x.worker.ready", "q", "qaco"},
	{"rbee.bus.disconnect", "q", "q"},
	// One row is the same name in another role: nobody reads another's inbox.
	{"_INBOX_queen_x.1", "q", "q"},
	{"_INBOX_hive_x.1", "q", "qh"},
	{"_INBOX_worker_x.1", "q", "qw"},
	{"_INBOX_client_x.1", "q", "qc"},
	{"_INBOX_admin_x.1", "q", "qa"},
	{"_INBOX_observer_x.1", "q", "qo"},
	{"_INBOX_client_y.1", "q", "q"},
	{"_INBOX.1", "q", "q"},
	{"$KV.rbee_workers.x", "q", "q"},
	{"$SRV.PING", "qa", "qh"},
	{"$SRV.INFO.rbee-queen", "qa", "qh"},
	{"$JS.API.INFO", "qa", "q"},
	{"$JS.API.STREAM.INFO.KV_rbee_workers", "qa", "q"},
	{"$JS.API.STREAM.NAMES", "qa", "q"},
	{"$JS.API.DIRECT.GET.KV_rbee_workers.$KV.rbee_workers.x", "qa", "q"},
	{"$JS.API.STREAM.CREATE.X", "q", "q"},
	{"$JS.API.STREAM.DELETE.KV_rbee_workers", "q", "q"},
	{"$JS.API.STREAM.PURGE.KV_rbee_workers", "q", "q"},
	{"$JS.API.STREAM.MSG.GET.KV_rbee_workers", "q", "q"},
	{"$JS.API.CONSUMER.CREATE.RBEE_JOBS", "q", "q"},
	{"$JS.API.CONSUMER.MSG.NEXT.RBEE_JOBS.c", "q", "q"},
	{"$JS.ACK.RBEE_JOBS.c.1.1.1.1.1", "q", "q"},
	{"anything.else", "q", "q"},
}

func TestRoleTable(t *testing.T) {
	s := bustest.Start(t)
	for _, role := range bus.Roles() {
		t.Run(string(role), func(t *testing.T) {
			c := s.ConnectLoose(t, role, "x")
			denied := make(chan string, 256)
			c.OnError(func(err error) { denied <- err.Error() })
			letter := string(role)[:1]
			for _, r := range roleTable {
				if !strings.Contains(r.subject, "*") {
					if err := c.PublishRaw(r.subject, "", nil); err != nil {
						t.Fatal(err)
					}
					expect(t, c, denied, "publish", r.subject, strings.Contains(r.pub, letter))
				}
				stop, err := c.Subscribe(r.subject, func(bus.Msg) {})
				if err != nil {
					t.Fatal(err)
				}
				expect(t, c, denied, "subscribe", r.subject, strings.Contains(r.sub, letter))
				stop()
			}
		})
	}
}

// expect asks the server, by a flush, and compares what it reported meanwhile.
func expect(t *testing.T, c *bus.Conn, denied <-chan string, what, subject string, allowed bool) {
	t.Helper()
	if err := c.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	var report string
	wait := 5 * time.Second
	if allowed {
		wait = 20 * time.Millisecond // errors reach us before the flush does; this is for the goroutine
	}
	select {
	case report = <-denied:
	case <-time.After(wait):
	}
	if allowed && report != "" {
		t.Errorf("%s may %s %s, but: %s", c.Caller, what, subject, report)
	}
	if !allowed && report == "" {
		t.Errorf("%s may not %s %s, but the server said nothing", c.Caller, what, subject)
	}
}

// A reply subject is checked by nobody at NATS: our services must.
func TestRequestsWithAForeignReplyAreRefused(t *testing.T) {
	s := bustest.Start(t)
	queen := s.Connect(t, bus.RoleQueen, "q")
	served := make(chan string, 16)
	handle := func(_ any, call *bus.Call) { served <- call.Reply }
	svc := serveOne(t, queen, "rbee.queen.status", handle)
	defer svc.Stop()
	do := serveOne(t, queen, "rbee.do.*.worker.spawn", handle)
	defer do.Stop()

	seen := make(chan string, 16)
	for _, subject := range []string{"$KV.rbee_workers.w1", "rbee.heartbeat.w1", "_INBOX_client_bob.1"} {
		stop, err := queen.Subscribe(subject, func(m bus.Msg) { seen <- m.Subject })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	alice := s.ConnectLoose(t, bus.RoleClient, "alice")
	for _, reply := range []string{"$KV.rbee_workers.w1", "$JS.API.STREAM.DELETE.KV_rbee_workers", "rbee.heartbeat.w1"} {
		_ = alice.PublishRaw("rbee.queen.status", reply, nil)
		_ = alice.PublishRaw("rbee.do.client-alice.worker.spawn", reply, nil)
	}
	_ = alice.PublishRaw("rbee.do.client-alice.worker.spawn", "_INBOX_client_bob.1", nil)
	// A last request, in order behind them, is answered: the others were seen and refused.
	if err := alice.Request(deadline(t), "rbee.queen.status", &messages.Done{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := alice.Request(deadline(t), "rbee.do.client-alice.worker.spawn", &messages.Done{}, nil); err != nil {
		t.Fatal(err)
	}
	if n := queen.Refused(); n != 7 {
		t.Errorf("%d requests refused, want 7", n)
	}
	if err := queen.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	close(served)
	for reply := range served {
		if !strings.HasPrefix(reply, "_INBOX_client_alice.") {
			t.Errorf("a request with reply %s was served", reply)
		}
	}
	select {
	case subject := <-seen:
		t.Errorf("something was written to %s", subject)
	default:
	}
}

package bus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

func serveOne(t *testing.T, c *bus.Conn, subject string, fn func(any, *bus.Call)) *bus.Service {
	t.Helper()
	svc, err := c.Serve(context.Background(), "rbee-test", "dev", "test", []bus.Endpoint{{
		Name: "op", Subject: subject, Queue: "queen", Request: messages.WorkerRef{}, Reply: messages.Done{},
		Handle: func(_ context.Context, call *bus.Call) (any, error) {
			var ref messages.WorkerRef
			if err := call.Decode(&ref); err != nil {
				return nil, err
			}
			fn(nil, call)
			if ref.ID == "missing" {
				return nil, messages.Errorf(messages.CodeNotFound, "get", "no worker %q", ref.ID).WithHint("rbee ps")
			}
			return &messages.Done{OK: true}, nil
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func TestRequest(t *testing.T) {
	s := bustest.Start(t)
	queen := s.Connect(t, bus.RoleQueen, "q")
	svc := serveOne(t, queen, "rbee.queen.worker.get", func(any, *bus.Call) {})
	defer svc.Stop()
	c := s.ConnectLoose(t, bus.RoleClient, "alice")

	var done messages.Done
	if err := c.Request(deadline(t), "rbee.queen.worker.get", &messages.WorkerRef{ID: "w1"}, &done); err != nil || !done.OK {
		t.Fatalf("got %+v, %v", done, err)
	}
	for name, tc := range map[string]struct {
		subject string
		req     []byte
		want    messages.Code
		text    string
	}{
		"the other side's error": {"rbee.queen.worker.get", messages.MustEncode(&messages.WorkerRef{ID: "missing"}), messages.CodeNotFound, "rbee ps"},
		"malformed":              {"rbee.queen.worker.get", []byte("\xdf\xff\xff\xff\xff"), messages.CodeBadRequest, "malformed"},
		"nobody there":           {"rbee.queen.nothing", nil, messages.CodeUnavailable, "nobody answers"},
		"denied at once":         {"rbee.worker.w1.i1.infer", nil, messages.CodeDenied, "may not publish"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := c.RequestRaw(deadline(t), tc.subject, tc.req)
			if messages.CodeOf(err) != tc.want || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want code %s and %q", err, tc.want, tc.text)
			}
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("it took %v: the time-out, not the answer", took)
			}
		})
	}
	t.Run("JSON by hand gets JSON", func(t *testing.T) {
		got, err := c.RequestRaw(deadline(t), "rbee.queen.worker.get", []byte(`{"id":"w1"}`))
		if err != nil || string(got) != `{"v":1,"ok":true}` {
			t.Errorf("got %q, %v", got, err)
		}
		got, err = c.RequestRaw(deadline(t), "rbee.queen.worker.get", nil)
		if err != nil || got[0] != '{' {
			t.Errorf("empty: got %q, %v", got, err)
		}
	})
}

func TestConnectSaysWhoIsMissing(t *testing.T) {
	s := bustest.Start(t)
	cr := s.Credentials(t, bus.RoleClient, "alice")
	s.Stop()
	_, err := bus.Connect(deadline(t), bus.Config{URL: s.URL, Credentials: cr})
	if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "rbee up") {
		t.Errorf("got %v", err)
	}
}

func TestConnectWaitsForAServerThatComesLater(t *testing.T) {
	s := bustest.Start(t)
	cr := s.Credentials(t, bus.RoleQueen, "q")
	s.Stop()
	c, err := bus.Connect(deadline(t), bus.Config{URL: s.URL, Credentials: cr, Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	up := make(chan struct{}, 8)
	c.OnReconnect(func() { up <- struct{}{} })
	s.Restart(t)
	select {
	case <-up:
	case <-deadline(t).Done():
		t.Fatal("never connected")
	}
	if !c.Connected() {
		t.Error("not connected")
	}
}

func TestOneRoleOnOneDataDir(t *testing.T) {
	dir := t.TempDir()
	release, err := bus.LockRole(dir, "queen")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.LockRole(dir, "queen"); messages.CodeOf(err) != messages.CodeConflict {
		t.Errorf("the second queen: %v", err)
	}
	other, err := bus.LockRole(dir, "hive")
	if err != nil {
		t.Fatal(err)
	}
	other()
	release()
	if release, err = bus.LockRole(dir, "queen"); err != nil {
		t.Error(err)
	} else {
		release()
	}
}

// A clone without tags is built with a commit's name as its version; micro takes semver alone.
func TestServeTakesEveryVersion(t *testing.T) {
	c := bustest.Start(t).Connect(t, bus.RoleQueen, "q")
	for _, v := range []string{"v1.2.3", "1.2.3-4-gabc", "dev", "", "8d5f2c1", "0123456", "v1", "a b/c"} {
		svc, err := c.Serve(context.Background(), "rbee-test", v, "test", nil)
		if err != nil {
			t.Errorf("version %q: %v", v, err)
			continue
		}
		svc.Stop()
	}
}

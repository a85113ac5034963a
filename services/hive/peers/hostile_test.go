package peers

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// A hive says where its port is; it may name a port of another machine and nothing else.
func TestReachable(t *testing.T) {
	p := New(Config{})
	p.host = "here"
	for u, want := range map[string]bool{
		"http://10.0.0.7:7834":                 true,
		"http://[fd00::7]:7834":                true,
		"http://203.0.113.9:80":                true,
		"":                                     false,
		"https://10.0.0.7:7834":                false,
		"file:///etc/passwd":                   false,
		"http://10.0.0.7":                      false,
		"http://10.0.0.7:7834/":                false,
		"http://10.0.0.7:7834/a?b=":            false,
		"http://10.0.0.7:7834?b=":              false,
		"http://10.0.0.7:7834#b":               false,
		"http://u:p@10.0.0.7:7834":             false,
		"http://nas:7834":                      false,
		"http://localhost:7834":                false,
		"http://:7834":                         false,
		"http://0.0.0.0:7834":                  false,
		"http://[::]:7834":                     false,
		"http://127.0.0.1:7834":                false,
		"http://127.8.8.8:7834":                false,
		"http://[::1]:7834":                    false,
		"http://[::ffff:127.0.0.1]:7834":       false,
		"http://169.254.169.254:80":            false,
		"http://[fe80::1]:80":                  false,
		"http://[::ffff:169.254.169.254]:7834": false,
		"http://224.0.0.1:80":                  false,
		"http://10.0.0.7:99999":                false,
		"http://2130706433:80":                 false,
		"http://10.0.0.7:7834\r\nX: y":         false,
	} {
		if got := p.dialled(&messages.LocateReply{URL: u, Host: "there"}); got != "" != want || want && got != u {
			t.Errorf("%q: dialled as %q", u, got)
		}
	}
	if p.dialled(&messages.LocateReply{URL: "http://127.0.0.1:7834", Host: "here"}) == "" {
		t.Error("a hive on this machine is not dialled")
	}
	p.host = ""
	if p.dialled(&messages.LocateReply{URL: "http://127.0.0.1:7834"}) != "" {
		t.Error("two machines without a name are taken for one")
	}
}

// Whatever is said to be a hive's port: a request goes there, and asks for a file.
func FuzzReachable(f *testing.F) {
	for _, s := range []string{"http://10.0.0.7:7834", "http://[fd00::7%25eth0]:1", "http://10.0.0.7:1/..", "http://10.0.0.7:1\\@h:2", "HTTP://1.2.3.4:5", "http://1.2.3.4:5?#"} {
		f.Add(s)
	}
	p := New(Config{})
	f.Fuzz(func(t *testing.T, u string) {
		at := p.dialled(&messages.LocateReply{URL: u})
		if at == "" {
			return
		}
		req, err := http.NewRequest(http.MethodGet, at+filesPath+"sha256:00", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		a, err := netip.ParseAddrPort(req.URL.Host)
		if err != nil || a.Addr().IsLoopback() || req.URL.Path != filesPath+"sha256:00" || req.URL.RawQuery != "" || req.URL.User != nil {
			t.Errorf("%q leads to %s", u, req.URL)
		}
	})
}

// What answers at the address of a hive is not that hive, or lies. The file comes over the bus; nobody else is
// asked, and nobody else gets the ticket.
func TestStrangePort(t *testing.T) {
	content, digest := file(3<<20, 1)
	size := int64(len(content))
	if New(Config{}).client.Transport.(*http.Transport).Proxy != nil { // which loopback addresses never use
		t.Error("a proxy would be asked")
	}
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		_, _ = w.Write(content)
	}))
	defer other.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"not found": func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"wait an hour": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		},
		"another size": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes */7")
			w.WriteHeader(416)
		},
		"no such range": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-6/7")
			w.WriteHeader(206)
			_, _ = w.Write([]byte("ab"))
		},
		"closes": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			s := bustest.Start(t)
			q := newQueen(t, s)
			port := httptest.NewServer(answer)
			defer port.Close()
			h1, h2 := newHive(t, s, "h1", noPort), newHive(t, s, "h2", nil)
			h1.put(t, digest, content)
			q.does(func(_ string, r *messages.LocateRequest) (*messages.LocateReply, error) {
				reply, err := q.sends("h1", r.Digest)
				reply.URL = port.URL
				return reply, err
			})
			o := newOutside(t, content, size)
			if got := recv(t, "the end", h2.pull(deadline(t), o, digest, nil)); got.err != nil {
				t.Error(got.err)
			}
			h2.has(t, digest, content)
			if n := o.by("h2"); n > 0 || elsewhere.Load() > 0 {
				t.Errorf("%d bytes came from outside, %d requests went elsewhere", n, elsewhere.Load())
			}
		})
	}
}

// A port that takes a connection and never answers costs some seconds.
func TestSilentPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := bustest.Start(t)
	content, digest := file(1000, 1)
	h1, h2 := newHive(t, s, "h1", noPort), newHive(t, s, "h2", noPort)
	h1.put(t, digest, content)
	h1.tickets.admit("t", digest, now())
	w := &way{hive: "h1", ticket: "t", url: "http://" + ln.Addr().String()}
	defer h2.client.CloseIdleConnections()
	for range 3 {
		b, err := h2.openAt(deadline(t), w, digest, vendor.Whole)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, content) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		b.Close()
	}
	if !w.noHTTP.Load() {
		t.Error("it would be dialled again")
	}
}

// evil is a hive that answers reads over the bus as it likes.
func evil(t *testing.T, s *bustest.Server, answer func(r *messages.ReadRequest) (*messages.ReadReply, error)) {
	t.Helper()
	c := s.Connect(t, bus.RoleHive, "evil")
	svc, err := c.Serve(context.Background(), "rbee-hive", "dev", "evil", []bus.Endpoint{{Name: "read", Subject: messages.HiveSubject("evil", messages.OpRead),
		Handle: bus.Handle(func(_ context.Context, _ *bus.Call, r *messages.ReadRequest) (*messages.ReadReply, error) {
			return answer(r)
		})}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
}

// Whatever a hive answers, the download goes on outside and is right.
func TestHiveThatLies(t *testing.T) {
	content, digest := file(3<<20, 1)
	size := int64(len(content))
	for name, answer := range map[string]func(r *messages.ReadRequest) (*messages.ReadReply, error){
		"another size": func(r *messages.ReadRequest) (*messages.ReadReply, error) {
			return &messages.ReadReply{Data: content[r.From : r.From+r.Bytes], SizeBytes: size - 1}, nil
		},
		"a size that changes": func(r *messages.ReadRequest) (*messages.ReadReply, error) {
			return &messages.ReadReply{Data: content[r.From : r.From+r.Bytes], SizeBytes: size + r.From%2*3 + r.From/messages.MaxPiece}, nil
		},
		"more than was asked for": func(r *messages.ReadRequest) (*messages.ReadReply, error) {
			return &messages.ReadReply{Data: make([]byte, r.Bytes+1), SizeBytes: size}, nil
		},
		"an unbelievable size": func(r *messages.ReadRequest) (*messages.ReadReply, error) {
			return &messages.ReadReply{Data: content[r.From : r.From+1], SizeBytes: -5}, nil
		},
		"no": func(*messages.ReadRequest) (*messages.ReadReply, error) {
			return nil, messages.Errorf(messages.CodeBadModel, "fetch", "no")
		},
		"a piece and no": func(r *messages.ReadRequest) (*messages.ReadReply, error) {
			if r.From%(1<<20) > 0 {
				return nil, messages.Errorf(messages.CodeBadModel, "fetch", "no")
			}
			return &messages.ReadReply{Data: content[r.From : r.From+100], SizeBytes: size}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := bustest.Start(t)
			evil(t, s, answer)
			q := newQueen(t, s)
			q.does(func(_ string, r *messages.LocateRequest) (*messages.LocateReply, error) {
				if r.Bad == "evil" {
					return &messages.LocateReply{Outside: true}, nil
				}
				return &messages.LocateReply{Hive: "evil", Ticket: "t"}, nil
			})
			h := newHive(t, s, "h1", nil)
			o := newOutside(t, content, size)
			got := recv(t, "the end", h.pull(deadline(t), o, digest, nil))
			if got.err != nil {
				t.Error(got.err)
			}
			h.has(t, digest, content)
			if o.by("h1") == 0 {
				t.Error("it did not go outside")
			}
		})
	}
}

// A hive whose file is damaged spoils one try, and neither the second nor the next download: those go outside alone.
func TestDamagedCopy(t *testing.T) {
	s := bustest.Start(t)
	content, digest := file(3<<20, 1)
	size := int64(len(content))
	o := newOutside(t, content, size)
	q := newQueen(t, s)
	h1, h2 := newHive(t, s, "h1", nil), newHive(t, s, "h2", nil)
	damaged := bytes.Clone(content)
	damaged[2<<20] ^= 1
	h1.put(t, digest, damaged)
	q.does(func(string, *messages.LocateRequest) (*messages.LocateReply, error) { return q.sends("h1", digest) })
	got := recv(t, "the end", h2.pull(deadline(t), o, digest, nil))
	if got.err != nil {
		t.Fatal(got.err)
	}
	const says = "what hive h1 gave has another digest: fetching it from its source"
	if n := strings.Count(strings.Join(got.said, "\n"), says); n != 1 {
		t.Errorf("said %q, want %q once", got.said, says)
	}
	h2.has(t, digest, content)
	if n := o.by("h2"); n != size {
		t.Errorf("%d bytes came from outside", n)
	}
	if err := os.Remove(h2.blob(digest)); err != nil {
		t.Fatal(err)
	}
	if got := recv(t, "the end", h2.pull(deadline(t), o, digest, nil)); got.err != nil || strings.Contains(strings.Join(got.said, "\n"), "h1") {
		t.Errorf("the next: %v, said %q", got.err, got.said)
	}
	if n := o.by("h2"); n != 2*size {
		t.Errorf("%d bytes came from outside", n)
	}
}

// A download that fails and can be gone on with is not taken for a damaged one.
func TestFailedIsNotSpoiled(t *testing.T) {
	s := bustest.Start(t)
	content, digest := file(3<<20, 1)
	o := newOutside(t, content, 0)
	o.refuse = http.StatusNotFound
	evil(t, s, func(r *messages.ReadRequest) (*messages.ReadReply, error) {
		if r.From%(1<<20) > 0 {
			return nil, messages.Errorf(messages.CodeUnavailable, "read", "no")
		}
		return &messages.ReadReply{Data: content[r.From : r.From+100], SizeBytes: int64(len(content))}, nil
	})
	q := newQueen(t, s)
	q.does(func(_ string, r *messages.LocateRequest) (*messages.LocateReply, error) {
		if r.Bad == "evil" {
			return &messages.LocateReply{Outside: true}, nil
		}
		return &messages.LocateReply{Hive: "evil", Ticket: "t"}, nil
	})
	h := newHive(t, s, "h1", nil)
	if got := recv(t, "the end", h.pull(deadline(t), o, digest, nil)); got.err == nil {
		t.Error("it succeeded")
	}
	if p, err := download.Peek(h.partial(digest)); err != nil || p.Done == 0 || h.isSpoiled(digest) {
		t.Errorf("%d bytes are kept, %v; spoiled: %v", p.Done, err, h.isSpoiled(digest))
	}
}

// A download that is called off is not taken for a damaged one.
func TestCalledOffIsNotSpoiled(t *testing.T) {
	s := bustest.Start(t)
	content, digest := file(3<<20, 1)
	o := newOutside(t, content, 1<<20)
	q := newQueen(t, s)
	q.firstFetches("h1")
	h1, h2 := newHive(t, s, "h1", nil), newHive(t, s, "h2", nil)
	all, callOff := context.WithCancel(deadline(t))
	defer callOff()
	first := h1.pull(all, o, digest, nil)
	ctx, cancel := context.WithCancel(all)
	second := h2.pull(ctx, o, digest, nil)
	h2.arrives(t, digest, 1<<20)
	cancel()
	if got := recv(t, "the end", second); got.err == nil {
		t.Error("it succeeded")
	}
	if h2.isSpoiled(digest) {
		t.Error("it counts as spoiled")
	}
	callOff()
	recv(t, "the end of the first", first)
	if h1.isSpoiled(digest) {
		t.Error("the first counts as spoiled")
	}
}

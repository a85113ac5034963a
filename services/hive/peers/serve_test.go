package peers

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
)

// A file opens to its ticket, over HTTP as over the bus.
func TestNoTicket(t *testing.T) {
	s := bustest.Start(t)
	h1, h2 := newHive(t, s, "h1", nil), newHive(t, s, "h2", nil)
	content, digest := file(1000, 1)
	secret, other := file(1000, 2)
	h1.put(t, digest, content)
	h1.put(t, other, secret)
	h1.tickets.admit("right", digest, now())
	h1.tickets.admit("old", digest, now().Add(-2*messages.TicketLife))
	h1.tickets.admit("gone", "sha256:"+strings.Repeat("0", 64), now())
	for name, tc := range map[string]struct {
		ticket, digest string
		status         int
		code           messages.Code
	}{
		"right":         {"right", digest, 200, ""},
		"another file":  {"right", other, 403, messages.CodeDenied},
		"guessed":       {"guessed", digest, 403, messages.CodeDenied},
		"none":          {"", digest, 403, messages.CodeDenied},
		"old":           {"old", digest, 403, messages.CodeDenied},
		"a path":        {"right", "..%2f..%2fetc%2fpasswd", 403, messages.CodeDenied},
		"it is removed": {"gone", "sha256:" + strings.Repeat("0", 64), 404, messages.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(deadline(t), http.MethodGet, h1.url()+filesPath+tc.digest, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if tc.ticket != "" {
				req.Header.Set("Authorization", "Bearer "+tc.ticket)
			}
			resp, err := h2.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != tc.status || (string(got) == string(content)) != (tc.status == 200) {
				t.Errorf("over HTTP: %d, %d bytes, %v", resp.StatusCode, len(got), err)
			}
			var reply messages.ReadReply
			err = h2.conn.Request(deadline(t), messages.HiveSubject("h1", messages.OpRead), &messages.ReadRequest{Digest: tc.digest, Ticket: tc.ticket, Bytes: 2000}, &reply)
			if messages.CodeOf(err) != tc.code || (string(reply.Data) == string(content)) != (tc.code == "") {
				t.Errorf("over the bus: %v, %d bytes", err, len(reply.Data))
			}
		})
	}
}

// What a read over the bus may ask for.
func TestReadBounds(t *testing.T) {
	s := bustest.Start(t)
	h1 := newHive(t, s, "h1", nil)
	content, digest := file(2*messages.MaxPiece, 1)
	size := int64(len(content))
	h1.put(t, digest, content)
	h1.tickets.admit("t", digest, now())
	for name, tc := range map[string]struct {
		from, bytes int64
		want        int
		code        messages.Code
	}{
		"all":             {0, 1 << 62, messages.MaxPiece, ""},
		"a little":        {5, 7, 7, ""},
		"over the end":    {size - 3, 100, 3, ""},
		"at the end":      {size, 100, 0, ""},
		"nothing":         {0, 0, 0, ""},
		"less than that":  {0, -1 << 63, 0, ""},
		"before the file": {-1, 10, 0, messages.CodeBadRequest},
		"behind the file": {size + 1, 10, 0, messages.CodeBadRequest},
	} {
		reply, err := h1.Read(deadline(t), nil, &messages.ReadRequest{Digest: digest, Ticket: "t", From: tc.from, Bytes: tc.bytes})
		if messages.CodeOf(err) != tc.code {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err == nil && (len(reply.Data) != tc.want || reply.SizeBytes != size || string(reply.Data) != string(content[tc.from:tc.from+int64(tc.want)])) {
			t.Errorf("%s: %d bytes", name, len(reply.Data))
		}
	}
	for range maxReads {
		h1.reads <- struct{}{}
	}
	if _, err := h1.Read(deadline(t), nil, &messages.ReadRequest{Digest: digest, Ticket: "t", Bytes: 1}); messages.CodeOf(err) != messages.CodeBusy {
		t.Errorf("one read too many: %v", err)
	}
}

// pipe is a listener with one connection.
type pipe struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipe) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p *pipe) Close() error   { p.once.Do(func() { close(p.conns) }); return nil }
func (p *pipe) Addr() net.Addr { return &net.TCPAddr{} }

// connect gives a connection to p's server, in a bubble.
func connect(t *testing.T, p *Peers) net.Conn {
	t.Helper()
	ln := &pipe{conns: make(chan net.Conn, 1)}
	ours, theirs := net.Pipe()
	ln.conns <- theirs
	s := p.server(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(ln) })
	t.Cleanup(func() { _ = s.Close(); _ = ours.Close(); wg.Wait() })
	return ours
}

// ends reads until the server ends the connection and says when it did.
func ends(t *testing.T, r io.Reader) time.Duration {
	t.Helper()
	began := time.Now()
	_, _ = io.Copy(io.Discard, r)
	return time.Since(began)
}

// Who does not go on is cut off: before the request, after an answer, and in the middle of a file.
func TestSlowClients(t *testing.T) {
	content, digest := file(1<<20, 1)
	request := "GET " + filesPath + digest + " HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n\r\n"
	for name, send := range map[string]string{"says nothing": "", "half a request": request[:40]} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := connect(t, New(Config{Files: disk(t.TempDir())}))
				if _, err := io.WriteString(c, send); err != nil {
					t.Fatal(err)
				}
				if d := ends(t, c); d > time.Minute {
					t.Errorf("the connection lasted %v", d)
				}
			})
		})
	}
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := connect(t, New(Config{Files: disk(t.TempDir())}))
			go func() { _, _ = io.WriteString(c, request) }()
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != http.StatusForbidden {
				t.Fatalf("%v, %v", resp, err)
			}
			if d := ends(t, c); d > time.Minute {
				t.Errorf("the connection lasted %v", d)
			}
		})
	})
	t.Run("takes no refusal", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := connect(t, New(Config{Files: disk(t.TempDir())}))
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // of the bubble
			if n, _ := io.Copy(io.Discard, c); n > 0 {
				t.Errorf("after an hour still %d bytes", n)
			}
		})
	})
	t.Run("takes no bytes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := disk(t.TempDir())
			d.put(t, digest, content)
			p := New(Config{Files: d})
			p.tickets.admit("t", digest, now())
			c := connect(t, p)
			go func() { _, _ = io.WriteString(c, request) }()
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // of the bubble
			if n, _ := io.Copy(io.Discard, c); n > int64(len(content))/2 {
				t.Errorf("after an hour still %d bytes", n)
			}
		})
	})
	t.Run("takes them slowly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := disk(t.TempDir())
			d.put(t, digest, content)
			p := New(Config{Files: d})
			p.tickets.admit("t", digest, now())
			c := connect(t, p)
			go func() { _, _ = io.WriteString(c, request) }()
			resp, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
			if err != nil {
				t.Fatal(err)
			}
			for n, buf := 0, make([]byte, 64<<10); n < len(content); {
				time.Sleep(20 * time.Second) // of the bubble
				got, err := io.ReadFull(resp.Body, buf)
				if n += got; err != nil {
					t.Fatalf("cut off after %d bytes: %v", n, err)
				}
			}
		})
	})
}

// The address that others dial is asked for when it is needed, and none is given where it is not known.
func TestAddress(t *testing.T) {
	s := bustest.Start(t)
	host := ""
	h := newHive(t, s, "h1", func(c *Config) { c.Advertise = func() string { return host } })
	if u := h.url(); !strings.HasPrefix(u, "http://127.0.0.1:") {
		t.Errorf("it is at %q", u)
	}
	h.setPort(&net.TCPAddr{IP: net.IPv4zero, Port: 77})
	if u := h.url(); u != "" {
		t.Errorf("it is at %q", u)
	}
	host = "fd00::7"
	if u := h.url(); u != "http://[fd00::7]:77" {
		t.Errorf("it is at %q", u)
	}
	h.stop()
	if u := h.url(); u != "" {
		t.Errorf("it has ended and is at %q", u)
	}
}

// A port that cannot be had is no end: the bus remains.
func TestPortIsTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := bustest.Start(t)
	q := newQueen(t, s)
	h := newHive(t, s, "h1", func(c *Config) { c.Listen = ln.Addr().String() })
	content, digest := file(10, 1)
	h.put(t, digest, content)
	if o, err := q.offer("h1", digest, "t"); err != nil || !o.Have || o.URL != "" {
		t.Errorf("it offers %+v, %v", o, err)
	}
}

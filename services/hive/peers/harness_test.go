package peers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/bus/bustest"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func TestMain(m *testing.M) { bustest.VerifyNoLeaks(m) }

var discard = slog.New(slog.DiscardHandler)

const (
	patience = 40 * time.Second
	freePort = "127.0.0.1:0"
)

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// recv is the next of ch.
func recv[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-deadline(t).Done():
		t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

// file is n random bytes and their digest.
func file(n int, seed uint64) (content []byte, digest string) {
	content = make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(content)
	sum := sha256.Sum256(content)
	return content, "sha256:" + hex.EncodeToString(sum[:])
}

// disk is a hive's folder of blobs and downloads. It is what a catalog is to peers.
type disk string

func (d disk) blob(digest string) string { return filepath.Join(string(d), "blob-"+digest[7:]) }

func (d disk) partial(digest string) string { return filepath.Join(string(d), "partial-"+digest[7:]) }

func (d disk) Locate(digest string) (path, partial string) {
	if _, err := os.Stat(d.blob(digest)); err == nil {
		return d.blob(digest), ""
	}
	if _, err := os.Stat(d.partial(digest)); err == nil {
		return "", d.partial(digest)
	}
	return "", ""
}

// put makes the hive have a file.
func (d disk) put(t *testing.T, digest string, content []byte) {
	t.Helper()
	if err := os.WriteFile(d.blob(digest), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// outside is the files' source, a web server. Bytes from hold on come when released is closed.
type outside struct {
	*httptest.Server
	content  []byte
	hold     int64
	released chan struct{}
	mu       sync.Mutex
	sent     map[string]int64 // by hive
	refuse   int              // a status that all requests get; 0: none
}

func newOutside(t *testing.T, content []byte, hold int64) *outside {
	t.Helper()
	o := &outside{content: content, hold: hold, released: make(chan struct{}), sent: map[string]int64{}}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		status := o.refuse
		o.mu.Unlock()
		if status != 0 {
			http.Error(w, "refused", status)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, &held{Reader: bytes.NewReader(o.content), o: o, hive: strings.TrimPrefix(r.URL.Path, "/"), gone: r.Context().Done()})
	}))
	t.Cleanup(o.Close)
	return o
}

type held struct {
	*bytes.Reader
	o    *outside
	hive string
	gone <-chan struct{}
}

func (h *held) Read(b []byte) (int, error) {
	at := h.Size() - int64(h.Len())
	if at < h.o.hold {
		b = b[:min(int64(len(b)), h.o.hold-at)]
	} else {
		select {
		case <-h.o.released:
		case <-h.gone:
			return 0, io.ErrUnexpectedEOF
		}
	}
	n, err := h.Reader.Read(b)
	h.o.mu.Lock()
	defer h.o.mu.Unlock()
	h.o.sent[h.hive] += int64(n)
	return n, err
}

// by is how many bytes hives got from outside.
func (o *outside) by(hives ...string) (n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range hives {
		n += o.sent[h]
	}
	return n
}

func (o *outside) source(hive string) download.Source {
	client := vendor.NewClient()
	client.Transport.(*http.Transport).DisableKeepAlives = true
	return func(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL+"/"+hive, http.NoBody)
		if err != nil {
			return nil, err
		}
		return vendor.Open(client, req, r)
	}
}

// hive is a Peers on a bus, with a disk.
type hive struct {
	disk
	name string
	*Peers
	conn *bus.Conn
	stop func()
}

// newHive runs a hive; change, which may be nil, changes its config.
func newHive(t *testing.T, s *bustest.Server, name string, change func(*Config)) *hive {
	t.Helper()
	h := &hive{disk: disk(t.TempDir()), name: name, conn: s.ConnectLoose(t, bus.RoleHive, name)}
	cfg := Config{Hive: messages.HiveID(name), Caller: bus.RoleHive.Caller(name), Bus: h.conn, Files: h.disk, Log: discard, Listen: freePort}
	if change != nil {
		change(&cfg)
	}
	h.Peers = New(cfg)
	h.start(t)
	return h
}

func (h *hive) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	svc, err := h.conn.Serve(ctx, "rbee-hive", "dev", "peers", []bus.Endpoint{
		{Name: "offer", Subject: messages.HiveSubject(messages.HiveID(h.name), messages.OpOffer), Handle: bus.Handle(h.Offer)},
		{Name: "read", Subject: messages.HiveSubject(messages.HiveID(h.name), messages.OpRead), Handle: bus.Handle(h.Read)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for wait := deadline(t); h.cfg.Listen == freePort && h.url() == ""; runtime.Gosched() {
		if wait.Err() != nil {
			t.Fatal("no port")
		}
	}
	h.stop = sync.OnceFunc(func() {
		svc.Stop()
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("%s ended with %v", h.name, err)
		}
	})
	t.Cleanup(h.stop)
}

// pulled is what a pull came to.
type pulled struct {
	err  error
	said []string
}

// pull downloads the file in the background; said, which may be nil, gets what there is to say.
func (h *hive) pull(ctx context.Context, o *outside, digest string, said chan<- string) <-chan pulled {
	out := make(chan pulled, 1)
	go func() {
		var p pulled
		var mu sync.Mutex
		p.err = get(ctx, h.Peers, h.disk, digest, int64(len(o.content)), o.source(h.name), func(s string) {
			mu.Lock()
			defer mu.Unlock()
			p.said = append(p.said, s)
			if said != nil {
				said <- s
			}
		})
		out <- p
	}()
	return out
}

// get is what a catalog does with a file.
func get(ctx context.Context, p *Peers, d disk, digest string, size int64, source download.Source, say func(string)) error {
	for {
		from, done := p.Around(ctx, catalog.Wanted{Digest: digest, SizeBytes: size, Say: say}, source)
		_, err := download.Get(ctx, download.Spec{Dir: d.partial(digest), Final: d.blob(digest), SizeBytes: size, Digest: digest, Source: from, Say: say})
		if again := done(err); err == nil || !again {
			return err
		}
	}
}

// has checks a hive's file.
func (d disk) has(t *testing.T, digest string, content []byte) {
	t.Helper()
	got, err := os.ReadFile(d.blob(digest))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s is not there as it should be: %v", digest, err)
	}
}

// arrives waits until a download at a hive has n bytes from the front on.
func (h *hive) arrives(t *testing.T, digest string, n int64) {
	t.Helper()
	ctx := deadline(t)
	for {
		if p, err := download.OpenPartial(h.partial(digest)); err == nil {
			_, err := p.Wait(ctx, n-1)
			p.Close()
			if err == nil {
				return
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: never %d bytes", h.name, n)
		}
	}
}

// fakeQueen answers hives by a script; it speaks the real protocol.
type fakeQueen struct {
	conn   *bus.Conn
	mu     sync.Mutex
	script func(hive string, r *messages.LocateRequest) (*messages.LocateReply, error)
	asked  []string // "h1 fetching", "h2", "h1 done"
}

func newQueen(t *testing.T, s *bustest.Server) *fakeQueen {
	t.Helper()
	q := &fakeQueen{conn: s.Connect(t, bus.RoleQueen, "q")}
	svc, err := q.conn.Serve(context.Background(), "rbee-queen", "dev", "fake", []bus.Endpoint{{Name: "locate", Subject: messages.DoSubject("*", messages.OpLocate),
		Queue: messages.QueenQueue, Handle: bus.Handle(q.locate)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	return q
}

// does replaces the script.
func (q *fakeQueen) does(script func(hive string, r *messages.LocateRequest) (*messages.LocateReply, error)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.script = script
}

func (q *fakeQueen) locate(_ context.Context, call *bus.Call, r *messages.LocateRequest) (*messages.LocateReply, error) {
	q.mu.Lock()
	script := q.script
	what := call.Caller.Name()
	if r.Fetching {
		what += " fetching"
	} else if r.Done {
		what += " done"
	}
	q.asked = append(q.asked, what)
	q.mu.Unlock()
	if r.Done {
		return &messages.LocateReply{}, nil
	}
	return script(call.Caller.Name(), r)
}

// count is how often it was asked so.
func (q *fakeQueen) count(what string) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range q.asked {
		if a == what {
			n++
		}
	}
	return n
}

// sends is a script's answer: a ticket of a hive for a file, or a wait while that hive has none of it.
func (q *fakeQueen) sends(hive, digest string) (*messages.LocateReply, error) {
	o, err := q.offer(hive, digest, "ticket-of-"+hive)
	if err != nil || !o.Have && !o.Partial {
		return &messages.LocateReply{Wait: true}, nil
	}
	return &messages.LocateReply{Hive: messages.HiveID(hive), URL: o.URL, Host: o.Host, Ticket: "ticket-of-" + hive}, nil
}

func (q *fakeQueen) offer(hive, digest, ticket string) (*messages.OfferReply, error) {
	o := &messages.OfferReply{}
	return o, q.conn.Request(context.Background(), messages.HiveSubject(messages.HiveID(hive), messages.OpOffer), &messages.OfferRequest{Digest: digest, Ticket: ticket}, o)
}

// firstFetches has hive fetch from outside, and the others copy from it.
func (q *fakeQueen) firstFetches(first string) {
	q.does(func(hive string, r *messages.LocateRequest) (*messages.LocateReply, error) {
		if hive == first {
			return &messages.LocateReply{Outside: true}, nil
		}
		return q.sends(first, r.Digest)
	})
}

func now() time.Time { return time.Now() }

func wanted(digest string, size int) catalog.Wanted {
	return catalog.Wanted{Digest: digest, SizeBytes: int64(size)}
}

// remove takes all files from a hive.
func (d disk) remove() error {
	all, err := filepath.Glob(filepath.Join(string(d), "blob-*"))
	for _, f := range all {
		_ = os.Remove(f)
	}
	return err
}

package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
)

const (
	filesPath = "/v1/files/" // and the digest
	bearer    = "Bearer "
	// growLimit is how long a download that is handed on may bring nothing; then its reader asks elsewhere.
	growLimit = 10 * time.Second
	readWait  = 3 * time.Second // of a read over the bus
)

// Run serves files over HTTP until ctx ends. Without Listen it only waits.
func (p *Peers) Run(ctx context.Context) error {
	if p.cfg.Listen == "" {
		<-ctx.Done()
		return nil
	}
	ln, err := net.Listen("tcp", p.cfg.Listen)
	if err != nil {
		// The bus remains.
		p.cfg.Log.Warn("no port for other hives; copies go over the bus", "listen", p.cfg.Listen, "error", err)
		<-ctx.Done()
		return nil
	}
	p.mu.Lock()
	p.url = p.address(ln.Addr().(*net.TCPAddr))
	p.mu.Unlock()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+filesPath+"{digest}", p.serveFile)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve files to other hives: %w", err)
	}
	return nil
}

func (p *Peers) address(a *net.TCPAddr) string {
	host := a.IP.String()
	if a.IP.IsUnspecified() && p.cfg.Advertise != nil {
		host = p.cfg.Advertise()
	}
	return (&url.URL{Scheme: "http", Host: net.JoinHostPort(host, fmt.Sprint(a.Port))}).String()
}

func (p *Peers) serveFile(w http.ResponseWriter, r *http.Request) {
	digest := r.PathValue("digest")
	t, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer)
	if !ok || !p.opens(t, digest) {
		http.Error(w, "the queen gives tickets", http.StatusForbidden)
		return
	}
	f, err := p.open(digest)
	if err != nil {
		http.Error(w, "it is not here any more", http.StatusNotFound)
		return
	}
	defer f.Close()
	f.ctx = r.Context()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}

// Read answers another hive over the bus with a piece of a file.
func (p *Peers) Read(ctx context.Context, _ *bus.Call, r *messages.ReadRequest) (*messages.ReadReply, error) {
	if !p.opens(r.Ticket, r.Digest) {
		return nil, messages.Errorf(messages.CodeDenied, messages.OpRead, "no ticket for that file")
	}
	f, err := p.open(r.Digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if r.From < 0 || r.From > f.size {
		return nil, messages.Errorf(messages.CodeBadRequest, messages.OpRead, "offset %d is not in the file of %d bytes", r.From, f.size)
	}
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	f.ctx, f.at = ctx, r.From
	buf := make([]byte, min(max(r.Bytes, 0), messages.MaxPiece, f.size-r.From))
	n, err := io.ReadFull(f, buf)
	if err != nil && ctx.Err() == nil && n == 0 {
		return nil, messages.AsError(err, messages.OpRead)
	}
	return &messages.ReadReply{Data: buf[:n], SizeBytes: f.size}, nil
}

func (p *Peers) open(digest string) (*growing, error) {
	path, partial := p.cfg.Files.Locate(digest)
	if path == "" && partial == "" {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpRead, "the file is not here")
	}
	if path == "" {
		return openPartial(partial)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpRead, "the file is not here: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &growing{at: 0, size: st.Size(), whole: f}, nil
}

func openPartial(dir string) (*growing, error) {
	p, err := download.OpenPartial(dir)
	if err != nil {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpRead, "the file is not here: %w", err)
	}
	if p.SizeBytes() < 0 {
		p.Close()
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpRead, "its size is not known yet")
	}
	return &growing{size: p.SizeBytes(), part: p}, nil
}

// growing is a file that may still be on its way: Read waits for the bytes.
type growing struct {
	ctx      context.Context
	at, size int64
	whole    *os.File
	part     *download.Partial
}

// Close ends the reading; the download goes on.
func (g *growing) Close() error {
	if g.whole != nil {
		return g.whole.Close()
	}
	return g.part.Close()
}

// Seek is as [io.Seeker] has it.
func (g *growing) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += g.at
	case io.SeekEnd:
		offset += g.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	g.at = offset
	return offset, nil
}

// Read gives what is there from the offset on, at least one byte, and waits for that.
func (g *growing) Read(b []byte) (int, error) {
	if g.at >= g.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), g.size-g.at)]
	var n int
	var err error
	if g.whole != nil {
		n, err = g.whole.ReadAt(b, g.at)
	} else if there, werr := g.await(); werr != nil {
		err = werr
	} else {
		n, err = g.part.ReadAt(b[:min(int64(len(b)), there)], g.at)
	}
	if g.at += int64(n); n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// await returns how many bytes are there from the offset on, [growLimit] at most.
func (g *growing) await() (int64, error) {
	ctx, cancel := context.WithTimeout(g.ctx, growLimit)
	defer cancel()
	n, err := g.part.Wait(ctx, g.at)
	if err != nil && g.ctx.Err() == nil {
		err = messages.Errorf(messages.CodeUnavailable, messages.OpRead, "the download that is handed on does not go on: %w", err)
	}
	return n, err
}

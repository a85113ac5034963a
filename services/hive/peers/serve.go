package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"golang.org/x/net/netutil"
)

const (
	filesPath = "/v1/files/" // and the digest
	bearer    = "Bearer "
	maxConns  = 512
	maxReads  = 128              // over the bus, at once
	readWait  = 3 * time.Second  // of a read over the bus
	sendLimit = 30 * time.Second // for the other side to take a buffer of bytes
)

// Run serves files over HTTP until ctx ends. Without Listen it only waits.
func (p *Peers) Run(ctx context.Context) error {
	defer p.client.CloseIdleConnections()
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
	p.setPort(ln.Addr().(*net.TCPAddr))
	defer p.setPort(nil)
	s := p.server(ctx)
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(netutil.LimitListener(ln, maxConns)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve files to other hives: %w", err)
	}
	return nil
}

// server answers who has a ticket. Who is slow, or says nothing, is cut off.
func (p *Peers) server(ctx context.Context) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+filesPath+"{digest}", p.serveFile)
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, WriteTimeout: sendLimit,
		MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return ctx }}
}

func (p *Peers) setPort(a *net.TCPAddr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.port = a
}

func (p *Peers) serveFile(w http.ResponseWriter, r *http.Request) {
	digest := r.PathValue("digest")
	t, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer)
	if !ok || !p.tickets.opens(t, digest, time.Now()) {
		http.Error(w, "the queen gives tickets", http.StatusForbidden)
		return
	}
	f, err := p.open(digest)
	if err != nil {
		http.Error(w, "it is not here any more", http.StatusNotFound)
		return
	}
	defer func() { _ = f.Close() }()
	f.ctx = r.Context()
	// The answer's header goes out before the first byte is there: the other side sees that we live.
	send := http.NewResponseController(w)
	f.ready = func() { _ = send.SetWriteDeadline(time.Now().Add(sendLimit)) }
	f.first = func() { _ = send.Flush() }
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}

// Read answers another hive over the bus with a piece of a file: what is there of it, after some seconds also
// nothing.
func (p *Peers) Read(ctx context.Context, _ *bus.Call, r *messages.ReadRequest) (*messages.ReadReply, error) {
	select {
	case p.reads <- struct{}{}: // what else this hive is asked must not wait for reads
		defer func() { <-p.reads }()
	default:
		return nil, messages.Errorf(messages.CodeBusy, messages.OpRead, "%d reads at once", maxReads)
	}
	if !p.tickets.opens(r.Ticket, r.Digest, time.Now()) {
		return nil, messages.Errorf(messages.CodeDenied, messages.OpRead, "no ticket for that file")
	}
	f, err := p.open(r.Digest)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if r.From < 0 || r.From > f.size {
		return nil, messages.Errorf(messages.CodeBadRequest, messages.OpRead, "offset %d is not in the file of %d bytes", r.From, f.size)
	}
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	out := &messages.ReadReply{SizeBytes: f.size}
	f.ctx, f.at = ctx, r.From
	n, err := f.await()
	n = min(n, max(r.Bytes, 0), messages.MaxPiece)
	switch {
	case ctx.Err() != nil, err == nil && n == 0:
		return out, nil
	case err != nil:
		return nil, messages.AsError(err, messages.OpRead)
	}
	out.Data = make([]byte, n)
	if _, err := f.readAt(out.Data, r.From); err != nil {
		return nil, messages.AsError(err, messages.OpRead)
	}
	return out, nil
}

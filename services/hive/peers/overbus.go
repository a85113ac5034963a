package peers

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const pieceLimit = 15 * time.Second // for one answer

// asOpError says whether a connection could not be made.
func asOpError(err error) (*net.OpError, bool) {
	e, ok := errors.AsType[*net.OpError](err)
	return e, ok && e.Op == "dial"
}

// overBus reads a file piece by piece, each a request to the hive that has it.
func (p *Peers) overBus(ctx context.Context, w *way, f catalog.Wanted, rng vendor.Range) (*vendor.Body, error) {
	to := rng.To
	if to < 0 || to > f.SizeBytes {
		to = f.SizeBytes
	}
	b := &pieces{ctx: ctx, p: p, subject: messages.HiveSubject(w.hive, messages.OpRead),
		req: messages.ReadRequest{Digest: f.Digest, Ticket: w.ticket, From: rng.From}, to: to}
	if err := b.more(); err != nil {
		return nil, err
	}
	return &vendor.Body{ReadCloser: b, From: rng.From, SizeBytes: f.SizeBytes}, nil
}

// pieces reads one range of a file.
type pieces struct {
	ctx     context.Context
	p       *Peers
	subject string
	req     messages.ReadRequest // of the next piece
	to      int64
	rest    []byte
}

// Close does nothing: between two pieces nobody waits.
func (b *pieces) Close() error { return nil }

// Read gives what has come, and asks for more.
func (b *pieces) Read(buf []byte) (int, error) {
	if len(b.rest) == 0 {
		if b.req.From >= b.to {
			return 0, io.EOF
		}
		if err := b.more(); err != nil {
			return 0, err
		}
	}
	n := copy(buf, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// more asks for the next piece; bytes that are on their way are waited for, [growLimit] at most.
func (b *pieces) more() error {
	for began := time.Now(); b.req.From < b.to; {
		b.req.Bytes = min(messages.MaxPiece, b.to-b.req.From)
		ctx, cancel := context.WithTimeout(b.ctx, pieceLimit)
		var reply messages.ReadReply
		err := b.p.cfg.Bus.Request(ctx, b.subject, &b.req, &reply)
		cancel()
		switch {
		case err != nil:
			return err
		case int64(len(reply.Data)) > b.req.Bytes:
			return messages.Errorf(messages.CodeUnavailable, messages.OpRead, "%d bytes came, %d were asked for", len(reply.Data), b.req.Bytes)
		case len(reply.Data) > 0:
			b.rest = reply.Data
			b.req.From += int64(len(reply.Data))
			return nil
		case time.Since(began) > growLimit:
			return messages.Errorf(messages.CodeUnavailable, messages.OpRead, "the download that is handed on stands still")
		}
	}
	return nil
}

package peers

import (
	"context"
	"io"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	pieceLimit = readWait + 5*time.Second // for one answer
	pause      = 200 * time.Millisecond   // after an answer without bytes
)

// overBus reads a file piece by piece, each a request to the hive that has it.
func (p *Peers) overBus(ctx context.Context, w *way, digest string, rng vendor.Range) (*vendor.Body, error) {
	b := &pieces{ctx: ctx, bus: p.cfg.Bus, subject: messages.HiveSubject(w.hive, messages.OpRead),
		req: messages.ReadRequest{Digest: digest, Ticket: w.ticket, From: rng.From}, size: -1, to: rng.To}
	if err := b.wait(func() bool { return b.size >= 0 }); err != nil {
		return nil, err
	}
	if b.to < 0 || b.to > b.size {
		b.to = b.size
	}
	return &vendor.Body{ReadCloser: b, From: rng.From, SizeBytes: b.size}, nil
}

// pieces reads one range of a file.
type pieces struct {
	ctx      context.Context
	bus      Bus
	subject  string
	req      messages.ReadRequest // of the next piece
	size, to int64                // size -1: not known yet
	rest     []byte
}

// Close does nothing: between two pieces nobody waits.
func (b *pieces) Close() error { return nil }

// Read gives what has come, and asks for more.
func (b *pieces) Read(buf []byte) (int, error) {
	if len(b.rest) == 0 {
		if b.req.From >= b.to {
			return 0, io.EOF
		}
		if err := b.wait(func() bool { return len(b.rest) > 0 }); err != nil {
			return 0, err
		}
	}
	n := copy(buf, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// wait asks until enough has come, [growLimit] at most: the bytes may be on their way, or the hive busy.
func (b *pieces) wait(enough func() bool) error {
	for began := time.Now(); ; {
		if err := b.ask(); err != nil || enough() {
			return err
		}
		if time.Since(began) > growLimit {
			return messages.Errorf(messages.CodeUnavailable, messages.OpRead, "the download that is handed on stands still")
		}
		select {
		case <-time.After(pause):
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
}

// ask asks for the next piece, which may be empty.
func (b *pieces) ask() error {
	b.req.Bytes = messages.MaxPiece
	if b.to >= 0 {
		b.req.Bytes = min(b.req.Bytes, b.to-b.req.From)
	}
	ctx, cancel := context.WithTimeout(b.ctx, pieceLimit)
	defer cancel()
	var reply messages.ReadReply
	err := b.bus.Request(ctx, b.subject, &b.req, &reply)
	switch {
	case messages.CodeOf(err) == messages.CodeBusy:
		return nil // as if nothing were there yet
	case err != nil:
		return err
	case int64(len(reply.Data)) > b.req.Bytes:
		return messages.Errorf(messages.CodeUnavailable, messages.OpRead, "%d bytes came, %d were asked for", len(reply.Data), b.req.Bytes)
	case reply.SizeBytes < 0, b.size >= 0 && reply.SizeBytes != b.size:
		return messages.Errorf(messages.CodeUnavailable, messages.OpRead, "the file is said to have %d bytes, %d before", reply.SizeBytes, b.size)
	}
	b.size, b.rest = reply.SizeBytes, reply.Data
	b.req.From += int64(len(reply.Data))
	return nil
}

package peers

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
)

const (
	// growLimit is how long a download that is handed on may bring nothing; then its reader asks elsewhere.
	growLimit = 10 * time.Second
	// growLook is how often is looked whether anybody fetches it still.
	growLook = time.Second
)

// growing is a file that may still be on its way: Read waits for the bytes.
type growing struct {
	ctx      context.Context
	at, size int64
	whole    *os.File
	part     *download.Partial
	fetched  func() bool // whether the rest of part is on its way
	first    func()      // before anything is waited for, once; may be nil
	ready    func()      // when bytes are about to be given; may be nil
}

// open opens the file of digest, or the download of it.
func (p *Peers) open(digest string) (*growing, error) {
	path, partial := p.cfg.Files.Locate(digest)
	if path == "" && partial == "" {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpRead, "the file is not here")
	}
	if path == "" {
		g, err := openPartial(partial, digest)
		if err == nil {
			g.fetched = func() bool { return p.fetches(digest) }
		}
		return g, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpRead, "the file is not here: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &growing{size: st.Size(), whole: f}, nil
}

func openPartial(dir, digest string) (*growing, error) {
	p, err := download.OpenPartial(dir)
	if err != nil {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpRead, "the file is not here: %w", err)
	}
	if p.SizeBytes() < 0 || p.Digest() != digest {
		_ = p.Close()
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpRead, "the download is of another file, or nobody knows yet")
	}
	return &growing{size: p.SizeBytes(), part: p}, nil
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
	if g.first != nil {
		g.first()
		g.first = nil
	}
	there, err := g.await()
	if err != nil {
		return 0, err
	}
	if g.ready != nil {
		g.ready()
	}
	n, err := g.readAt(b[:min(int64(len(b)), there)], g.at)
	g.at += int64(n)
	return n, err
}

// readAt reads bytes that are there, all of them.
func (g *growing) readAt(b []byte, off int64) (n int, err error) {
	if g.whole != nil {
		n, err = g.whole.ReadAt(b, off)
	} else {
		n, err = g.part.ReadAt(b, off)
	}
	switch {
	case n == len(b):
		err = nil // also at the end of the file
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF // it was cut since it was opened
	}
	return n, err
}

// await returns how many bytes are there from the offset on; it waits for the first as long as somebody fetches
// it, [growLimit] at most.
func (g *growing) await() (n int64, err error) {
	if g.whole != nil || g.at >= g.size {
		return g.size - g.at, nil
	}
	for began := time.Now(); ; {
		ctx, cancel := context.WithTimeout(g.ctx, growLook)
		n, err = g.part.Wait(ctx, g.at)
		cancel()
		switch {
		case err == nil || g.ctx.Err() != nil:
			return n, err
		case !errors.Is(err, context.DeadlineExceeded) || time.Since(began) >= growLimit || !g.fetched():
			return 0, messages.Errorf(messages.CodeUnavailable, messages.OpRead, "the download that is handed on does not go on: %w", err)
		}
	}
}

package download

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	followEvery = 50 * time.Millisecond
	tableRead   = 512 // entries read at a time
)

// ErrReplaced is that a download began anew or was discarded: what a [Partial] gave is of a file that will not
// be finished.
var ErrReplaced = errors.New("the download was started over")

// Partial reads a download that is under way, in whatever process, or that was left unfinished. Many
// goroutines may use it. The bytes are not verified yet: who copies them checks the digest.
type Partial struct {
	dir           string
	data, journal *os.File
	head          header
}

// OpenPartial opens the download at dir. The error wraps [fs.ErrNotExist] if there is none.
func OpenPartial(dir string) (*Partial, error) {
	p := &Partial{dir: dir}
	var err error
	if p.journal, err = openShared(filepath.Join(dir, journalName)); err != nil {
		return nil, err
	}
	if p.head, _, err = readHeader(p.journal); err == nil {
		p.data, err = openShared(filepath.Join(dir, dataName))
	}
	if err == nil && !p.current() { // a new journal between the two
		err = ErrReplaced
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close ends the use of it.
func (p *Partial) Close() error {
	err := p.journal.Close()
	if p.data != nil {
		err = errors.Join(err, p.data.Close())
	}
	return err
}

// SizeBytes of the whole file; -1 if it is not known.
func (p *Partial) SizeBytes() int64 { return p.head.size }

// Digest that the whole file has to have, or "".
func (p *Partial) Digest() string {
	if p.head.digest == "" {
		return ""
	}
	return digestPrefix + hex.EncodeToString([]byte(p.head.digest))
}

// Version of the file at its source, such as an ETag; "" if it is not known.
func (p *Partial) Version() string {
	if h, _, err := readHeader(p.journal); err == nil {
		return h.version
	}
	return p.head.version
}

// Available is how many bytes from off on are there now. It never falls.
func (p *Partial) Available(off int64) int64 {
	if off < 0 || p.head.size >= 0 && off >= p.head.size {
		return 0
	}
	s := segments{size: p.head.size, each: p.head.each}
	n, end := p.head.segments(), off
	for i := s.at(off); i < n; i += tableRead {
		e, err := p.table(i, min(i+tableRead, n))
		if err != nil {
			break
		}
		for k, w := range e.written {
			have := s.start(i+k) + w
			if have > end {
				end = have
			}
			if have < s.end(i+k) {
				return end - off
			}
		}
	}
	return end - off
}

// table reads entries. One that is being written at this moment may not look right.
func (p *Partial) table(from, to int) (e entries, err error) {
	for range 3 {
		if e, err = readTable(p.journal, &p.head, from, to); err == nil {
			break
		}
	}
	return e, err
}

// ReadAt reads bytes that are [Partial.Available]; others it does not give, with [io.ErrUnexpectedEOF].
func (p *Partial) ReadAt(b []byte, off int64) (int, error) {
	have := p.Available(off)
	if int64(len(b)) <= have {
		return p.data.ReadAt(b, off)
	}
	n, err := p.data.ReadAt(b[:have], off)
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Wait waits until bytes from off on are there and says how many. Errors: ctx's, [io.EOF] at the end of a
// file of known size, [ErrReplaced].
func (p *Partial) Wait(ctx context.Context, off int64) (int64, error) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		current := p.current() // before the look: it may be finished between the two
		switch n := p.Available(off); {
		case n > 0:
			return n, nil
		case p.head.size >= 0 && off >= p.head.size:
			return 0, io.EOF
		case !current:
			return 0, ErrReplaced
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// current says whether the folder's journal is still this one.
func (p *Partial) current() bool {
	ours, err := p.journal.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(filepath.Join(p.dir, journalName))
	return err == nil && os.SameFile(ours, now)
}

// Peek is how far the download at dir is. Rate and Hashed are not known. The error wraps [fs.ErrNotExist] if
// there is none.
func Peek(dir string) (Progress, error) {
	f, err := openShared(filepath.Join(dir, journalName))
	if err != nil {
		return Progress{}, err
	}
	defer f.Close()
	h, _, err := readHeader(f)
	if err != nil {
		return Progress{}, err
	}
	e, err := readTable(f, &h, 0, h.segments())
	if err != nil {
		return Progress{}, err
	}
	p := Progress{Total: h.size}
	for _, w := range e.written {
		p.Done += w
	}
	return p, nil
}

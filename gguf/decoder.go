package gguf

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// bufferBytes is the size of one read, or less for a file smaller than that. It is the only memory
// taken before the file has earned it.
const bufferBytes = 64 << 10

// decoder reads the format's primitives and stops for good at the first error. After an error
// every method returns a zero value.
type decoder struct {
	r    *bufio.Reader
	size uint64 // bytes in the file
	pos  uint64 // bytes read so far
	kept uint64 // bytes of text read into memory
	err  error
	word [8]byte
	// token, if not nil, is given every text of a vocabulary that is too long to keep.
	token func(string)
}

func newDecoder(r io.ReaderAt, size int64) *decoder {
	buffer := int(min(size, bufferBytes))
	return &decoder{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), buffer), size: uint64(size)}
}

func (d *decoder) left() uint64 { return d.size - d.pos }

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// claim checks that n more bytes are in the file and under [MaxHeaderBytes], and counts them as read.
func (d *decoder) claim(n uint64) bool {
	switch {
	case d.err != nil:
	case n > MaxHeaderBytes-min(d.pos, MaxHeaderBytes):
		d.fail(tooMuch("bytes of header", max(n, d.pos+n), MaxHeaderBytes))
	case n > d.left():
		d.fail(truncated(d.size, d.pos+n))
	default:
		d.pos += n
	}
	return d.err == nil
}

// failRead records an error of the underlying reader. An early end of file means that the file
// has shrunk since its size was taken.
func (d *decoder) failRead(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = truncated(d.size, d.pos)
	}
	d.fail(err)
}

// fixed reads n bytes, at most eight. They are zero after an error.
func (d *decoder) fixed(n int) []byte {
	b := d.word[:n]
	clear(b)
	if d.claim(uint64(n)) {
		if _, err := io.ReadFull(d.r, b); err != nil {
			d.failRead(err)
			clear(b)
		}
	}
	return b
}

func (d *decoder) u8() uint8   { return d.fixed(1)[0] }
func (d *decoder) u16() uint16 { return binary.LittleEndian.Uint16(d.fixed(2)) }
func (d *decoder) u32() uint32 { return binary.LittleEndian.Uint32(d.fixed(4)) }
func (d *decoder) u64() uint64 { return binary.LittleEndian.Uint64(d.fixed(8)) }

func (d *decoder) bool() bool {
	b := d.u8()
	if b > 1 {
		d.fail(malformed("bool at byte %d is %d", d.pos-1, b))
	}
	return b == 1
}

// text reads a string of at most limit bytes. Memory grows with the bytes that arrive, not with
// the length that the file claims.
func (d *decoder) text(limit uint64) string {
	n := d.u64()
	if d.err == nil && n > limit {
		d.fail(tooMuch("bytes of a string", n, limit))
	}
	if d.err == nil && d.kept+n > MaxKeptText {
		d.fail(tooMuch("bytes of all strings", d.kept+n, MaxKeptText))
	}
	if !d.claim(n) {
		return ""
	}
	d.kept += n
	if n <= uint64(d.r.Size()) {
		return d.short(int(n))
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, d.r, int64(n)); err != nil {
		d.failRead(err)
		return ""
	}
	return b.String()
}

// short reads a string that fits the buffer, with one allocation.
func (d *decoder) short(n int) string {
	b, err := d.r.Peek(n)
	if err != nil {
		d.failRead(err)
		return ""
	}
	s := string(b)
	if _, err := d.r.Discard(n); err != nil {
		d.failRead(err)
	}
	return s
}

// skip reads n bytes and forgets them.
func (d *decoder) skip(n uint64) {
	if !d.claim(n) {
		return
	}
	if _, err := d.r.Discard(int(n)); err != nil {
		d.failRead(err)
	}
}

package download

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// A journal says which bytes of the data file beside it are good. Numbers are little-endian.
//
//	0, 4096  two header pages; the valid one with the greater sequence number counts
//	8192     a table: 16 bytes for each segment, {written, synced}, so that no entry crosses a sector
//
// A header page: magic 8, format 4, segments 4, sequence 8, size 8, segment size 8, digest 32, has digest 1, a gap
// of 1, boot id 2+64, version 2+2048 (both with a length before them), zeroes, CRC-32C of all that 4.
// A number of the table has its value in the low 48 bits and a check in the high 16; all zero is 0.
const (
	journalMagic  = "rbee-dl\n"
	journalFormat = 1
	pageBytes     = 4096
	tableAt       = 2 * pageBytes
	entryBytes    = 16
	maxBoot       = 64
	maxVersion    = 2048
	maxSize       = 1 << 50 // of a file; what says more is lying
)

// errJournal is wrapped by all errors about a journal's content.
var errJournal = errors.New("damaged journal")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what a journal knows of its file.
type header struct {
	seq     uint64
	size    int64 // -1: unknown
	each    int64
	digest  string // 32 raw bytes, or ""
	version string // of the source
	boot    string // in which written counts; "": in none
}

func (h *header) segments() int {
	if h.size < 0 {
		return 1
	}
	return int(ceilDiv(h.size, h.each))
}

func (h *header) encode() []byte {
	p := make([]byte, pageBytes)
	le := binary.LittleEndian
	copy(p, journalMagic)
	le.PutUint32(p[8:], journalFormat)
	le.PutUint32(p[12:], uint32(h.segments()))
	le.PutUint64(p[16:], h.seq)
	le.PutUint64(p[24:], uint64(h.size))
	le.PutUint64(p[32:], uint64(h.each))
	if h.digest != "" {
		p[72] = 1
		copy(p[40:72], h.digest)
	}
	le.PutUint16(p[74:], uint16(copy(p[76:76+maxBoot], h.boot)))
	le.PutUint16(p[140:], uint16(copy(p[142:142+maxVersion], h.version)))
	le.PutUint32(p[pageBytes-4:], crc32.Checksum(p[:pageBytes-4], castagnoli))
	return p
}

// parseHeader trusts nothing in p.
func parseHeader(p []byte) (h header, err error) {
	le := binary.LittleEndian
	switch {
	case len(p) != pageBytes || string(p[:8]) != journalMagic:
		return h, fmt.Errorf("%w: no header", errJournal)
	case le.Uint32(p[8:]) != journalFormat:
		return h, fmt.Errorf("%w: its format is %d, ours is %d", errJournal, le.Uint32(p[8:]), journalFormat)
	case le.Uint32(p[pageBytes-4:]) != crc32.Checksum(p[:pageBytes-4], castagnoli):
		return h, fmt.Errorf("%w: wrong checksum", errJournal)
	}
	boot, version := le.Uint16(p[74:]), le.Uint16(p[140:])
	h = header{seq: le.Uint64(p[16:]), size: int64(le.Uint64(p[24:])), each: int64(le.Uint64(p[32:]))}
	if h.size < -1 || h.size > maxSize || h.each != segmentSize(h.size) || uint32(h.segments()) != le.Uint32(p[12:]) ||
		boot > maxBoot || version > maxVersion {
		return h, fmt.Errorf("%w: impossible numbers", errJournal)
	}
	if p[72] != 0 {
		h.digest = string(p[40:72])
	}
	h.boot, h.version = string(p[76:76+boot]), string(p[142:142+version])
	return h, nil
}

// seal is v as it stands in the table at i; kind 0 is written, 1 synced.
func seal(i, kind int, v int64) uint64 {
	if v == 0 {
		return 0
	}
	var b [13]byte
	binary.LittleEndian.PutUint64(b[:], uint64(v))
	binary.LittleEndian.PutUint32(b[8:], uint32(i))
	b[12] = byte(kind)
	return uint64(v) | uint64(crc32.Checksum(b[:], castagnoli)>>16)<<48
}

func unseal(i, kind int, raw uint64) (int64, bool) {
	v := int64(raw & (1<<48 - 1))
	return v, seal(i, kind, v) == raw
}

// entries are a journal's table in memory.
type entries struct{ written, synced []int64 }

// readHeader gives the header page that counts, and which it is.
func readHeader(r io.ReaderAt) (h header, slot int, err error) {
	var pages [tableAt]byte
	if n, err := r.ReadAt(pages[:], 0); n < len(pages) {
		return h, 0, fmt.Errorf("%w: truncated: %w", errJournal, err)
	}
	slot = -1
	for s := range 2 {
		got, e := parseHeader(pages[s*pageBytes : (s+1)*pageBytes])
		if e == nil && (slot < 0 || got.seq > h.seq) {
			h, slot = got, s
		} else if e != nil && err == nil {
			err = e
		}
	}
	if slot < 0 {
		return h, 0, err
	}
	return h, slot, nil
}

// readTable reads and checks the entries of the segments from on to, to not among them.
func readTable(r io.ReaderAt, h *header, from, to int) (e entries, err error) {
	raw := make([]byte, (to-from)*entryBytes)
	if n, err := r.ReadAt(raw, tableAt+int64(from)*entryBytes); n < len(raw) {
		return e, fmt.Errorf("%w: truncated: %w", errJournal, err)
	}
	e = entries{make([]int64, to-from), make([]int64, to-from)}
	room := segments{size: h.size, each: h.each}
	for k := range e.written {
		w, ok1 := unseal(from+k, 0, binary.LittleEndian.Uint64(raw[k*entryBytes:]))
		s, ok2 := unseal(from+k, 1, binary.LittleEndian.Uint64(raw[k*entryBytes+8:]))
		if !ok1 || !ok2 || s > w || w > min(room.end(from+k)-room.start(from+k), endless) {
			return e, fmt.Errorf("%w: entry %d is not possible", errJournal, from+k)
		}
		e.written[k], e.synced[k] = w, s
	}
	return e, nil
}

// journal is one that a download writes. Each entry has one writer at a time.
type journal struct {
	f    *os.File
	head header
	slot int
}

// createJournal puts a journal of nothing to path, durably.
func createJournal(path string, h header) (*journal, error) {
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, head: h, slot: 1}
	err = f.Truncate(tableAt + int64(h.segments())*entryBytes)
	if err == nil {
		err = j.setHeader(h)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil { // Windows renames no open file
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err == nil {
		j.f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	return j, nil
}

// openJournal reads the journal at path as a computer in its boot-th run may believe it: after another run,
// or where nobody knows, only what was synced. Errors wrap [errJournal] or [fs.ErrNotExist], or are the disk's.
func openJournal(path, boot string) (*journal, entries, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, entries{}, err
	}
	j := &journal{f: f}
	var e entries
	if j.head, j.slot, err = readHeader(f); err == nil {
		e, err = readTable(f, &j.head, 0, j.head.segments())
	}
	if err == nil && (boot == "" || j.head.boot != boot) {
		err = j.distrust(e, boot)
	}
	if err != nil {
		f.Close()
		return nil, entries{}, err
	}
	return j, e, nil
}

// distrust takes back what was not synced, durably, before the header says that written counts again.
func (j *journal) distrust(e entries, boot string) error {
	for i := range e.written {
		if e.written[i] != e.synced[i] {
			e.written[i] = e.synced[i]
			if err := j.setWritten(i, e.written[i]); err != nil {
				return err
			}
		}
	}
	if err := j.f.Sync(); err != nil {
		return err
	}
	h := j.head
	h.boot = boot
	if err := j.setHeader(h); err != nil {
		return err
	}
	return j.f.Sync()
}

// setHeader writes h to the page that does not count now.
func (j *journal) setHeader(h header) error {
	h.seq = j.head.seq + 1
	slot := 1 - j.slot
	if _, err := j.f.WriteAt(h.encode(), int64(slot)*pageBytes); err != nil {
		return err
	}
	j.head, j.slot = h, slot
	return nil
}

// setWritten is called after the bytes are in the data file.
func (j *journal) setWritten(i int, v int64) error { return j.set(i, 0, v) }

// setSynced is called after the bytes are on the disk.
func (j *journal) setSynced(i int, v int64) error { return j.set(i, 1, v) }

func (j *journal) set(i, kind int, v int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], seal(i, kind, v))
	_, err := j.f.WriteAt(b[:], tableAt+int64(i)*entryBytes+int64(kind)*8)
	return err
}

package download

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func testHeader() header {
	return header{size: 5<<20 + 7, each: 1 << 20, digest: string(bytes.Repeat([]byte{7}, 32)), version: `"tag"`, boot: "boot-1"}
}

// journalBytes is a journal of testHeader in which segment 1 has 300 bytes, 100 of them synced.
func journalBytes(t testing.TB) (path string, raw []byte) {
	path = filepath.Join(t.TempDir(), journalName)
	j, err := createJournal(path, testHeader())
	if err != nil {
		t.Fatal(err)
	}
	defer j.f.Close()
	if j.f.Name() != path { // it was renamed while it was open, which Windows does not do
		t.Errorf("the journal is open as %s", j.f.Name())
	}
	for _, err := range []error{j.setWritten(1, 300), j.setSynced(1, 100), j.setWritten(5, 7)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	raw, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, raw
}

func TestJournalBoots(t *testing.T) {
	for name, tc := range map[string]struct {
		boot string
		want []int64
	}{
		"same run":    {"boot-1", []int64{0, 300, 0, 0, 0, 7}},
		"another run": {"boot-2", []int64{0, 100, 0, 0, 0, 0}},
		"unknown":     {"", []int64{0, 100, 0, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := journalBytes(t)
			for range 2 { // the second time, the journal is of this run
				j, e, err := openJournal(path, tc.boot)
				if err != nil {
					t.Fatal(err)
				}
				j.f.Close()
				want := testHeader()
				want.seq, want.boot = j.head.seq, tc.boot
				if !slices.Equal(e.written, tc.want) || j.head != want {
					t.Errorf("written %v, want %v; header %+v", e.written, tc.want, j.head)
				}
			}
		})
	}
}

// A header that was half written when the power went leaves the one before.
func TestJournalTornHeader(t *testing.T) {
	path, _ := journalBytes(t)
	j, _, err := openJournal(path, "boot-1")
	if err != nil {
		t.Fatal(err)
	}
	h := j.head
	h.version = `"newer"`
	if err := j.setHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := j.f.WriteAt(make([]byte, 512), int64(j.slot)*pageBytes+512); err != nil {
		t.Fatal(err)
	}
	if _, err := j.f.WriteAt([]byte("torn"), int64(j.slot)*pageBytes+100); err != nil {
		t.Fatal(err)
	}
	j.f.Close()
	j, e, err := openJournal(path, "boot-1")
	if err != nil || j.head.version != `"tag"` || e.written[1] != 300 {
		t.Fatalf("%v: %+v %v", err, j, e)
	}
	j.f.Close()
}

func TestJournalDamaged(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"truncated":     func(b []byte) []byte { return b[:len(b)-1] },
		"no table":      func(b []byte) []byte { return b[:tableAt] },
		"foreign":       func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) },
		"other format":  func(b []byte) []byte { b[8] = 9; return b },
		"flipped bit":   func(b []byte) []byte { b[30] ^= 1; return b },
		"flipped entry": func(b []byte) []byte { b[tableAt+entryBytes] ^= 1; return b },
		"moved entry": func(b []byte) []byte {
			copy(b[tableAt:], b[tableAt+entryBytes:tableAt+2*entryBytes])
			return b
		},
		"more synced than written": func(b []byte) []byte { clear(b[tableAt+entryBytes : tableAt+entryBytes+8]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			path, raw := journalBytes(t)
			if err := os.WriteFile(path, spoil(raw), 0o600); err != nil {
				t.Fatal(err)
			}
			if j, e, err := openJournal(path, "boot-1"); !errors.Is(err, errJournal) {
				t.Errorf("%v: %+v %v", err, j, e)
			}
		})
	}
}

// FuzzJournal: whatever lies there is refused or has possible numbers; nothing panics or takes much memory.
func FuzzJournal(f *testing.F) {
	_, raw := journalBytes(f)
	f.Add(raw)
	f.Add(raw[:tableAt])
	f.Add([]byte(nil))
	h := header{size: -1, each: endless}
	f.Add(append(append(h.encode(), make([]byte, pageBytes)...), make([]byte, entryBytes)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r io.ReaderAt = bytes.NewReader(raw)
		for _, resum := range []bool{false, true} { // also with checksums that are right
			if resum {
				r = bytes.NewReader(withChecksums(raw))
			}
			h, _, err := readHeader(r)
			if err != nil {
				continue
			}
			if h.segments() > maxSegments {
				t.Fatalf("%d segments", h.segments())
			}
			e, err := readTable(r, &h, 0, h.segments())
			if err != nil {
				continue
			}
			s := newSegments(h.size, h.each, e.written)
			if h.size >= 0 && s.done > h.size || s.done < 0 || s.prefix() > s.done {
				t.Fatalf("%d of %d bytes, %d in front", s.done, h.size, s.prefix())
			}
			s.next()
			s.available(h.size / 2)
		}
	})
}

// withChecksums gives raw's header pages the checksums that they should have.
func withChecksums(raw []byte) []byte {
	raw = slices.Clone(raw)
	for at := 0; at+pageBytes <= min(len(raw), tableAt); at += pageBytes {
		binary.LittleEndian.PutUint32(raw[at+pageBytes-4:], crc32.Checksum(raw[at:at+pageBytes-4], castagnoli))
	}
	return raw
}

package fakehub

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // git's object ids are SHA-1
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
)

// stored is a file as the hub keeps it.
type stored struct {
	File
	repo   string
	id     string // in addresses of the CDN
	oid    string // git's, 40 hexadecimal digits
	sha256 string // as the hub tells it
	etag   string // of the CDN
	size   int64
}

func store(repo string, f File) *stored {
	s := &stored{File: f, repo: repo, size: f.Size}
	if f.Content != nil {
		s.size = int64(len(f.Content))
	}
	sum := f.Digest
	if sum == "" {
		sum = Digest(f)
	}
	s.sha256 = sum
	s.oid = sha1Of("blob", sum)
	s.id = sha1Of("cdn", repo, f.Path, sum)
	other := sha256.Sum256([]byte("etag of " + sum))
	s.etag = `"` + hex.EncodeToString(other[:]) + `"`
	return s
}

// Reader gives the bytes of f.
func Reader(f File) io.ReadSeeker {
	if f.Content != nil {
		return bytes.NewReader(f.Content)
	}
	return io.NewSectionReader(made(f.Seed), 0, f.Size)
}

// Digest is the true sha256 of f's bytes, 64 hexadecimal digits. It reads all of them.
func Digest(f File) string {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{Reader(f)}, make([]byte, 1<<20)); err != nil {
		panic(fmt.Sprintf("fakehub: %s: %v", f.Path, err))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// made is an endless content; word n depends on the seed and n alone (splitmix64), so that any part of it can be
// had at once.
type made uint64

func (m made) ReadAt(p []byte, off int64) (int, error) {
	n := len(p)
	word := uint64(off) / 8
	if skip := int(off % 8); skip > 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], m.word(word))
		p = p[copy(p, w[skip:]):]
		word++
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, m.word(word))
		p = p[8:]
		word++
	}
	if len(p) > 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], m.word(word))
		copy(p, w[:])
	}
	return n, nil
}

func (m made) word(n uint64) uint64 {
	z := uint64(m)*0xD1342543DE82EF95 + (n+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// sha1Of is a number that looks as git's do.
func sha1Of(parts ...string) string {
	h := sha1.New() //nolint:gosec // as above
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

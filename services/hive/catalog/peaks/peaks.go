// Package peaks remembers how much memory workers have really had in use, so that a model which has run here
// before is not planned by an estimate alone. It is a file; its methods are safe for many goroutines, and for
// several processes at once.
package peaks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gofrs/flock"
)

const (
	// MaxEntries is how many peaks are kept; the ones that were recorded longest ago go first.
	MaxEntries = 4096

	schema    = 1
	maxText   = 200      // bytes of a digest or a device's name
	maxFile   = 16 << 20 // bytes; MaxEntries of the longest entries are under it
	lockLimit = 5 * time.Second
	lockPoll  = 10 * time.Millisecond
)

// Key is what a peak is of.
type Key struct {
	// Digest is the model's, "sha256:…".
	Digest string `json:"digest"`
	// ContextLength in tokens a slot, and Slots.
	ContextLength int `json:"context_length"`
	Slots         int `json:"slots"`
	// Device is ggml's name of it: "CPU", "CUDA0".
	Device string `json:"device"`
}

type entry struct {
	Key
	Bytes uint64 `json:"bytes"`
}

type file struct {
	Schema int     `json:"schema"`
	Peaks  []entry `json:"peaks"` // the longest unused first
}

// Peaks is a file of peaks.
type Peaks struct {
	path string
	log  *slog.Logger
	mu   sync.Mutex // goroutines wait here, and so only processes poll the file's lock
}

// Open names the file, which need not be there yet; its folder must. Nothing is read or written. What is
// wrong with the file goes to log, and then it counts as empty.
func Open(path string, log *slog.Logger) *Peaks { return &Peaks{path: path, log: log} }

// Record notes that a worker had that many bytes in use. The largest number of a key counts. It waits at most
// 5 seconds for other processes.
func (p *Peaks) Record(key Key, bytes uint64) error {
	if key.Digest == "" || !short(key.Digest) || !short(key.Device) || bytes == 0 {
		return fmt.Errorf("record a peak of %.200q on %.200q: %d bytes: not usable", key.Digest, key.Device, bytes)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), lockLimit)
	defer cancel()
	lock := flock.New(p.path + ".lock")
	defer func() { _ = lock.Close() }()
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return fmt.Errorf("record a peak: lock %s: %w", p.path, err)
	}
	list := p.read()
	if i := slices.IndexFunc(list, func(e entry) bool { return e.Key == key }); i >= 0 {
		bytes = max(bytes, list[i].Bytes)
		list = slices.Delete(list, i, i+1)
	}
	list = append(list, entry{key, bytes})
	if err := p.write(list[max(0, len(list)-MaxEntries):]); err != nil {
		return fmt.Errorf("record a peak: %w", err)
	}
	return nil
}

func short(s string) bool { return len(s) <= maxText && utf8.ValidString(s) }

// Get is the largest number of bytes that was recorded for key, and whether there is one.
func (p *Peaks) Get(key Key) (bytes uint64, ok bool) {
	for _, e := range p.read() { // no lock: the file is there whole, or not at all
		if e.Key == key {
			return e.Bytes, true
		}
	}
	return 0, false
}

// read is what the file has; nothing if it is not usable.
func (p *Peaks) read() []entry {
	f, err := os.Open(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer f.Close()
		var b []byte
		if b, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err == nil {
			var list []entry
			if list, err = decode(b); err == nil {
				return list
			}
		}
	}
	p.log.Warn("the file of measured peaks is not usable and counts as empty", keyPath, p.path, keyError, err)
	return nil
}

// decode checks what it reads: people and other versions may have written it.
func decode(b []byte) ([]entry, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("it is over %d bytes", maxFile)
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	if f.Schema != schema {
		return nil, fmt.Errorf("its schema is %d, not %d", f.Schema, schema)
	}
	return f.Peaks[max(0, len(f.Peaks)-MaxEntries):], nil
}

// write replaces the file whole.
func (p *Peaks) write(list []entry) (err error) {
	b, err := json.Marshal(file{Schema: schema, Peaks: list})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(p.path), filepath.Base(p.path)+".part-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), p.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Keys of log lines.
const (
	keyError = "error"
	keyPath  = "path"
)

package download

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// reserveStep is what a file of unknown size asks for at a time.
const reserveStep = 64 << 20

// transfer fetches the bytes that the data file lacks, with several streams.
type transfer struct {
	*getting
	data    *os.File
	journal *journal
	limiter *rate.Limiter // nil: no limit
	chunk   int           // bytes of one read
	piece   int64         // bytes of one request, at most

	lastByte atomic.Int64 // when, in ns since begun
	begun    time.Time
	hashed   atomic.Int64
	unsynced atomic.Bool   // a sync failed
	grew     chan struct{} // the prefix may have grown; one reader
	dirty    *dirty

	mu        sync.Mutex
	seg       *segments
	changed   chan struct{} // closed and made anew when what streams wait for may have come
	parts     parts
	only      *stream // the one that works when the source has no ranges
	active    []*stream
	probing   bool // a request tells whether the source has ranges
	reserved  int64
	asked     time.Time     // until then the server wants to be left alone
	askedSum  time.Duration // since the last byte
	askedAt   int64         // lastByte when askedSum began
	last      error         // why a stream failed last
	saidStall bool
	saidWhy   time.Time
	refused   bool     // the source refused what follows what is here, of a file of unknown size
	notes     []string // to be said
}

// parts is whether the source gives parts of the file.
type parts int

const (
	unknown parts = iota
	yes
	no
)

// open makes ready to go on with what is in the folder, or anew if that is of no use.
func (g *getting) open() (*transfer, error) {
	_ = os.Remove(filepath.Join(g.spec.Dir, doneName))
	t, err := g.reopen()
	if errors.Is(err, errJournal) {
		g.tell.say("what was kept of the file cannot be used (%v): starting over", err)
	}
	if t == nil && (errors.Is(err, errJournal) || errors.Is(err, fs.ErrNotExist)) {
		t, err = g.create()
	}
	if err != nil {
		return nil, err
	}
	if err := t.makeRoom(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// reopen continues a journal. Errors are as of [openJournal].
func (g *getting) reopen() (*transfer, error) {
	j, e, err := openJournal(filepath.Join(g.spec.Dir, journalName), g.boot())
	if err != nil {
		return nil, err
	}
	t := g.newTransfer(j, e)
	if s := g.spec; s.SizeBytes >= 0 && j.head.size != s.SizeBytes {
		err = fmt.Errorf("%w: it is of a file of another size", errJournal)
	} else if s.Digest != "" && j.head.digest != "" && j.head.digest != s.rawDigest() {
		err = fmt.Errorf("%w: it is of a file with another digest", errJournal)
	} else if t.data, err = os.OpenFile(filepath.Join(s.Dir, dataName), os.O_RDWR, 0); errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: the data is gone", errJournal)
	}
	if err == nil {
		var fi fs.FileInfo
		if fi, err = t.data.Stat(); err == nil && fi.Size() < t.lastHad() {
			err = fmt.Errorf("%w: the data has only %d bytes", errJournal, fi.Size())
		}
	}
	if err == nil && g.spec.Digest == "" {
		// Nobody would notice that the kernel could not write what a killed process left to it; now it says so.
		if e := t.sync(); e != nil {
			err = fmt.Errorf("%w: what was written is not on the disk: %w", errJournal, e)
		}
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// boot is in which run of the computer what was not synced counts, if it is this one; "": in none. Without a digest
// nobody would notice what a disk lost that was pulled out: then it is one mount, too.
func (g *getting) boot() string {
	id := bootID()
	if id == "" || g.spec.Digest != "" {
		return id
	}
	mount := mountID(g.spec.Dir)
	if mount == "" {
		return ""
	}
	return id + "/" + mount
}

// lastHad is the offset behind the last byte that is said to be there.
func (t *transfer) lastHad() int64 {
	for i := len(t.seg.written) - 1; i >= 0; i-- {
		if t.seg.written[i] > 0 {
			return t.seg.start(i) + t.seg.written[i]
		}
	}
	return 0
}

// create starts a download of nothing yet.
func (g *getting) create() (*transfer, error) {
	if err := wipe(g.spec.Dir); err != nil {
		return nil, err
	}
	data, err := os.OpenFile(filepath.Join(g.spec.Dir, dataName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	h := header{size: g.spec.SizeBytes, each: segmentSize(g.spec.SizeBytes), digest: g.spec.rawDigest(), version: g.version, boot: g.boot()}
	j, err := createJournal(filepath.Join(g.spec.Dir, journalName), h)
	if err != nil {
		data.Close()
		return nil, err
	}
	t := g.newTransfer(j, entries{})
	t.data = data
	return t, nil
}

func (g *getting) newTransfer(j *journal, e entries) *transfer {
	t := &transfer{getting: g, journal: j, seg: newSegments(j.head.size, j.head.each, e.written), begun: time.Now(),
		grew: make(chan struct{}, 1), changed: make(chan struct{}), chunk: maxRead, piece: maxSize}
	t.dirty = newDirty(e)
	if t.seg.size < 0 || g.spec.Streams == 1 && g.spec.BytesPerSecond <= 0 {
		t.parts = no // one stream for all, which asks for the rest of the file
	}
	if r := g.spec.BytesPerSecond; r > 0 {
		t.chunk = int(min(max(r/20, 4<<10), maxRead))
		t.limiter = rate.NewLimiter(rate.Limit(r), t.chunk)
		t.piece = max(r/4/int64(t.streams()), 64<<10) // what is on its way when the process dies is lost
	}
	return t
}

// streams is how many there are: with a limit, no more than it is worth.
func (t *transfer) streams() int {
	n := t.spec.Streams
	if r := t.spec.BytesPerSecond; r > 0 {
		n = int(min(int64(n), max(r>>19, 1)))
	}
	return n
}

// makeRoom asks whether the rest may be written and has the disk hold room for it.
func (t *transfer) makeRoom() error {
	lack := t.seg.size - t.seg.done
	if t.seg.size < 0 {
		t.reserved = t.seg.done
		return nil
	}
	if t.spec.Reserve != nil {
		if err := t.spec.Reserve(lack); err != nil {
			return err
		}
	}
	return reserve(t.data, t.seg.size, lack)
}

func (t *transfer) close() {
	if t.data != nil {
		t.data.Close()
	}
	t.journal.f.Close()
}

// run fetches what is lacking and gives the digest of it all.
func (t *transfer) run(ctx context.Context) (string, error) {
	ctx, stop := context.WithCancelCause(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop(nil)
	fetching, fetched := context.WithCancel(ctx)
	defer fetched()
	helpers.Go(func() { t.watch(ctx, fetching, stop) })
	helpers.Go(func() { t.syncer(ctx, stop) })
	type sum struct {
		digest string
		err    error
	}
	sums := make(chan sum, 1)
	helpers.Go(func() {
		digest, err := t.hash(ctx)
		if err != nil {
			stop(err)
		}
		sums <- sum{digest, err}
	})
	g, gctx := errgroup.WithContext(ctx)
	for range t.streams() {
		g.Go(func() error { return t.stream(gctx) })
	}
	err := g.Wait()
	fetched()
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = context.Cause(ctx)
		}
		return "", err
	}
	s := <-sums
	if s.err != nil && ctx.Err() != nil {
		s.err = context.Cause(ctx)
	}
	return s.digest, s.err
}

// signal wakes those who wait for changed. t.mu is held.
func (t *transfer) signal() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// await waits until ready, which is called with t.mu held, says so.
func (t *transfer) await(ctx context.Context, ready func() bool) error {
	for {
		t.mu.Lock()
		ok, changed := ready(), t.changed
		t.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// progress is how far it is.
func (t *transfer) progress() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Progress{Done: t.seg.done, Total: t.seg.size, Hashed: t.hashed.Load()}
}

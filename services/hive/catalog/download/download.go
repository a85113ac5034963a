// Package download brings one file from a source to a disk: in parallel ranges, resumable at any byte,
// verified before it can be seen. Its functions may be called by many goroutines and processes at once.
package download

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	op             = messages.OpModelPull
	dataName       = "data"
	journalName    = "journal"
	digestPrefix   = "sha256:"
	defaultStreams = 8
	maxStreams     = 64
	minRate        = 1024 // with less, one read takes longer than the patience
	maxReplaced    = 3    // times that the file may change at its source while it is fetched
)

// ErrDigest is in the error of a file that came whole and is another one.
var ErrDigest = errors.New("the file has the digest")

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Source gives bytes of one file: [vendor.Vendor.Fetch] for a file, or another machine that has it. Several
// goroutines call it; a call and the body it gave end soon after ctx does.
type Source func(ctx context.Context, r vendor.Range) (*vendor.Body, error)

// Limits are how long a download waits for what.
type Limits struct {
	// Stall is how long a stream waits for a byte before it asks anew. Default 30 s.
	Stall time.Duration
	// Patience is how long no stream may get a byte before the download ends. Times that the server
	// asks to wait come on top, at most an hour. Default 2 min.
	Patience time.Duration
	// A stream that failed waits a random time before the next try, at most Backoff at first, twice as
	// much each time that no byte came, up to MaxBackoff. Defaults 250 ms, 15 s.
	Backoff, MaxBackoff time.Duration
}

// Spec is what to download, to where and how.
type Spec struct {
	// Dir is this download's own folder, made if missing and removed at the end. Equal downloads have the
	// same. Without a Digest it stays, with a note of the digest for others who wait; see [Discard].
	Dir string
	// Final is the path that the verified file gets, on the same file system as Dir. If it is "", FinalFor
	// gives it.
	Final    string
	FinalFor func(digest string) string
	// SizeBytes is -1 if not known; else what has another size is refused.
	SizeBytes int64
	// Digest is "sha256:" and 64 lower-case hexadecimal digits, or "". What has another one is refused.
	Digest string
	Source Source
	// Streams is how many ranges are fetched at once; 0: 8. At most 64.
	Streams int
	// BytesPerSecond limits all streams together, to 1024 at least; 0: no limit.
	BytesPerSecond int64
	Limits
	// Reserve is asked before the first byte whether so many bytes may be written; its error ends the
	// download as it is. For a file of unknown size it is asked for 64 MiB at a time. Nil: no limit.
	Reserve func(bytes int64) error
	// Progress is called about five times a second, and once at the end; it must not block. Nil: not.
	Progress func(Progress)
	// Say is called with what a person should know, one call at a time. Nil: not.
	Say func(text string)
}

// Result is a file that was downloaded, or was there already.
type Result struct {
	Digest    string // computed; of a file that was there, the one it has by Spec
	SizeBytes int64
	Path      string
	Resumed   bool // a part was there before this Get
}

func (s Spec) withDefaults() (Spec, error) {
	if s.Dir == "" || s.Source == nil || s.Final == "" && s.FinalFor == nil {
		return s, messages.Errorf(messages.CodeInternal, op, "a download needs a folder, a source and a path for the file")
	}
	if s.Digest != "" && !digestForm.MatchString(s.Digest) {
		return s, messages.Errorf(messages.CodeBadModel, op, "%.80q is no digest", s.Digest).WithHint("sha256: and 64 lower-case hexadecimal digits")
	}
	if s.SizeBytes > maxSize {
		return s, messages.Errorf(messages.CodeBadModel, op, "the source says that the file has %d bytes", s.SizeBytes)
	}
	s.SizeBytes = max(s.SizeBytes, -1)
	if s.Streams <= 0 {
		s.Streams = defaultStreams
	}
	s.Streams = min(s.Streams, maxStreams)
	if s.BytesPerSecond > 0 {
		s.BytesPerSecond = max(s.BytesPerSecond, minRate)
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&s.Stall, 30 * time.Second}, {&s.Patience, 2 * time.Minute}, {&s.Backoff, 250 * time.Millisecond}, {&s.MaxBackoff, 15 * time.Second}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	return s, nil
}

func (s *Spec) final(digest string) string {
	if s.Final != "" {
		return s.Final
	}
	return s.FinalFor(digest)
}

// rawDigest is Digest without its form.
func (s *Spec) rawDigest() string {
	raw, _ := hex.DecodeString(strings.TrimPrefix(s.Digest, digestPrefix))
	return string(raw)
}

// Get brings the file to its final path. While another Get, in this or another process, works on the same
// folder, it waits and takes over should that one end without success. Whatever ends a Get, the bytes that
// were written are kept for the next.
//
// Errors: ctx's; the source's own when another try cannot help; [messages.CodeUnavailable] when no byte came
// for [Limits.Patience], or the file changes at its source again and again; [messages.CodeBadModel] for a
// wrong size or digest; [messages.CodeDiskFull]; Reserve's; else the disk's.
func Get(ctx context.Context, s Spec) (Result, error) {
	s, err := s.withDefaults()
	if err != nil {
		return Result{}, err
	}
	tell := newTeller(&s)
	lock, waited, err := lockDir(ctx, s.Dir, func() { tell.look(s.Dir) })
	if err != nil {
		return Result{}, err
	}
	defer lock.Close() //nolint:errcheck // the lock ends with its file
	r, err := (&getting{spec: &s, tell: tell, promised: s.SizeBytes >= 0}).get(ctx, waited)
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = ctx.Err()
	}
	if err == nil {
		tell.progress(Progress{Done: r.SizeBytes, Total: r.SizeBytes, Hashed: r.SizeBytes}, true)
	}
	return r, err
}

// getting is a Get that holds the lock.
type getting struct {
	spec     *Spec
	tell     *teller
	promised bool   // the spec knew the size
	version  string // learnt with the size
	replaced int    // times that the file changed at the source
	sized    bool   // the source told the size
	differs  bool   // the source's versions do, with a digest
	mixed    bool   // bytes came of which nothing said that they are of the same file
	resumed  bool
	redone   bool // after a wrong digest
}

func (g *getting) get(ctx context.Context, waited bool) (Result, error) {
	if r, ok := g.there(waited); ok {
		g.clear()
		return r, nil
	}
	if err := g.oneDisk(); err != nil {
		return Result{}, err
	}
	for first := true; ; first = false {
		digest, size, err := g.attempt(ctx, first)
		if err == nil {
			return g.publish(digest, size)
		}
		if err = g.again(err); err != nil {
			return Result{}, g.ofDisk(err)
		}
	}
}

// attempt fetches and verifies the file.
func (g *getting) attempt(ctx context.Context, first bool) (digest string, size int64, err error) {
	t, err := g.open()
	if err != nil {
		return "", 0, err
	}
	defer t.close()
	had := t.seg.done
	if first {
		g.resumed = had > 0
	}
	digest, err = t.run(ctx)
	t.flush()
	if err == nil {
		err = g.verify(digest, had > 0 || g.mixed)
	}
	if err == nil {
		if err = t.data.Sync(); err != nil {
			t.unsynced.Store(true)
		}
	}
	if err != nil {
		if serr := t.settle(); serr != nil {
			err = errors.Join(err, serr)
		}
	}
	return digest, t.seg.size, err
}

// there finds the file of an earlier Get: one that this Get waited for, or that ended in the middle of publishing,
// or whose digest is known.
func (g *getting) there(waited bool) (Result, bool) {
	s := g.spec
	digest := s.Digest
	if digest == "" && !exists(s.Dir, dataName) && (waited || exists(s.Dir, journalName)) {
		digest = readDone(s.Dir)
	}
	if digest == "" {
		return Result{}, false
	}
	path := s.final(digest)
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() || s.SizeBytes >= 0 && fi.Size() != s.SizeBytes {
		return Result{}, false
	}
	return Result{Digest: digest, SizeBytes: fi.Size(), Path: path}, true
}

// again says with nil that the download can go on after err.
func (g *getting) again(err error) error {
	if e, ok := errors.AsType[*sizeLearnt](err); ok {
		g.spec.SizeBytes, g.version = e.size, e.version
		return wipe(g.spec.Dir)
	}
	if e, ok := errors.AsType[*replacedError](err); ok {
		g.replaced++
		g.version = ""
		if g.replaced > maxReplaced {
			return messages.Errorf(messages.CodeUnavailable, op, "the file changes at the source again and again: %s", e.what).WithHint("try again later")
		}
		g.tell.say("the file was replaced at the source (%s): starting over", e.what)
		if !g.promised {
			g.spec.SizeBytes = -1
		}
		return wipe(g.spec.Dir)
	}
	if e, ok := errors.AsType[*wrongDigest](err); ok {
		if werr := wipe(g.spec.Dir); werr != nil {
			return werr
		}
		if e.resumed && !g.redone {
			g.redone = true
			g.tell.say("what is here of the file is damaged: starting over")
			return nil
		}
		return messages.Errorf(messages.CodeBadModel, op, "%w %s, not %s", ErrDigest, e.got, e.want).
			WithHint("the source is wrong or the network damages what it carries: it was deleted; try again or take another source")
	}
	return err
}

// ofDisk words a failure of the disk.
func (g *getting) ofDisk(err error) error {
	if !isFull(err) || messages.CodeOf(err) != messages.CodeInternal {
		return err
	}
	kept := ""
	if p, perr := Peek(g.spec.Dir); perr == nil {
		kept = "; " + keptText(p.Done, p.Total)
	}
	return messages.Errorf(messages.CodeDiskFull, op, "the disk is full: %w", err).WithHint("free some room in %s and pull again%s", filepath.Dir(g.spec.Dir), kept)
}

func keptText(done, total int64) string {
	const mib = 1 << 20
	if total < 0 {
		return fmt.Sprintf("%.1f MiB are kept", float64(done)/mib)
	}
	return fmt.Sprintf("%.1f of %.1f MiB are kept", float64(done)/mib, float64(total)/mib)
}

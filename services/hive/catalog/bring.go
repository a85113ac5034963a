package catalog

import (
	"context"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// Wanted is a file that is to be fetched.
type Wanted struct {
	Digest    string
	SizeBytes int64
	Say       func(text string)
}

// Around wraps the way to a file: others on the local network may have it. done is called when the file is
// there, or will not be, for the download's error; again says that another try may do better, since others gave wrong bytes.
type Around func(ctx context.Context, f Wanted, outside download.Source) (from download.Source, done func(err error) (again bool))

// bringing is one pull's way to its files.
type bringing struct {
	c     *Catalog
	v     vendor.Vendor
	a     *vendor.Artifact
	p     Pull
	w     Watcher
	claim *claim
	name  string

	saying      sync.Mutex // several goroutines of a download have something to say
	done, total int64      // bytes, of all files; total 0 while unknown
}

func (b *bringing) say(text string) {
	b.saying.Lock()
	defer b.saying.Unlock()
	b.w.say("%s", text)
}

// weigh sums up what is to be fetched, and says whether there is room for it.
func (b *bringing) weigh() error {
	var lacking []*vendor.File
	for i := range b.a.Files {
		f := &b.a.Files[i]
		if f.Kind == vendor.Projector || f.InPlace != "" && !b.p.Copy {
			continue
		}
		if f.SizeBytes < 0 {
			b.total = 0
			return nil // the download asks
		}
		b.total += f.SizeBytes
		if !b.c.has(f) {
			lacking = append(lacking, f)
		}
	}
	return b.c.room(b.v, lacking)
}

// has says whether the file of a digest is here.
func (c *Catalog) has(f *vendor.File) bool {
	path, _ := c.Locate(f.Digest)
	size, err := fileSize(path)
	return path != "" && err == nil && (f.SizeBytes < 0 || size == f.SizeBytes)
}

// all makes every file of the artifact present, one after another: each is fetched in parallel ranges.
func (b *bringing) all(ctx context.Context) ([]file, error) {
	for i := range b.a.Files {
		if f := &b.a.Files[i]; f.Kind != vendor.Projector && (f.InPlace == "" || b.p.Copy) {
			b.supersede(f) // before there is said to be no room
		}
	}
	if err := b.weigh(); err != nil {
		return nil, err
	}
	var out []file
	for i := range b.a.Files {
		f := &b.a.Files[i]
		if f.Kind == vendor.Projector {
			continue
		}
		one, err := b.one(ctx, f)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	b.forget()
	return out, nil
}

// one makes one file present: it is in place, here already under its digest, or fetched.
func (b *bringing) one(ctx context.Context, f *vendor.File) (file, error) {
	out := file{Name: f.Name, Kind: f.Kind, SizeBytes: f.SizeBytes, Digest: f.Digest}
	if f.InPlace != "" && !b.p.Copy {
		return b.inPlace(ctx, f)
	}
	if f.Digest != "" {
		path, err := b.c.blob(f.Digest)
		if err != nil {
			return out, err
		}
		if err := b.claim.add(ctx, f.Digest); err != nil {
			return out, err
		}
		if fi, err := fileInfo(path); err == nil && (f.SizeBytes < 0 || fi.Size() == f.SizeBytes) && b.sound(ctx, f, path, fi) {
			b.done += fi.Size()
			out.SizeBytes = fi.Size()
			return out, nil
		}
		if other, ok := b.c.inPlace(f.Digest); ok && !b.p.Copy && b.really(ctx, &other) {
			b.say(f.Name + " is on this machine already: " + other.InPlace)
			out.InPlace, out.SizeBytes, out.ModTime = other.InPlace, other.SizeBytes, other.ModTime
			b.done += out.SizeBytes
			return out, nil
		}
	}
	res, err := b.fetch(ctx, f)
	if err != nil {
		return out, err
	}
	b.done += res.SizeBytes
	out.SizeBytes, out.Digest = res.SizeBytes, res.Digest
	return out, nil
}

// sound says whether a blob is what it was when it was verified, as far as its header shows: it is read whole
// only if that is damaged, and removed if all of it is.
func (b *bringing) sound(ctx context.Context, f *vendor.File, path string, fi fs.FileInfo) bool {
	if f.Kind != vendor.Model {
		return true
	}
	if _, err := openHeader(path); err == nil {
		return true
	}
	if digest, err := digestOf(ctx, path, nil); err != nil || digest == f.Digest {
		return true // its source has no better one
	}
	b.say(f.Name + " is damaged on this disk: it is fetched anew")
	gone, err := b.c.discard(ctx, path, fi)
	return err != nil || !gone
}

// really reads a file of another program, whose word alone its digest is, and notes of which moment that is.
func (b *bringing) really(ctx context.Context, f *file) bool {
	fi, err := fileInfo(f.InPlace)
	if err != nil {
		return false
	}
	f.SizeBytes, f.ModTime = fi.Size(), fi.ModTime().UTC()
	read := b.done
	digest, err := digestOf(ctx, f.InPlace, func(n int) {
		read += int64(n)
		b.w.step(Step{Text: "read " + f.InPlace, Done: read, Total: b.total})
	})
	return err == nil && digest == f.Digest
}

// inPlace takes a file where it lies. Its header is read before there is a trace of it.
func (b *bringing) inPlace(ctx context.Context, f *vendor.File) (file, error) {
	out := file{Name: f.Name, Kind: f.Kind, Digest: f.Digest, InPlace: f.InPlace}
	info, err := fileInfo(f.InPlace)
	if err != nil {
		return out, err
	}
	out.SizeBytes, out.ModTime = info.Size(), info.ModTime().UTC()
	if f.Kind != vendor.Model {
		return out, nil
	}
	if _, err := openHeader(f.InPlace); err != nil {
		return out, err
	}
	if out.Digest == "" {
		out.Digest = b.c.hashedBefore(&out)
	}
	if out.Digest == "" && b.p.Hash {
		read := int64(0)
		out.Digest, err = digestOf(ctx, f.InPlace, func(n int) {
			read += int64(n)
			b.w.step(Step{Text: "read " + b.name, Done: read, Total: info.Size()})
		})
	}
	return out, err
}

// hashedBefore is the digest of a file in place that has not changed since it was hashed.
func (c *Catalog) hashedBefore(f *file) string {
	for _, m := range c.manifests() {
		for _, old := range m.Files {
			if old.Digest != "" && old.InPlace == f.InPlace && old.SizeBytes == f.SizeBytes && !old.ModTime.IsZero() && old.ModTime.Equal(f.ModTime) {
				return old.Digest
			}
		}
	}
	return ""
}

// fetch downloads a file, or goes on where an earlier fetch of it ended. What is wrong because other hives' bytes
// were is fetched once more.
func (b *bringing) fetch(ctx context.Context, f *vendor.File) (download.Result, error) {
	res, again, err := b.fetchOnce(ctx, f)
	if err != nil && again && ctx.Err() == nil {
		res, _, err = b.fetchOnce(ctx, f)
	}
	return res, err
}

func (b *bringing) fetchOnce(ctx context.Context, f *vendor.File) (res download.Result, again bool, err error) {
	source := func(ctx context.Context, r vendor.Range) (*vendor.Body, error) { return b.v.Fetch(ctx, f, r) }
	if f.InPlace != "" {
		source = func(_ context.Context, r vendor.Range) (*vendor.Body, error) { return openLocal(f.InPlace, r) }
	}
	streams := 0
	if _, local := b.v.(vendor.Local); local {
		streams = 1
	} else if f.Digest != "" && f.SizeBytes >= 0 && b.c.cfg.Around != nil {
		from, done := b.c.cfg.Around(ctx, Wanted{Digest: f.Digest, SizeBytes: f.SizeBytes, Say: b.say}, source)
		defer func() { again = done(err) }()
		source = from
	}
	res, err = b.download(ctx, f, source, streams)
	return res, false, err
}

// download gets a file from source.
func (b *bringing) download(ctx context.Context, f *vendor.File, source download.Source, streams int) (download.Result, error) {
	dir := b.c.partial(b.v, f)
	if err := notLink(dir); err != nil {
		return download.Result{}, err
	}
	release := func() {}
	defer func() { release() }()
	final := ""
	if f.Digest != "" {
		final, _ = b.c.blob(f.Digest) // checked before
	}
	text := "fetch " + b.name
	var claimed error
	res, err := download.Get(ctx, download.Spec{
		Dir: dir, Final: final, SizeBytes: f.SizeBytes, Digest: f.Digest, Source: source, Streams: streams,
		BytesPerSecond: b.p.BytesPerSecond,
		FinalFor: func(digest string) string {
			claimed = b.claim.add(ctx, digest)
			path, _ := b.c.blob(digest)
			return path
		},
		Reserve: func(lack int64) error {
			free, err := b.c.reserve(dir, lack)
			if err == nil {
				release = free
			}
			return err
		},
		Progress: func(p download.Progress) {
			b.w.step(Step{Text: text, Done: b.done + p.Done, Total: max(b.total, p.Total, 0)})
		},
		Say: func(s string) { b.say(f.Name + ": " + s) },
	})
	if err == nil {
		err = claimed
	}
	return res, err
}

// notLink refuses a folder that leads elsewhere.
func notLink(dir string) error {
	if fi, err := os.Lstat(dir); err == nil && !fi.IsDir() {
		return messages.Errorf(messages.CodeInternal, opResolve, "%s is no folder of the catalog", dir).WithHint("remove it: it leads out of the hive's data")
	}
	return nil
}

// openLocal reads a file of this machine as a source.
func openLocal(path string, r vendor.Range) (*vendor.Body, error) {
	if _, err := fileSize(path); err != nil { // before opening: a named pipe would wait for its writer
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, badModel(path, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, badModel(path, err)
	}
	if r.From > info.Size() {
		f.Close()
		return nil, messages.Errorf(messages.CodeBadModel, opCheck, "%s has %d bytes only", path, info.Size())
	}
	return &vendor.Body{ReadCloser: struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, r.From, info.Size()-r.From), f}, From: r.From, SizeBytes: info.Size(), Version: info.ModTime().String()}, nil
}

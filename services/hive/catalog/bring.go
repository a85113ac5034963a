package catalog

import (
	"context"
	"io"
	"os"

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
// there, or will not be.
type Around func(ctx context.Context, f Wanted, outside download.Source) (from download.Source, done func())

// bringing is one pull's way to its files.
type bringing struct {
	c     *Catalog
	v     vendor.Vendor
	a     *vendor.Artifact
	p     Pull
	w     Watcher
	claim *claim
	name  string

	done, total int64 // bytes, of all files; total 0 while unknown
}

// all makes every file of the artifact present, one after another: each is fetched in parallel ranges.
func (b *bringing) all(ctx context.Context) ([]file, error) {
	for _, f := range b.a.Files {
		if f.Kind == vendor.Projector || f.InPlace != "" && !b.p.Copy {
			continue
		}
		if f.SizeBytes < 0 {
			b.total = 0
			break
		}
		b.total += f.SizeBytes
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
		if size, err := fileSize(path); err == nil && (f.SizeBytes < 0 || size == f.SizeBytes) {
			b.done += size
			out.SizeBytes = size
			return out, nil
		}
		if other, ok := b.c.inPlace(f.Digest); ok && !b.p.Copy && b.really(ctx, &other) {
			b.w.say("%s is on this machine already: %s", f.Name, other.InPlace)
			out.InPlace, out.SizeBytes = other.InPlace, other.SizeBytes
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

// really reads a file of another program, whose word alone its digest is.
func (b *bringing) really(ctx context.Context, f *file) bool {
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
	size, err := fileSize(f.InPlace)
	if err != nil {
		return out, err
	}
	if out.SizeBytes = size; f.Kind != vendor.Model {
		return out, nil
	}
	if _, err := openHeader(f.InPlace); err != nil {
		return out, err
	}
	info, err := os.Stat(f.InPlace)
	if err != nil {
		return out, badModel(f.InPlace, err)
	}
	out.ModTime = info.ModTime().UTC()
	if out.Digest == "" {
		out.Digest = b.c.hashedBefore(&out)
	}
	if out.Digest == "" && b.p.Hash {
		read := int64(0)
		out.Digest, err = digestOf(ctx, f.InPlace, func(n int) {
			read += int64(n)
			b.w.step(Step{Text: "read " + b.name, Done: read, Total: size})
		})
	}
	return out, err
}

// hashedBefore is the digest of a file in place that has not changed since it was hashed.
func (c *Catalog) hashedBefore(f *file) string {
	for _, m := range c.manifests() {
		for _, old := range m.Files {
			if old.InPlace == f.InPlace && old.SizeBytes == f.SizeBytes && !old.ModTime.IsZero() && old.ModTime.Equal(f.ModTime) {
				return old.Digest
			}
		}
	}
	return ""
}

// fetch downloads a file, or goes on where an earlier fetch of it ended.
func (b *bringing) fetch(ctx context.Context, f *vendor.File) (download.Result, error) {
	source := func(ctx context.Context, r vendor.Range) (*vendor.Body, error) { return b.v.Fetch(ctx, f, r) }
	if f.InPlace != "" {
		source = func(_ context.Context, r vendor.Range) (*vendor.Body, error) { return openLocal(f.InPlace, r) }
	}
	streams := 0
	if _, local := b.v.(vendor.Local); local {
		streams = 1
	} else if f.Digest != "" && f.SizeBytes >= 0 && b.c.cfg.Around != nil {
		from, done := b.c.cfg.Around(ctx, Wanted{Digest: f.Digest, SizeBytes: f.SizeBytes, Say: func(s string) { b.w.say("%s", s) }}, source)
		defer done()
		source = from
	}
	dir := b.c.partial(b.v, f)
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
		Reserve: func(size int64) (err error) {
			release()
			release = func() {}
			free, err := b.c.reserve(dir, size)
			if err == nil {
				release = free
			}
			return err
		},
		Progress: func(p download.Progress) {
			b.w.step(Step{Text: text, Done: b.done + p.Done, Total: max(b.total, p.Total, 0)})
		},
		Say: func(s string) { b.w.say("%s: %s", f.Name, s) },
	})
	if err == nil && f.Digest == "" {
		_, _ = download.Discard(dir) // it says the digest to others who wait; they ask again
	}
	if err == nil {
		err = claimed
	}
	return res, err
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

package catalog

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const builtinPrefix = "builtin:"

// builtin makes the bee models, which need no download.
type builtin struct{}

func (builtin) Name() string { return "builtin" }

func (builtin) Supports(ref string) bool { return strings.HasPrefix(ref, builtinPrefix) }

func (v builtin) Forms() []string { return v.Offers() }

func (builtin) Local() {}

func (builtin) Offers() []string {
	names := bees.Names()
	for i, n := range names {
		names[i] = builtinPrefix + n
	}
	return names
}

// beeDigest remembers what is costly to compute: the model is made whole for it.
type beeDigest struct {
	once sync.Once
	sum  string
	size int64
	err  error
}

var beeDigests sync.Map // name: *beeDigest

func (v builtin) Resolve(_ context.Context, ref string) (*vendor.Artifact, error) {
	name := strings.TrimPrefix(ref, builtinPrefix)
	if !slices.Contains(bees.Names(), name) {
		return nil, messages.Errorf(messages.CodeModelUnknown, opResolve, "there is no builtin model %.80q", name).
			WithHint("there are %s", strings.Join(v.Offers(), ", "))
	}
	known, _ := beeDigests.LoadOrStore(name, &beeDigest{})
	d := known.(*beeDigest)
	d.once.Do(func() { d.sum, d.size, d.err = bees.Digest(name) })
	if d.err != nil {
		return nil, d.err
	}
	return &vendor.Artifact{Name: ref, Ref: ref, Files: []vendor.File{
		{Name: name + extension, Kind: vendor.Model, SizeBytes: d.size, Digest: digestPrefix + d.sum, Source: name}}}, nil
}

// Fetch makes the model and gives it from r.From on.
func (builtin) Fetch(_ context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	out, in := io.Pipe()
	made := make(chan struct{})
	go func() {
		defer close(made)
		_ = in.CloseWithError(bees.Write(in, f.Source)) // a reader that leaves is no error of ours
	}()
	b := &vendor.Body{ReadCloser: pipe{out, made}, From: r.From, SizeBytes: f.SizeBytes}
	if _, err := io.CopyN(io.Discard, out, r.From); err != nil {
		_ = b.Close()
		return nil, messages.Errorf(messages.CodeInternal, opResolve, "%s has no byte %d: %w", f.Name, r.From, err)
	}
	return b, nil
}

// pipe waits at its end for who writes into it.
type pipe struct {
	*io.PipeReader
	ended chan struct{}
}

func (p pipe) Close() error {
	err := p.PipeReader.Close()
	<-p.ended
	return err
}

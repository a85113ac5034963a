package catalog

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
)

const builtinPrefix = "builtin:"

// builtin makes the bee models, which need no download.
type builtin struct{}

func (builtin) Name() string { return "builtin" }

func (builtin) Supports(ref string) bool { return strings.HasPrefix(ref, builtinPrefix) }

func (v builtin) Forms() []string { return v.Offers() }

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

func (v builtin) Resolve(_ context.Context, ref string) (Artifact, error) {
	name := strings.TrimPrefix(ref, builtinPrefix)
	if !slices.Contains(bees.Names(), name) {
		return Artifact{}, messages.Errorf(messages.CodeModelUnknown, opResolve, "there is no builtin model %q", name).
			WithHint("there are %s", strings.Join(v.Offers(), ", "))
	}
	known, _ := beeDigests.LoadOrStore(name, &beeDigest{})
	d := known.(*beeDigest)
	d.once.Do(func() { d.sum, d.size, d.err = bees.Digest(name) })
	if d.err != nil {
		return Artifact{}, d.err
	}
	return Artifact{ID: ref, SizeBytes: d.size, Digest: "sha256:" + d.sum}, nil
}

func (builtin) Fetch(ctx context.Context, a Artifact, path string, step func(Step)) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	const every = 8 << 20 // bytes between two steps
	var done, told int64
	note := func(n int) {
		if done += int64(n); done-told >= every {
			told = done
			step(Step{"write " + a.ID, done, a.SizeBytes})
		}
	}
	err = bees.Write(writer{ctx: ctx, w: f, note: note}, strings.TrimPrefix(a.ID, builtinPrefix))
	return errors.Join(err, f.Sync(), f.Close())
}

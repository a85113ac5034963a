package catalog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
)

const (
	// keepPartial is how long an interrupted download is kept for going on.
	keepPartial = 7 * 24 * time.Hour
	// keepFolder is how old a folder without a model must be before it counts as left behind.
	keepFolder = time.Hour
)

// Remove forgets the model of that name or reference and removes those of its files that no other model
// needs and no pull claims. Files that are used in place stay. [messages.CodeModelUnknown] if there is none.
func (c *Catalog) Remove(ctx context.Context, name string) (messages.RemoveReply, error) {
	var out messages.RemoveReply
	m, ok := c.lookup(name)
	if !ok {
		return out, messages.Errorf(messages.CodeModelUnknown, messages.OpModelRm, "no model %q on this machine", name).WithHint("rbee model list")
	}
	dir := filepath.Join(c.dir, folder(m.ID))
	held, err := c.enter(ctx, dir)
	if err != nil {
		return out, err
	}
	err = os.Remove(filepath.Join(dir, manifestName)) // first: from here on there is no model
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.RemoveAll(dir)
	}
	_ = held.Close()
	if err != nil {
		return out, err
	}
	out.Removed = append(out.Removed, messages.Removed{Kind: "model", Name: m.ID})
	var own []string
	for _, f := range m.Files {
		if f.InPlace == "" {
			own = append(own, f.Digest)
		}
		if strings.HasPrefix(f.InPlace, dir+string(filepath.Separator)) { // of schema 1
			out.FreedBytes += f.SizeBytes
		}
	}
	return out, c.sweepBlobs(ctx, false, own, &out)
}

// GC removes files that no model needs and no pull claims, downloads that stopped more than a week ago (with
// partial: any that is not under way), and folders that a killed process left.
func (c *Catalog) GC(ctx context.Context, dryRun, partial bool) (messages.RemoveReply, error) {
	var out messages.RemoveReply
	if err := c.sweepBlobs(ctx, dryRun, nil, &out); err != nil {
		return out, err
	}
	if err := c.sweepPartials(dryRun, partial, &out); err != nil {
		return out, err
	}
	return out, c.sweepFolders(dryRun, &out)
}

// sweepBlobs removes blobs that nothing needs: those of the digests in only, or all if it is nil.
func (c *Catalog) sweepBlobs(ctx context.Context, dryRun bool, only []string, out *messages.RemoveReply) error {
	if only != nil && len(only) == 0 {
		return nil
	}
	held, err := c.changing(ctx)
	if err != nil {
		return err
	}
	defer held.Close()
	needed := c.claimed()
	for _, m := range c.manifests() {
		for _, f := range m.Files {
			if f.InPlace == "" {
				needed[f.Digest] = true
			}
		}
	}
	candidate := map[string]bool{}
	for _, d := range only {
		candidate[d] = true
	}
	blobs, err := os.ReadDir(filepath.Join(c.dir, blobsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, b := range blobs {
		digest := strings.Replace(b.Name(), "sha256-", digestPrefix, 1)
		if needed[digest] || only != nil && !candidate[digest] {
			continue
		}
		if err := sweep(filepath.Join(c.dir, blobsDir, b.Name()), "file", short(digest), dryRun, out); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes one thing, and notes it.
func sweep(path, kind, name string, dryRun bool, out *messages.RemoveReply) error {
	size := onDisk(path)
	if !dryRun {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	out.Removed = append(out.Removed, messages.Removed{Kind: kind, Name: name, SizeBytes: size})
	out.FreedBytes += size
	return nil
}

// onDisk is the size of a file, or of the files in a folder.
func onDisk(path string) (sum int64) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if fi, err := d.Info(); err == nil {
				sum += fi.Size()
			}
		}
		return nil
	})
	return sum
}

func (c *Catalog) sweepPartials(dryRun, all bool, out *messages.RemoveReply) error {
	dirs, _ := os.ReadDir(filepath.Join(c.dir, partialDir)) // none yet
	for _, d := range dirs {
		dir := filepath.Join(c.dir, partialDir, d.Name())
		fi, err := os.Stat(filepath.Join(dir, partialData))
		if err != nil {
			fi, err = d.Info()
		}
		if err != nil || !all && time.Since(fi.ModTime()) < keepPartial {
			continue
		}
		one, size := messages.Removed{Kind: "partial download", Name: d.Name()[:min(len(d.Name()), 19)]}, onDisk(dir)
		gone := true
		if !dryRun {
			if gone, err = download.Discard(dir); err != nil {
				return err
			}
		}
		if one.SizeBytes = size; gone {
			out.Removed = append(out.Removed, one)
			out.FreedBytes += size
		}
	}
	return nil
}

func (c *Catalog) sweepFolders(dryRun bool, out *messages.RemoveReply) error {
	dirs, _ := os.ReadDir(c.dir)
	for _, d := range dirs {
		dir := filepath.Join(c.dir, d.Name())
		if !d.IsDir() || d.Name() == blobsDir || d.Name() == partialDir || d.Name() == claimsDir {
			continue
		}
		fi, err := d.Info()
		if err != nil || time.Since(fi.ModTime()) < keepFolder {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, manifestName)); !errors.Is(err, fs.ErrNotExist) {
			continue // a manifest that cannot be read may be of a newer version
		}
		l := flock.New(filepath.Join(dir, ".lock"))
		free, err := l.TryLock()
		if err == nil && free {
			err = sweep(dir, "folder", d.Name(), dryRun, out)
		}
		_ = l.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

package catalog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
)

const (
	// keepPartial is how long an interrupted download is kept for going on.
	keepPartial = 7 * 24 * time.Hour
	// keepNote is how long the folder of a finished one is kept, which tells others who waited its digest.
	keepNote = time.Hour
)

// Remove forgets the model of that name or reference and removes those of its files that no other model
// needs and no pull claims. Files that are used in place stay. [messages.CodeModelUnknown] if there is none.
func (c *Catalog) Remove(ctx context.Context, name string) (messages.RemoveReply, error) {
	var out messages.RemoveReply
	leave, err := c.changing(ctx)
	if err != nil {
		return out, err
	}
	defer leave()
	m, ok := c.lookup(name)
	if !ok {
		return out, messages.Errorf(messages.CodeModelUnknown, messages.OpModelRm, "no model %q on this machine", name).WithHint("rbee model list")
	}
	dir := filepath.Join(c.dir, folder(m.ID))
	if err := os.Remove(filepath.Join(dir, manifestName)); err != nil { // first: from here on there is no model
		return out, err
	}
	out.Removed = append(out.Removed, messages.Removed{Kind: "model", Name: m.ID})
	out.FreedBytes = onDisk(filepath.Join(dir, ofSchema1))
	if err := os.RemoveAll(dir); err != nil {
		return out, err
	}
	its := map[string]bool{} // also a blob of a file in place: what was copied before may be needed by nobody else
	for _, f := range m.Files {
		its[f.Digest] = true
	}
	return out, c.sweepBlobs(false, func(digest string) bool { return its[digest] }, &out)
}

// GC removes files that no model needs and no pull claims, downloads that stopped more than a week ago (with
// partial: any that is not under way), and folders that a killed process left.
func (c *Catalog) GC(ctx context.Context, dryRun, partial bool) (messages.RemoveReply, error) {
	var out messages.RemoveReply
	if err := c.sweepPartials(dryRun, partial, &out); err != nil {
		return out, err
	}
	if !dryRun {
		c.sweepNotes()
	}
	leave, err := c.changing(ctx)
	if err != nil {
		return out, err
	}
	defer leave()
	if err := c.sweepBlobs(dryRun, func(string) bool { return true }, &out); err != nil {
		return out, err
	}
	return out, c.sweepFolders(dryRun, &out)
}

// sweepBlobs removes blobs that nothing needs, those that may name. The caller holds the lock of
// [Catalog.changing].
func (c *Catalog) sweepBlobs(dryRun bool, may func(digest string) bool, out *messages.RemoveReply) error {
	claimed, err := c.claimed() // before what is needed: a claim ends when its model is registered
	if err != nil {
		return err
	}
	needed, err := c.needed()
	if err != nil {
		return err
	}
	blobs, err := os.ReadDir(filepath.Join(c.dir, blobsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, b := range blobs {
		digest, ok := blobDigest(b.Name()) // what has another name is not ours
		if !ok || needed[digest] || claimed[digest] || !may(digest) {
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
		if !d.IsDir() || !partialName.MatchString(d.Name()) {
			continue
		}
		dir, keep := filepath.Join(c.dir, partialDir, d.Name()), keepPartial
		if all {
			keep = 0
		}
		fi, err := os.Stat(filepath.Join(dir, partialData))
		if err != nil { // no more than a note for who waited
			fi, err = d.Info()
			keep = min(keep, keepNote)
		}
		if err != nil || time.Since(fi.ModTime()) < keep {
			continue
		}
		one, size := messages.Removed{Kind: "partial download", Name: short(d.Name())}, onDisk(dir)
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

// sweepFolders removes folders without a model that hold nothing but what the catalog makes. The caller holds
// the lock of [Catalog.changing], so nobody is about to register one.
func (c *Catalog) sweepFolders(dryRun bool, out *messages.RemoveReply) error {
	dirs, _ := os.ReadDir(c.dir)
	for _, d := range dirs {
		dir := filepath.Join(c.dir, d.Name())
		if !d.IsDir() || d.Name() == blobsDir || d.Name() == partialDir || d.Name() == claimsDir || !leftBehind(dir) {
			continue
		}
		if err := sweep(dir, "folder", d.Name(), dryRun, out); err != nil {
			return err
		}
	}
	return nil
}

// leftBehind says whether a folder has no manifest, also none that cannot be read, and nothing of others.
func leftBehind(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == manifestName || !madeHere(e) })
}

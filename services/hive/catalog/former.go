package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// formerName is what [Catalog.former] calls files.
var formerName = regexp.MustCompile(`^of-[0-9a-f]{32}$`)

// former is the note of where a reference's file is being fetched to. A file of known digest has another folder after
// it was replaced at its source: by the note the older one is found.
func (c *Catalog) former(ref string, f *vendor.File) string {
	sum := sha256.Sum256([]byte(ref + "\n" + f.Name))
	return filepath.Join(c.dir, partialDir, "of-"+hex.EncodeToString(sum[:16]))
}

// supersede drops what is here of a file that was replaced at its source before it was whole, and says so. That a note
// cannot be read or written costs no more than that.
func (b *bringing) supersede(f *vendor.File) {
	note, dir := b.c.former(b.p.Ref, f), b.c.partial(b.v, f)
	key := noted(note)
	if old := filepath.Join(b.c.dir, partialDir, key); key != "" && key != filepath.Base(dir) && notLink(old) == nil && !b.c.notedElsewhere(key, note) {
		at, err := download.Peek(old)
		if gone, e := download.Discard(old); gone && e == nil && err == nil && at.Done > 0 {
			b.say(fmt.Sprintf("%s was replaced at its source: the %s that were here of the older one are dropped", f.Name, humanize.IBytes(uint64(at.Done))))
		}
	}
	if os.MkdirAll(filepath.Dir(note), 0o700) == nil {
		_ = os.Remove(note) // it may be a link
		_ = os.WriteFile(note, []byte(filepath.Base(dir)), 0o600)
	}
}

// noted is the folder that a note names, or "".
func noted(note string) string {
	if fi, err := os.Lstat(note); err != nil || !fi.Mode().IsRegular() || fi.Size() > 1<<10 {
		return ""
	}
	key, err := os.ReadFile(note)
	if err != nil || !partialName.Match(key) {
		return ""
	}
	return string(key)
}

// notedElsewhere says whether another reference stood for the same file when it was fetched: it may still.
func (c *Catalog) notedElsewhere(key, note string) bool {
	entries, _ := os.ReadDir(filepath.Dir(note))
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return formerName.MatchString(e.Name()) && e.Name() != filepath.Base(note) && noted(filepath.Join(filepath.Dir(note), e.Name())) == key
	})
}

// forget removes the notes of an artifact that is here.
func (b *bringing) forget() {
	for i := range b.a.Files {
		_ = os.Remove(b.c.former(b.p.Ref, &b.a.Files[i]))
	}
}

// sweepNotes removes notes of downloads that are not there any more.
func (c *Catalog) sweepNotes() {
	entries, _ := os.ReadDir(filepath.Join(c.dir, partialDir)) // none yet
	for _, e := range entries {
		note := filepath.Join(c.dir, partialDir, e.Name())
		if !formerName.MatchString(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		key := noted(note)
		if _, err := os.Lstat(filepath.Join(c.dir, partialDir, key)); key == "" || os.IsNotExist(err) {
			_ = os.Remove(note)
		}
	}
}

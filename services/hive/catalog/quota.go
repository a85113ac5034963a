package catalog

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// ledger is the downloads of this process that have room, by the names of their folders.
type ledger struct {
	mu    sync.Mutex
	under map[string]*reservation
}

// reservation is how many bytes a download takes when it is whole.
type reservation struct{ bytes int64 }

// partialData is the file in a download's folder that has the bytes.
const partialData = "data"

// reserve counts lack more bytes for the download at dir against the quota, until release is called or the
// next reserve for it. Only who holds the download calls it; release may come late, after the next holder's.
func (c *Catalog) reserve(dir string, lack int64) (release func(), err error) {
	if c.cfg.QuotaBytes <= 0 {
		return func() {}, nil
	}
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	key := filepath.Base(dir)
	r := &reservation{lack}
	if had, err := download.Peek(dir); err == nil {
		r.bytes += had.Done
	}
	if err := c.within(c.taken(key), r.bytes, lack); err != nil {
		return nil, err
	}
	c.space.under[key] = r
	return func() {
		c.space.mu.Lock()
		defer c.space.mu.Unlock()
		if c.space.under[key] == r {
			delete(c.space.under, key)
		}
	}, nil
}

// within says whether size bytes beside those that are taken are within the quota.
func (c *Catalog) within(taken, size, lack int64) error {
	if q := c.cfg.QuotaBytes; q > 0 && size > q-taken {
		return messages.Errorf(messages.CodeDiskFull, messages.OpModelPull, "%d MiB more would be over the quota of %d MiB: %d MiB are used",
			lack>>20, q>>20, (taken+size-lack)>>20).WithHint("rbee model rm, rbee model gc, or a larger --models-quota")
	}
	return nil
}

// taken is the bytes of all files of ours and of all downloads but those named: the ones under way in this
// process as they will be. A file that gets its name meanwhile may count twice, but never not at all.
// c.space.mu is held.
func (c *Catalog) taken(but ...string) (sum int64) {
	not := map[string]bool{}
	for _, name := range but {
		not[name] = true
	}
	partials, _ := os.ReadDir(filepath.Join(c.dir, partialDir)) // none yet
	for _, p := range partials {
		fi, err := os.Stat(filepath.Join(c.dir, partialDir, p.Name(), partialData))
		if err != nil || not[p.Name()] {
			continue
		}
		if r := c.space.under[p.Name()]; r != nil {
			sum += r.bytes
		} else {
			sum += fi.Size()
		}
	}
	blobs, _ := os.ReadDir(filepath.Join(c.dir, blobsDir))
	for _, b := range blobs {
		if fi, err := b.Info(); err == nil {
			sum += fi.Size()
		}
	}
	for _, m := range c.manifests() {
		for i := range m.Files {
			if f := &m.Files[i]; f.InPlace != "" && c.own(&m, f) {
				sum += f.SizeBytes
			}
		}
	}
	return sum
}

// room says before the first byte whether all files that are to be fetched have room together, in the quota
// and on the disk.
func (c *Catalog) room(v vendor.Vendor, files []*vendor.File) error {
	if len(files) == 0 {
		return nil // all is here, also if that is over the quota by now
	}
	var size, lack int64
	var but []string
	for _, f := range files {
		dir := c.partial(v, f)
		but = append(but, filepath.Base(dir))
		size += f.SizeBytes
		lack += f.SizeBytes
		if fi, err := os.Stat(filepath.Join(dir, partialData)); err == nil {
			lack -= min(fi.Size(), f.SizeBytes) // it has its room
		}
	}
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	if c.cfg.QuotaBytes > 0 {
		if err := c.within(c.taken(but...), size, size); err != nil {
			return err
		}
	}
	if free := c.free(c.dir); free >= 0 && lack > free {
		return messages.Errorf(messages.CodeDiskFull, messages.OpModelPull, "%d MiB are to be fetched and %d MiB are free in %s", lack>>20, free>>20, c.dir).
			WithHint("free some room: rbee model rm, rbee model gc")
	}
	return nil
}

package catalog

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/download"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func withQuota(dir string, bytes int64, v ...vendor.Vendor) *Catalog {
	return New(Config{DataDir: dir, QuotaBytes: bytes, Vendors: v})
}

func TestQuota(t *testing.T) {
	s := newStock()
	w := weights(1, 1<<20)
	n := int64(len(w))
	s.put("test:a", "a", w)
	s.put("test:b", "b", weights(2, 1<<20))
	s.put("test:two", "two", split(3, 2, 1<<20)...)
	unknown := s.put("test:unknown", "unknown", weights(5, 1<<20))
	unknown.Files[0].SizeBytes = -1
	s.set("test:unknown", *unknown)
	dir := t.TempDir()
	refused := func(quota int64, ref string) {
		t.Helper()
		before := s.bytesRead()
		_, err := withQuota(dir, quota, s).Pull(t.Context(), Pull{Ref: ref}, Watcher{})
		wantError(t, err, messages.CodeDiskFull, "quota", "rbee model gc")
		if s.bytesRead() != before {
			t.Errorf("%s: %d bytes were fetched", ref, s.bytesRead()-before)
		}
	}
	refused(n-1, "test:a")
	pull(t, withQuota(dir, n, s), Pull{Ref: "test:a"})
	pull(t, withQuota(dir, n, s), Pull{Ref: "test:a"}) // it is there
	refused(2*n-1, "test:b")
	refused(3*n-1, "test:two") // the first part alone would fit
	refused(2*n-1, "test:unknown")
	pull(t, withQuota(dir, 2*n, s), Pull{Ref: "test:b"})
	refused(2*n, "test:two")
	for _, name := range []string{"a", "b"} {
		remove(t, withQuota(dir, 1, s), name)
	}
	pull(t, withQuota(dir, 3*n, s), Pull{Ref: "test:two"})
	path := write(t, filepath.Join(t.TempDir(), "m.gguf"), w)
	c := withQuota(dir, n, s, local{})
	pull(t, c, Pull{Ref: path}) // in place takes nothing
	_, err := c.Pull(t.Context(), Pull{Ref: path, Copy: true}, Watcher{})
	wantError(t, err, messages.CodeDiskFull)
}

// Downloads under way count as what they will be, those that were left as what they are, and what goes on where
// it ended counts once.
func TestQuotaOfDownloads(t *testing.T) {
	s := newStock()
	w := weights(1, 1<<20)
	n := int64(len(w))
	s.put("test:a", "a", w)
	s.put("test:b", "b", weights(2, 1<<20))
	c := withQuota(t.TempDir(), 2*n-1, s)
	held := make(chan struct{}, 64)
	ctx, cancel := context.WithCancel(t.Context())
	s.before = func(ctx context.Context, f *vendor.File) error {
		if f.Digest == digestOfBytes(w) {
			held <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	ended := make(chan error, 1)
	go func() { _, err := c.Pull(ctx, Pull{Ref: "test:a"}, Watcher{}); ended <- err }()
	receive(t, held)
	_, err := c.Pull(t.Context(), Pull{Ref: "test:b"}, Watcher{})
	wantError(t, err, messages.CodeDiskFull)
	cancel()
	wantError(t, receive(t, ended), messages.CodeCancelled)
	_, err = c.Pull(t.Context(), Pull{Ref: "test:b"}, Watcher{}) // what is left has its room on the disk
	wantError(t, err, messages.CodeDiskFull)
	s.before = nil
	pull(t, c, Pull{Ref: "test:a"})
	_, err = c.Pull(t.Context(), Pull{Ref: "test:b"}, Watcher{})
	wantError(t, err, messages.CodeDiskFull)
	remove(t, c, "a")
	pull(t, c, Pull{Ref: "test:b"})
	if len(c.space.under) != 0 {
		t.Errorf("reserved still: %v", c.space.under)
	}
}

// A download that goes on needs room for the rest alone.
func TestQuotaOfResumed(t *testing.T) {
	s := newStock()
	w := weights(1, 8<<20)
	n := int64(len(w))
	s.put("test:a", "a", w)
	c := withQuota(t.TempDir(), n, s)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Pull(ctx, Pull{Ref: "test:a", BytesPerSecond: 4 << 20}, Watcher{Step: func(st Step) {
		if st.Done > 64<<10 && st.Done < n {
			cancel()
		}
	}})
	wantError(t, err, messages.CodeCancelled)
	p, err := download.Peek(filepath.Join(c.dir, partialDir, digestOfBytes(w)[len(digestPrefix):]))
	if err != nil || p.Done == 0 || p.Done == n {
		t.Fatalf("%+v, %v", p, err)
	}
	// Under way again it counts whole, not as the rest of it.
	s.put("test:b", "b", weights(2, 8<<20))
	wide := withQuota(filepath.Dir(c.dir), 2*n-1, s)
	held := make(chan struct{}, 64)
	again, stop := context.WithCancel(t.Context())
	s.before = func(ctx context.Context, f *vendor.File) error {
		if f.Digest != digestOfBytes(w) {
			return nil
		}
		held <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	ended := make(chan error, 1)
	go func() { _, err := wide.Pull(again, Pull{Ref: "test:a"}, Watcher{}); ended <- err }()
	receive(t, held)
	_, err = wide.Pull(t.Context(), Pull{Ref: "test:b"}, Watcher{})
	wantError(t, err, messages.CodeDiskFull)
	stop()
	wantError(t, receive(t, ended), messages.CodeCancelled)
	s.before = nil
	pull(t, c, Pull{Ref: "test:a"})
	whole(t, c)
}

func TestReserve(t *testing.T) {
	c := withQuota(t.TempDir(), 100)
	dir := func(name string) string {
		d := filepath.Join(c.dir, partialDir, name)
		write(t, filepath.Join(d, partialData), nil)
		return d
	}
	reserve := func(name string, lack int64, fits bool) func() {
		t.Helper()
		release, err := c.reserve(dir(name), lack)
		if (err == nil) != fits {
			t.Fatalf("%s, %d: %v", name, lack, err)
		}
		return release
	}
	first := reserve("a", 60, true)
	reserve("b", 41, false)
	second := reserve("a", 50, true) // the next who holds it
	first()                          // late
	reserve("b", 51, false)
	other := reserve("b", 50, true)
	second()
	second()
	reserve("c", 51, false)
	reserve("c", 1<<62, false)
	other()
	reserve("c", 100, true)()
	if len(c.space.under) != 0 {
		t.Error("something is reserved")
	}
}

// A full disk is seen before the first byte, for all files together.
func TestFullDisk(t *testing.T) {
	s := newStock()
	parts := split(1, 3, 4096)
	s.put("test:a", "a", parts...)
	c := at(t.TempDir(), s)
	if free := c.free(filepath.Join(c.dir, "not there yet")); free == 0 {
		t.Error("nothing is free")
	}
	free := int64(len(parts[0])*3 - 1)
	c.free = func(dir string) int64 {
		if dir != c.dir {
			t.Errorf("asked for %s", dir)
		}
		return free
	}
	_, err := c.Pull(t.Context(), Pull{Ref: "test:a"}, Watcher{})
	wantError(t, err, messages.CodeDiskFull, c.dir)
	if s.bytesRead() != 0 {
		t.Errorf("%d bytes were fetched", s.bytesRead())
	}
	free++
	pull(t, c, Pull{Ref: "test:a"})
	free = 0
	pull(t, c, Pull{Ref: "test:a"})
}

package vendortest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// checkWhole fetches with another vendor than the one that resolved, as a later process does.
func checkWhole(t testing.TB, c Case) {
	for _, r := range c.Refs {
		files, contents := remote(r, c.must(t, c.New(t), r.Ref))
		v := c.New(t)
		for i, f := range files {
			b, data, err := c.read(t, v, f, vendor.Whole, len(contents[i]))
			if err != nil {
				t.Errorf("the whole of %q: %v", f.Name, err)
				continue
			}
			c.rightBytes(t, f, b, vendor.Whole, data, contents[i])
			if f.Digest != "" && digest(data) != f.Digest {
				t.Errorf("%q has the digest %s, Resolve said %s", f.Name, digest(data), f.Digest)
			}
		}
	}
}

// rightBytes compares what came with what the file holds there.
func (c Case) rightBytes(t testing.TB, f vendor.File, b *vendor.Body, r vendor.Range, data, content []byte) {
	t.Helper()
	size := int64(len(content))
	what := fmt.Sprintf("%q from %d to %d", f.Name, r.From, r.To)
	to := r.To
	if to < 0 {
		to = size
	}
	end := b.From + int64(len(data))
	switch {
	case b.From != r.From && (c.Ranges || b.From != 0):
		t.Errorf("%s starts at %d", what, b.From)
	case end > size || !bytes.Equal(data, content[b.From:end]):
		t.Errorf("%s gives %d bytes that are not the file's at %d", what, len(data), b.From)
	case end < to:
		t.Errorf("%s ends without an error at %d", what, end)
	case b.SizeBytes != -1 && b.SizeBytes != size:
		t.Errorf("%s is said to be of a file of %d bytes, it has %d", what, b.SizeBytes, size)
	}
}

// parts are ranges of a file of n bytes, from a byte to all.
func parts(n int64) []vendor.Range {
	all := []vendor.Range{vendor.Whole, {From: 0, To: n}, {From: 0, To: 1}, {From: n - 1, To: n}, {From: n - 1, To: -1}}
	if n > 4 {
		all = append(all, vendor.Range{From: n / 2, To: n/2 + 1}, vendor.Range{From: n / 4, To: n / 2}, vendor.Range{From: n / 2, To: -1},
			vendor.Range{From: 1, To: n - 1})
	}
	return all
}

func checkRanges(t testing.TB, c Case) {
	for _, r := range c.Refs {
		v := c.New(t)
		files, contents := remote(r, c.must(t, v, r.Ref))
		for i, f := range files {
			var version string
			for k, part := range parts(int64(len(contents[i]))) {
				b, data, err := c.read(t, v, f, part, len(contents[i]))
				if err != nil {
					t.Errorf("%q from %d to %d: %v", f.Name, part.From, part.To, err)
					continue
				}
				c.rightBytes(t, f, b, part, data, contents[i])
				if k > 0 && b.Version != version {
					t.Errorf("%q is unchanged, its version was %q and is %q", f.Name, version, b.Version)
				}
				version = b.Version
			}
		}
	}
}

// checkBeyond asks for bytes behind the end: an error, or no byte that is not the file's.
func checkBeyond(t testing.TB, c Case) {
	for _, r := range c.Refs {
		v := c.New(t)
		files, contents := remote(r, c.must(t, v, r.Ref))
		for i, f := range files {
			n := int64(len(contents[i]))
			for _, part := range []vendor.Range{{From: n, To: n + 10}, {From: n + 5, To: -1}, {From: n - 1, To: n + 10}} {
				b, data, err := c.read(t, v, f, part, int(n))
				if b == nil || err != nil {
					continue
				}
				if end := b.From + int64(len(data)); end > n || !bytes.Equal(data, contents[i][b.From:end]) {
					t.Errorf("%q has %d bytes; from %d to %d come others", f.Name, n, part.From, part.To)
				}
			}
		}
	}
}

func checkConcurrentFetch(t testing.TB, c Case) {
	v := c.New(t)
	file, content := c.target(t, v)
	all := parts(int64(len(content)))
	all = append(all, all...)
	type got struct {
		body *vendor.Body
		data []byte
		err  error
	}
	out := make([]got, len(all))
	c.within(t, "fetching several parts at once", func() {
		var group sync.WaitGroup
		for i, part := range all {
			group.Go(func() {
				f := file
				b, err := v.Fetch(t.Context(), &f, part)
				if err != nil {
					out[i].err = err
					return
				}
				data, err := io.ReadAll(io.LimitReader(b, int64(len(content))+1))
				out[i] = got{b, data, errors.Join(err, b.Close())}
			})
		}
		group.Wait()
	})
	for i, g := range out {
		if g.err != nil {
			t.Errorf("%q from %d to %d, several at once: %v", file.Name, all[i].From, all[i].To, g.err)
			continue
		}
		c.rightBytes(t, file, g.body, all[i], g.data, content)
	}
}

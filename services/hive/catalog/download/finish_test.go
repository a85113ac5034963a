package download

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// A Get without a digest that was killed after the file got its name, and before the rest was removed, is not
// repeated; one that ended is: the file may be another now.
func TestKilledWhilePublishing(t *testing.T) {
	content := bytesOf(3<<20, 80)
	s := newServer(t, content)
	spec, _ := s.spec(t)
	final := spec.Final
	spec.Digest, spec.Final = "", ""
	spec.FinalFor = func(digest string) string { return final + strings.TrimPrefix(digest, digestPrefix) }
	var journal []byte
	spec.Progress = func(p Progress) {
		if raw, err := os.ReadFile(filepath.Join(spec.Dir, journalName)); err == nil {
			journal = raw
		}
	}
	mustGet(t, spec, content)
	write(t, filepath.Join(spec.Dir, journalName), journal)
	before := s.quiet(t)
	mustGet(t, spec, content)
	if sent := s.quiet(t); sent != before {
		t.Errorf("%d bytes were sent again", sent-before)
	}
	mustGet(t, spec, content)
	if sent := s.quiet(t); sent != 2*before {
		t.Errorf("%d bytes were sent for an ended one", sent-before)
	}
}

// begun is a download of content whose first n bytes are written.
func begun(t *testing.T, s Spec, content []byte, n int) *transfer {
	t.Helper()
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := s.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := (&getting{spec: &s, tell: newTeller(&s), promised: true}).open()
	if err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		if _, err := tr.place(content[:n], 0); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

// kept is how much another Get finds.
func kept(t *testing.T, s Spec) int64 {
	tr := begun(t, s, nil, 0)
	defer tr.close()
	return tr.seg.done
}

// When the disk could not take what was written, it does not count, in the same run of the computer either.
func TestFailedSync(t *testing.T) {
	content := bytesOf(1<<20, 81)
	s := timed(t, content, instant(content))
	tr := begun(t, s, content, 1000)
	if err := tr.sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.place(content[1000:5000], 1000); err != nil {
		t.Fatal(err)
	}
	tr.data.Close()
	_, pipe, err := os.Pipe() // it cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	tr.data = pipe
	if err := tr.sync(); err == nil {
		t.Fatal("a pipe can be synced")
	}
	if err := tr.settle(); err != nil {
		t.Fatal(err)
	}
	tr.close()
	if n := kept(t, s); n != 1000 {
		t.Errorf("%d bytes are believed, 1000 were synced", n)
	}
}

// What a killed process wrote counts while the computer runs. Without a digest nobody would notice what the disk has
// lost: the kernel is asked first.
func TestKilledBeforeASync(t *testing.T) {
	content := bytesOf(1<<20, 82)
	for name, digest := range map[string]string{"digest known": digestOf(content), "digest unknown": ""} {
		t.Run(name, func(t *testing.T) {
			s := timed(t, content, instant(content))
			s.Digest = digest
			tr := begun(t, s, content, 1000)
			if err := tr.sync(); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.place(content[1000:5000], 1000); err != nil {
				t.Fatal(err)
			}
			tr.close()
			again := begun(t, s, nil, 0)
			defer again.close()
			e, err := readTable(again.journal.f, &again.journal.head, 0, again.journal.head.segments())
			if err != nil {
				t.Fatal(err)
			}
			written, synced := int64(1000), int64(1000)
			if bootID() != "" {
				written = 5000
				if digest == "" {
					synced = 5000
				}
			}
			if again.seg.done != written || e.written[0] != written || e.synced[0] != synced {
				t.Errorf("%d bytes are believed, %d noted as written and %d as synced; want %d and %d", again.seg.done, e.written[0], e.synced[0], written, synced)
			}
		})
	}
}

// Bytes that nothing tied to the file, and a digest that is wrong then: one more try.
func TestMixedVersions(t *testing.T) {
	content, other := bytesOf(3<<20, 83), bytesOf(3<<20, 84)
	calls, good, bad := 0, instant(content), instant(other)
	s := timed(t, content, func(ctx context.Context, r vendor.Range) (*vendor.Body, error) {
		if calls++; calls == 2 {
			b, err := bad(ctx, vendor.Range{From: r.From, To: r.From + 1000})
			b.Version = "other"
			return b, err
		}
		b, err := good(ctx, r)
		if calls == 1 {
			b.ReadCloser = failing{b.ReadCloser, os.ErrDeadlineExceeded}
			b.Version = "one"
		}
		return b, err
	})
	s.Streams, s.Backoff, s.BytesPerSecond = 1, 1, 4<<20
	mustGet(t, s, content)
}

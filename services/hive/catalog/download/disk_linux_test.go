package download

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

// smallDisk is a file system with so much room. It needs root.
func smallDisk(t *testing.T, size string) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a tmpfs: %v (the tests run as root)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A disk without room is said before the first byte; one that fills up on the way keeps what is there.
func TestFullDisk(t *testing.T) {
	content := bytesOf(6<<20, 40)
	for name, known := range map[string]bool{"size known": true, "size unknown": false} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, content)
			spec, _ := s.spec(t)
			disk := smallDisk(t, "8m")
			spec.Dir, spec.Final = filepath.Join(disk, "part"), filepath.Join(disk, "final")
			if !known {
				spec.SizeBytes = -1
				s.answer = chunkedRanges
			}
			ballast := filepath.Join(disk, "ballast")
			write(t, ballast, make([]byte, 4<<20))
			_, err := get(t, spec)
			if messages.CodeOf(err) != messages.CodeDiskFull || !strings.Contains(err.Error(), "disk is full") || !strings.Contains(err.Error(), "pull again") {
				t.Fatal(err)
			}
			kept, err := Peek(spec.Dir)
			if err != nil {
				t.Fatal(err)
			}
			sent := s.quiet(t)
			if known && sent != 0 || !known && kept.Done < 2<<20 {
				t.Errorf("%d bytes were sent, kept %+v", sent, kept)
			}
			os.Remove(ballast)
			if r := mustGet(t, spec, content); r.Resumed == known {
				t.Errorf("%+v", r)
			}
			if more := s.quiet(t) - sent; !known && more > int64(len(content))-kept.Done+1<<20 {
				t.Errorf("%d bytes came, %d were lacking", more, int64(len(content))-kept.Done)
			}
		})
	}
}

// That the file cannot be moved to its place is said before the first byte.
func TestOtherDisk(t *testing.T) {
	content := bytesOf(1<<20, 41)
	s := newServer(t, content)
	spec, _ := s.spec(t)
	spec.Dir = filepath.Join(smallDisk(t, "8m"), "part")
	if _, err := get(t, spec); err == nil || !strings.Contains(err.Error(), "different file systems") {
		t.Error(err)
	}
	if sent, n := s.counts(); n != 0 {
		t.Errorf("%d bytes were sent in %d requests", sent, n)
	}
}

package download

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func TestGet(t *testing.T) {
	for name, tc := range map[string]struct {
		size, streams int
		limit         int64
		noSize        bool
		noDigest      bool
	}{
		"empty":                      {size: 0},
		"one byte":                   {size: 1},
		"one byte, size unknown":     {size: 1, noSize: true},
		"one segment":                {size: minSegment},
		"one segment and a byte":     {size: minSegment + 1},
		"many":                       {size: 9<<20 + 12345},
		"many, one stream":           {size: 9<<20 + 12345, streams: 1},
		"many, 64 streams":           {size: 9<<20 + 12345, streams: 64},
		"many, size unknown":         {size: 9<<20 + 12345, noSize: true},
		"many, nothing known":        {size: 9<<20 + 12345, noSize: true, noDigest: true},
		"many, digest unknown":       {size: 9<<20 + 12345, noDigest: true},
		"limit that allows all":      {size: 3<<20 + 1, limit: 1 << 40},
		"limit, pieces of a segment": {size: 3<<20 + 1, limit: 8 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			content := bytesOf(tc.size, 2)
			s := newServer(t, content)
			spec, words := s.spec(t)
			spec.Streams, spec.BytesPerSecond = tc.streams, tc.limit
			if tc.noSize {
				spec.SizeBytes = -1
			}
			if tc.noDigest {
				spec.Digest = ""
			}
			var last Progress
			spec.Progress = func(p Progress) { last = p }
			var asked int64
			spec.Reserve = func(n int64) error { asked += n; return nil }
			if r := mustGet(t, spec, content); r.Resumed || r.Path != spec.Final {
				t.Errorf("%+v", r)
			}
			if last.Done != int64(tc.size) || last.Total != int64(tc.size) || len(words.all()) > 0 {
				t.Errorf("last progress %+v; said %q", last, words.all())
			}
			if asked < int64(tc.size) {
				t.Errorf("asked for %d bytes", asked)
			}
			if sent, _ := s.counts(); sent > int64(tc.size)+1 {
				t.Errorf("%d bytes were sent for %d", sent, tc.size)
			}
		})
	}
}

// Many requests that each bring a part: none asks for a byte that another brought.
func TestRanges(t *testing.T) {
	content := bytesOf(9<<20+5, 3)
	s := newServer(t, content)
	spec, _ := s.spec(t)
	mustGet(t, spec, content)
	var at []int
	for _, r := range s.ranges {
		from, to, ok := parseRange(r, len(content))
		if !ok {
			t.Fatalf("range %q", r)
		}
		at = append(at, from, to)
	}
	slices.Sort(at)
	want := []int{0}
	for e := minSegment; e < len(content); e += minSegment {
		want = append(want, e, e)
	}
	if want = append(want, len(content)); !slices.Equal(at, want) {
		t.Errorf("borders %v, want %v", at, want)
	}
}

func TestCancelAndResume(t *testing.T) {
	for name, known := range map[string]bool{"size known": true, "size unknown": false, "digest unknown": true} {
		t.Run(name, func(t *testing.T) {
			content := bytesOf(12<<20, 4)
			s := newServer(t, content)
			spec, words := s.spec(t)
			if !known {
				spec.SizeBytes = -1
			}
			if name == "digest unknown" {
				spec.Digest = ""
			}
			kept := getUntil(t, spec, s.when(5<<20))
			if kept.Done < 1<<20 || kept.Total != int64(len(content)) {
				t.Fatalf("kept %+v", kept)
			}
			before := s.quiet(t)
			if r := mustGet(t, spec, content); !r.Resumed {
				t.Error("not resumed")
			}
			after := s.quiet(t)
			if got, lacked := after-before, int64(len(content))-kept.Done; got > lacked+1 {
				t.Errorf("%d bytes came, %d were lacking; said %q", got, lacked, words.all())
			}
		})
	}
}

func TestFinalIsThere(t *testing.T) {
	content := bytesOf(1000, 5)
	s := newServer(t, content)
	spec, _ := s.spec(t)
	if err := os.WriteFile(spec.Final, content, 0o600); err != nil {
		t.Fatal(err)
	}
	mustGet(t, spec, content)
	if _, n := s.counts(); n != 0 {
		t.Errorf("%d requests", n)
	}
	if err := os.WriteFile(spec.Final, content[1:], 0o600); err != nil { // of the wrong size
		t.Fatal(err)
	}
	mustGet(t, spec, content)
}

func TestReserveRefuses(t *testing.T) {
	s := newServer(t, bytesOf(1000, 6))
	for _, size := range []int64{1000, -1} {
		spec, _ := s.spec(t)
		spec.SizeBytes = size
		quota := messages.Errorf(messages.CodeDiskFull, "test", "over the quota")
		spec.Reserve = func(int64) error { return quota }
		if _, err := get(t, spec); err != error(quota) { //nolint:errorlint // unchanged
			t.Errorf("size %d: %v", size, err)
		}
	}
}

// A byte that is wrong at the source is told with both digests, and nothing of the file stays.
func TestWrongDigest(t *testing.T) {
	content := bytesOf(3<<20, 7)
	s := newServer(t, content)
	spec, _ := s.spec(t)
	s.content = slices.Clone(content)
	s.content[2<<20] ^= 1
	_, err := get(t, spec)
	if messages.CodeOf(err) != messages.CodeBadModel || !strings.Contains(err.Error(), spec.Digest) || !strings.Contains(err.Error(), digestOf(s.content)) {
		t.Fatal(err)
	}
	for _, path := range []string{spec.Final, filepath.Join(spec.Dir, dataName), filepath.Join(spec.Dir, journalName)} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is there", path)
		}
	}
}

// A byte that went bad on the disk between two Gets costs a start over, once.
func TestDamagedOnDisk(t *testing.T) {
	content := bytesOf(6<<20, 8)
	for name, wrong := range map[string]bool{"source is right": false, "source is wrong too": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, content)
			spec, words := s.spec(t)
			getUntil(t, spec, s.when(3<<20))
			f, err := os.OpenFile(filepath.Join(spec.Dir, dataName), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte{content[100] ^ 1}, 100); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if wrong {
				s.mu.Lock()
				s.content = bytesOf(6<<20, 9)
				s.mu.Unlock()
				if _, err := get(t, spec); messages.CodeOf(err) != messages.CodeBadModel {
					t.Error(err)
				}
			} else {
				mustGet(t, spec, content)
			}
			if words.count("damaged") != 1 {
				t.Errorf("said %q", words.all())
			}
		})
	}
}

// What is no journal of this file is not trusted, and said.
func TestForeignJournal(t *testing.T) {
	content := bytesOf(6<<20, 10)
	for name, spoil := range map[string]func(*testing.T, *Spec){
		"garbage":     func(t *testing.T, s *Spec) { write(t, filepath.Join(s.Dir, journalName), make([]byte, 9000)) },
		"truncated":   func(t *testing.T, s *Spec) { truncate(t, filepath.Join(s.Dir, journalName), tableAt+1) },
		"no data":     func(_ *testing.T, s *Spec) { os.Remove(filepath.Join(s.Dir, dataName)) },
		"short data":  func(t *testing.T, s *Spec) { truncate(t, filepath.Join(s.Dir, dataName), 10) },
		"other file":  func(_ *testing.T, s *Spec) { s.Digest = digestOf(bytesOf(6<<20, 11)) },
		"other size":  func(_ *testing.T, s *Spec) { s.SizeBytes++ },
		"no journal ": func(_ *testing.T, s *Spec) { os.Remove(filepath.Join(s.Dir, journalName)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, content)
			spec, words := s.spec(t)
			getUntil(t, spec, s.when(3<<20))
			spoil(t, &spec)
			want := content
			if strings.HasPrefix(name, "other") {
				want = bytesOf(int(spec.SizeBytes), 11)
				s.mu.Lock()
				s.content, spec.Digest = want, digestOf(want)
				s.mu.Unlock()
			}
			if r := mustGet(t, spec, want); r.Resumed {
				t.Error("resumed")
			}
			if said := words.count("cannot be used"); said != 1 && name != "no journal " {
				t.Errorf("said %q", words.all())
			}
		})
	}
}

func write(t *testing.T, path string, b []byte) {
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, n int64) {
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

// Power loss: the journal is of another run of the computer, and only what was synced counts.
func TestPowerLoss(t *testing.T) {
	content := bytesOf(6<<20, 12)
	s := newServer(t, content)
	spec, _ := s.spec(t)
	getUntil(t, spec, s.when(4<<20))
	j, e, err := openJournal(filepath.Join(spec.Dir, journalName), bootID())
	if err != nil {
		t.Fatal(err)
	}
	var synced int64
	for i, w := range e.written {
		if i%2 == 0 { // the others were lost: their bytes are not what was written
			if err := j.setSynced(i, w); err != nil {
				t.Fatal(err)
			}
			synced += w
			continue
		}
		f, err := os.OpenFile(filepath.Join(spec.Dir, dataName), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, w), int64(i)*minSegment); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := j.setSynced(i, 0); err != nil {
			t.Fatal(err)
		}
	}
	h := j.head
	h.boot = "another"
	if err := j.setHeader(h); err != nil {
		t.Fatal(err)
	}
	j.f.Close()
	before := s.quiet(t)
	spec.Say = func(text string) { t.Errorf("said %q", text) }
	if r := mustGet(t, spec, content); !r.Resumed {
		t.Error("not resumed")
	}
	after := s.quiet(t)
	if after-before != int64(len(content))-synced {
		t.Errorf("%d bytes came, %d were lacking", after-before, int64(len(content))-synced)
	}
}

func TestBadSpecs(t *testing.T) {
	src := func(context.Context, vendor.Range) (*vendor.Body, error) { return nil, errors.New("no") }
	for name, s := range map[string]Spec{
		"nothing":    {},
		"no source":  {Dir: t.TempDir(), Final: "x"},
		"no path":    {Dir: t.TempDir(), Source: src},
		"bad digest": {Dir: t.TempDir(), Final: "x", Source: src, Digest: "sha256:../x"},
		"too large":  {Dir: t.TempDir(), Final: "x", Source: src, SizeBytes: maxSize + 1},
	} {
		if _, err := Get(t.Context(), s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDiscard(t *testing.T) {
	content := bytesOf(4<<20, 13)
	s := newServer(t, content)
	s.answer = func(s *server, _ int, w http.ResponseWriter, r *http.Request) bool { return false }
	spec, _ := s.spec(t)
	if ok, err := Discard(spec.Dir); !ok || err != nil {
		t.Errorf("nothing there: %v, %v", ok, err)
	}
	hang := make(chan struct{})
	s.answer = func(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 2 {
			<-r.Context().Done()
			return true
		}
		if n == 2 {
			close(hang)
		}
		return false
	}
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan struct{})
	go func() { defer close(end); _, _ = Get(ctx, spec) }()
	select {
	case <-hang:
	case <-time.After(deadline):
		t.Fatal("no request")
	}
	if ok, err := Discard(spec.Dir); ok || err != nil {
		t.Errorf("under way: %v, %v", ok, err)
	}
	cancel()
	<-end
	if ok, err := Discard(spec.Dir); !ok || err != nil {
		t.Errorf("left: %v, %v", ok, err)
	}
	if _, err := os.Stat(spec.Dir); err == nil {
		t.Error("it is still there")
	}
}

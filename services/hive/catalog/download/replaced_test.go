package download

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

// The file is replaced at its source while it is fetched: it starts over, says so, and brings the new one.
func TestReplaced(t *testing.T) {
	old := bytesOf(6<<20, 23)
	for name, tc := range map[string]struct {
		next     []byte
		promised bool
	}{
		"same size":                {bytesOf(6<<20, 24), true},
		"same size, unknown first": {bytesOf(6<<20, 24), false},
		"other size":               {bytesOf(5<<20+3, 24), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, old)
			s.answer = func(s *server, n int, _ http.ResponseWriter, _ *http.Request) bool {
				if n == 6 {
					s.mu.Lock()
					s.content, s.etag = tc.next, `"two"`
					s.mu.Unlock()
				}
				return false
			}
			spec, words := s.spec(t)
			spec.Digest = ""
			if !tc.promised {
				spec.SizeBytes = -1
			}
			mustGet(t, spec, tc.next)
			if words.count("replaced at the source") != 1 {
				t.Errorf("said %q", words.all())
			}
		})
	}
}

// Replaced between two Gets: the same.
func TestReplacedBetween(t *testing.T) {
	s := newServer(t, bytesOf(6<<20, 25))
	spec, words := s.spec(t)
	spec.Digest = ""
	getUntil(t, spec, s.when(3<<20))
	s.quiet(t)
	next := bytesOf(6<<20, 26)
	s.mu.Lock()
	s.content, s.etag = next, `"two"`
	s.mu.Unlock()
	mustGet(t, spec, next)
	if words.count(`its version was "\"one\"" and is "\"two\""`) != 1 {
		t.Errorf("said %q", words.all())
	}
}

// A source that names the file differently each time: an error after some tries, but with a digest, which decides:
// nothing is fetched twice, now or by the next Get.
func TestVersionsChange(t *testing.T) {
	content := bytesOf(6<<20, 27)
	for _, digest := range []bool{true, false} {
		s := newServer(t, content)
		s.answer = func(s *server, n int, _ http.ResponseWriter, _ *http.Request) bool {
			s.mu.Lock()
			s.etag = strconv.Quote(strconv.Itoa(n))
			s.mu.Unlock()
			return false
		}
		spec, words := s.spec(t)
		if digest {
			kept := getUntil(t, spec, s.when(3<<20))
			before := s.quiet(t)
			if r := mustGet(t, spec, content); !r.Resumed || kept.Done == 0 {
				t.Error("not resumed")
			}
			if got := s.quiet(t) - before; got > int64(len(content))-kept.Done {
				t.Errorf("%d bytes came, %d were lacking", got, int64(len(content))-kept.Done)
			}
			if words.count("replaced") != 0 || words.count("the digest decides") != 2 { // each Get says it once
				t.Errorf("said %q", words.all())
			}
		} else {
			spec.Digest = ""
			if _, err := get(t, spec); messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "again and again") {
				t.Error(err)
			}
			if words.count("replaced at the source") != maxReplaced {
				t.Errorf("said %q", words.all())
			}
		}
	}
}

package download

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// TestFaults: servers that misbehave, and the file comes nevertheless.
func TestFaults(t *testing.T) {
	content := bytesOf(6<<20+77, 20)
	for name, tc := range map[string]struct {
		answer reply
		size   int64 // that the spec promises; 0: the right one
		says   string
		most   float64 // times the size that may be sent; 0: no bound
		asks   int     // requests at most; 0: no bound
	}{
		"no ranges":                      {answer: noRanges, says: "one stream", most: 1.5, asks: 2},
		"no ranges, size unknown":        {answer: noRanges, size: -1, says: "one stream", most: 1.5},
		"no ranges and cuts":             {answer: noRangesCut, says: "one stream"},
		"chunked, size unknown":          {answer: chunked, size: -1, most: 1.01},
		"chunked, size known":            {answer: chunked, says: "one stream", most: 1.5},
		"ranges without a size":          {answer: chunkedRanges, size: -1, most: 1.1},
		"ranges without a size, known":   {answer: chunkedRanges, most: 1.2},
		"more than asked":                {answer: moreThanAsked},
		"less than asked":                {answer: lessThanAsked, most: 1.01},
		"503 at first":                   {answer: status(503, 1, 9), most: 1.01},
		"500, 502, 504 in the middle":    {answer: status(502, 4, 9), most: 1.01},
		"429 without a time":             {answer: status(429, 2, 5), most: 1.01},
		"408":                            {answer: status(408, 3, 3), most: 1.01},
		"wrong Content-Range, twice":     {answer: wrongRange(3, 4), most: 1.01},
		"stalls":                         {answer: stall(1000, 1, 3), says: "got no byte for 100ms", most: 1.2},
		"all streams stall":              {answer: stall(1000, 1, 16), says: "got no byte for 100ms", most: 1.2},
		"416 that makes no sense, twice": {answer: status(416, 2, 3, "Content-Range", "bytes */6291533"), most: 1.01},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, content)
			s.answer = tc.answer
			spec, words := s.spec(t)
			if tc.size != 0 {
				spec.SizeBytes = tc.size
			}
			if strings.Contains(tc.says, "100ms") {
				spec.Stall = 100 * time.Millisecond
			}
			mustGet(t, spec, content)
			if tc.says != "" && words.count(tc.says) != 1 || tc.says == "" && len(words.all()) > 0 {
				t.Errorf("said %q, want %q once", words.all(), tc.says)
			}
			sent, n := s.counts()
			t.Logf("%d requests, %d bytes: %.3f", n, sent, float64(sent)/float64(len(content)))
			if tc.most > 0 && float64(sent) > tc.most*float64(len(content)) {
				t.Errorf("%d bytes sent for %d", sent, len(content))
			}
			if tc.asks > 0 && n > tc.asks {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestEnds: what ends a download; what was there is kept, and goes on when the server is well again.
func TestEnds(t *testing.T) {
	content := bytesOf(6<<20+77, 21)
	isCode := func(c messages.Code) func(error) bool {
		return func(err error) bool { return messages.CodeOf(err) == c }
	}
	isRange := func(err error) bool { return errors.Is(err, vendor.ErrRange) }
	isStatus := func(code int) func(error) bool {
		return func(err error) bool {
			e, ok := errors.AsType[*vendor.StatusError](err)
			_, wrapped := errors.AsType[*messages.Error](err)
			return ok && e.Status == code && !wrapped
		}
	}
	length := func(n int) reply {
		return func(s *server, k int, w http.ResponseWriter, r *http.Request) bool {
			if k < 4 {
				return false
			}
			w.Header().Set("Content-Length", strconv.Itoa(n))
			s.write(w, r, s.content[:min(n, len(s.content))])
			return true
		}
	}
	for name, tc := range map[string]struct {
		answer reply
		want   func(error) bool
		words  []string
	}{
		"404 in the middle":     {status(404, 4, 99), isStatus(404), nil},
		"403 in the middle":     {status(403, 4, 99), isStatus(403), nil},
		"503 for good":          {status(503, 4, 9999), isCode(messages.CodeUnavailable), []string{"503", "of 6.0 MiB are kept; pull again to go on"}},
		"429 for good":          {status(429, 4, 9999), isCode(messages.CodeUnavailable), []string{"429", "are kept; pull again"}},
		"stalls for good":       {stall(0, 4, 9999), isCode(messages.CodeUnavailable), []string{"no byte came", "are kept; pull again"}},
		"length too short":      {length(1000), isCode(messages.CodeBadModel), []string{"1000 bytes, not of 6291533", "are kept"}},
		"length too long":       {length(7000000), isCode(messages.CodeBadModel), []string{"7000000 bytes, not of 6291533", "are kept"}},
		"wrong range for good":  {wrongRange(4, 9999), isRange, []string{"answered a range wrongly", "bytes from 7 on"}},
		"416 for good":          {status(416, 4, 9999), isStatus(416), nil},
		"416 with another size": {status(416, 4, 9999, "Content-Range", "bytes */5"), isCode(messages.CodeBadModel), []string{"5 bytes, not of 6291533"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, content)
			s.answer = tc.answer
			spec, words := s.spec(t)
			if strings.HasSuffix(name, "for good") && tc.words != nil {
				spec.Patience = 2 * time.Second
			}
			if strings.HasPrefix(name, "stalls") {
				spec.Stall = 100 * time.Millisecond
			}
			_, err := get(t, spec)
			if err == nil || !tc.want(err) {
				t.Fatalf("%T %v", err, err)
			}
			for _, w := range tc.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in %q", w, err)
				}
			}
			kept, err := Peek(spec.Dir)
			if err != nil || kept.Done == 0 {
				t.Fatalf("kept %+v, %v; said %q", kept, err, words.all())
			}
			before := s.quiet(t)
			s.answer, spec.Stall = nil, 5*time.Second
			if r := mustGet(t, spec, content); !r.Resumed {
				t.Error("not resumed")
			}
			if got, lacking := s.quiet(t)-before, int64(len(content))-kept.Done; got != lacking {
				t.Errorf("%d bytes came, %d were lacking", got, lacking)
			}
		})
	}
}

// A source that fails for long: why nothing comes is said while it lasts, once.
func TestTroubleIsSaid(t *testing.T) {
	content := bytesOf(3<<20, 29)
	for fails, want := range map[int]int{sayAfter - 1: 0, sayAfter + 2: 1} {
		s := newServer(t, content)
		s.answer = status(503, 1, fails)
		spec, words := s.spec(t)
		spec.Streams = 1
		mustGet(t, spec, content)
		if n := words.count("trying again: "); n != want || words.count("503") != want {
			t.Errorf("%d failures: said %q", fails, words.all())
		}
	}
}

// The network vanishes: said after the patience, and what is there is kept.
func TestVanishedNetwork(t *testing.T) {
	content := bytesOf(6<<20, 22)
	s := newServer(t, content)
	spec, _ := s.spec(t)
	spec.Patience = 300 * time.Millisecond
	var gone atomic.Bool
	s.answer = func(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 4 && gone.CompareAndSwap(false, true) {
			s.Listener.Close()
			go s.CloseClientConnections()
		}
		return false
	}
	_, err := get(t, spec)
	if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "are kept; pull again") || !strings.Contains(err.Error(), "refused") {
		t.Fatal(err)
	}
	fresh := newServer(t, content)
	spec.Source = fresh.source(t)
	mustGet(t, spec, content)
}

// A server that asks to be left alone is, by all streams, and it is said once.
func TestRetryAfter(t *testing.T) {
	content := bytesOf(6<<20, 28)
	s := newServer(t, content)
	var at []time.Time
	limited := status(429, 3, 3, "Retry-After", "1")
	s.answer = func(s *server, n int, w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		at = append(at, time.Now())
		s.mu.Unlock()
		return limited(s, n, w, r)
	}
	spec, words := s.spec(t)
	spec.Patience = 800 * time.Millisecond // what the server asks for comes on top
	spec.Streams = 2
	mustGet(t, spec, content)
	if words.count("waiting 1 s: the server asks for it") != 1 {
		t.Errorf("said %q", words.all())
	}
	if len(at) < 6 || slices.MaxFunc(gaps(at), func(a, b time.Duration) int { return int(a - b) }) < 900*time.Millisecond {
		t.Errorf("gaps between requests: %v", gaps(at))
	}
}

func gaps(at []time.Time) (d []time.Duration) {
	for i := 1; i < len(at); i++ {
		d = append(d, at[i].Sub(at[i-1]))
	}
	return d
}

package download

import "math"

const (
	minSegment  = 1 << 20
	maxSegment  = 16 << 20 // of files up to 1 TiB
	maxSegments = 1 << 16
	perFile     = 64 // segments that a file of middling size has at least, so that all streams end about together
	// endless is the one segment of a file whose size nobody knows. It leaves room to add to.
	endless = 1 << 47
)

// segmentSize is the length of a file's equal pieces, a power of two.
func segmentSize(size int64) int64 {
	if size < 0 {
		return endless
	}
	s := int64(minSegment)
	for s < maxSegment && s*perFile < size {
		s *= 2
	}
	for s < endless && ceilDiv(size, s) > maxSegments {
		s *= 2
	}
	return s
}

func ceilDiv(a, b int64) int64 { return a/b + min(a%b, 1) }

// segments says which bytes of a file are there and which stream fetches what next. Each segment fills from
// its front. Not safe for use by several goroutines.
type segments struct {
	size    int64 // of the file; -1: unknown, there is one segment then
	each    int64 // length of a segment; the last may be shorter
	written []int64
	taken   []bool
	done    int64 // sum of written
	low     int   // all segments before it are whole
}

// newSegments has written[i] bytes of segment i there already; nil: none.
func newSegments(size, each int64, written []int64) *segments {
	n := 1
	if size >= 0 {
		n = int(ceilDiv(size, each))
	}
	s := &segments{size: size, each: each, written: make([]int64, n), taken: make([]bool, n)}
	for i, w := range written {
		s.written[i] = w
		s.done += w
	}
	s.skipWhole()
	return s
}

func (s *segments) start(i int) int64 { return int64(i) * s.each }

// end is the offset behind segment i.
func (s *segments) end(i int) int64 {
	if s.size < 0 {
		return math.MaxInt64
	}
	return min(s.start(i)+s.each, s.size)
}

func (s *segments) whole(i int) bool { return s.start(i)+s.written[i] == s.end(i) }

func (s *segments) skipWhole() {
	for s.low < len(s.written) && s.whole(s.low) {
		s.low++
	}
}

// complete says whether every byte is there. A file of unknown size never is.
func (s *segments) complete() bool { return s.low == len(s.written) }

// prefix is how many bytes from the front on are there without a gap.
func (s *segments) prefix() int64 {
	if s.complete() {
		return max(s.size, 0)
	}
	return s.start(s.low) + s.written[s.low]
}

// next is the first segment that is neither whole nor taken, and the bytes it lacks.
func (s *segments) next() (i int, from, to int64, ok bool) {
	for i := s.low; i < len(s.written); i++ {
		if !s.taken[i] && !s.whole(i) {
			return i, s.start(i) + s.written[i], s.end(i), true
		}
	}
	return 0, 0, 0, false
}

// at finds the segment that off is in.
func (s *segments) at(off int64) int {
	if s.size < 0 {
		return 0
	}
	return int(off / s.each)
}

// room says what to do with n bytes that start at off: the first skip of them are there already, the next
// take go into segment i, and the others belong to the next one. A gap before off takes none.
func (s *segments) room(off, n int64) (i int, skip, take int64) {
	i = s.at(off)
	if i >= len(s.written) {
		return i, 0, 0
	}
	have := s.start(i) + s.written[i]
	if off > have {
		return i, 0, 0
	}
	skip = min(n, have-off)
	return i, skip, min(n-skip, s.end(i)-have)
}

// add notes n more bytes in segment i and gives what it has now.
func (s *segments) add(i int, n int64) int64 {
	s.written[i] += n
	s.done += n
	if i == s.low {
		s.skipWhole()
	}
	return s.written[i]
}

// available is how many bytes from off on are there without a gap.
func (s *segments) available(off int64) int64 {
	if off < 0 {
		return 0
	}
	end := off
	for i := s.at(off); i < len(s.written); i++ {
		have := s.start(i) + s.written[i]
		if have <= end {
			break
		}
		end = have
		if !s.whole(i) {
			break
		}
	}
	return end - off
}

package download

import (
	"math"
	"testing"
)

func TestSegmentSize(t *testing.T) {
	const mib, tib = int64(1) << 20, int64(1) << 40
	for _, tc := range []struct{ size, want int64 }{
		{-1, endless}, {0, mib}, {1, mib}, {64 * mib, mib}, {64*mib + 1, 2 * mib}, {200e6, 4 * mib}, {1 << 30, 16 * mib}, {40 << 30, 16 * mib},
		{tib, 16 * mib}, {tib + 1, 32 * mib}, {math.MaxInt64, endless},
	} {
		got := segmentSize(tc.size)
		if got != tc.want {
			t.Errorf("segmentSize(%d) = %d, want %d", tc.size, got, tc.want)
		}
		if tc.size >= 0 && ceilDiv(tc.size, got) > maxSegments {
			t.Errorf("size %d has %d segments", tc.size, ceilDiv(tc.size, got))
		}
	}
}

func TestSegmentsNext(t *testing.T) {
	type claim struct{ i, from, to int64 }
	for name, tc := range map[string]struct {
		size, each int64
		written    []int64
		taken      []int
		want       claim
		none       bool
		prefix     int64
	}{
		"fresh":             {size: 25, each: 10, want: claim{0, 0, 10}},
		"first is taken":    {size: 25, each: 10, taken: []int{0}, want: claim{1, 10, 20}},
		"first is whole":    {size: 25, each: 10, written: []int64{10, 0, 0}, want: claim{1, 10, 20}, prefix: 10},
		"last is short":     {size: 25, each: 10, written: []int64{10, 10, 0}, want: claim{2, 20, 25}, prefix: 20},
		"part of last":      {size: 25, each: 10, written: []int64{10, 10, 4}, want: claim{2, 24, 25}, prefix: 24},
		"gap in the middle": {size: 25, each: 10, written: []int64{10, 3, 5}, want: claim{1, 13, 20}, prefix: 13},
		"all but taken":     {size: 25, each: 10, written: []int64{10, 3, 5}, taken: []int{1, 2}, none: true, prefix: 13},
		"whole file":        {size: 25, each: 10, written: []int64{10, 10, 5}, none: true, prefix: 25},
		"empty file":        {size: 0, each: 10, none: true},
		"exact multiple":    {size: 20, each: 10, written: []int64{10, 9}, want: claim{1, 19, 20}, prefix: 19},
		"unknown size":      {size: -1, each: endless, written: []int64{7}, want: claim{0, 7, math.MaxInt64}, prefix: 7},
		"one byte":          {size: 1, each: 10, want: claim{0, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSegments(tc.size, tc.each, tc.written)
			for _, i := range tc.taken {
				s.taken[i] = true
			}
			i, from, to, ok := s.next()
			if ok == tc.none || ok && (claim{int64(i), from, to} != tc.want) {
				t.Errorf("next() = %d, %d, %d, %v; want %v", i, from, to, ok, tc.want)
			}
			if s.prefix() != tc.prefix {
				t.Errorf("prefix %d, want %d", s.prefix(), tc.prefix)
			}
		})
	}
}

func TestSegmentsRoom(t *testing.T) {
	for name, tc := range map[string]struct{ off, n, i, skip, take int64 }{
		"nothing there":      {off: 10, n: 5, i: 1, skip: 0, take: 5},
		"over the border":    {off: 10, n: 25, i: 1, skip: 0, take: 10},
		"all there":          {off: 0, n: 10, i: 0, skip: 10},
		"there and behind":   {off: 5, n: 10, i: 0, skip: 5, take: 0},
		"part there":         {off: 20, n: 10, i: 2, skip: 3, take: 2},
		"a gap before":       {off: 12, n: 5, i: 1},
		"behind the end":     {off: 30, n: 5, i: 3},
		"last byte and more": {off: 23, n: 10, i: 2, skip: 0, take: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSegments(25, 10, []int64{10, 0, 3})
			i, skip, take := s.room(tc.off, tc.n)
			if int64(i) != tc.i || skip != tc.skip || take != tc.take {
				t.Errorf("room(%d, %d) = %d, %d, %d", tc.off, tc.n, i, skip, take)
			}
		})
	}
}

func TestSegmentsFill(t *testing.T) {
	s := newSegments(25, 10, nil)
	for step, tc := range []struct{ i, n, prefix int64 }{{1, 10, 0}, {2, 5, 0}, {0, 9, 9}, {0, 1, 25}} {
		s.add(int(tc.i), tc.n)
		if s.prefix() != tc.prefix {
			t.Errorf("step %d: prefix %d, want %d", step, s.prefix(), tc.prefix)
		}
	}
	if !s.complete() || s.done != 25 {
		t.Errorf("complete %v, done %d", s.complete(), s.done)
	}
}

func TestSegmentsAvailable(t *testing.T) {
	s := newSegments(45, 10, []int64{10, 10, 3, 10, 5})
	for off, want := range map[int64]int64{-1: 0, 0: 23, 9: 14, 22: 1, 23: 0, 29: 0, 30: 15, 44: 1, 45: 0, 99: 0} {
		if got := s.available(off); got != want {
			t.Errorf("available(%d) = %d, want %d", off, got, want)
		}
	}
	u := newSegments(-1, endless, []int64{7})
	if got := u.available(3); got != 4 {
		t.Errorf("unknown size: available(3) = %d, want 4", got)
	}
}

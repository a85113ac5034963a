package llamacpp

import "time"

// Tokens per second are over rateWindow, counted in rateBuckets.
const (
	rateWindow  = 5 * time.Second
	rateBuckets = 10
	rateBucket  = rateWindow / rateBuckets
)

// rate counts tokens of the last few seconds. The zero value is ready; it is not locked.
type rate struct {
	start  time.Time // of the first bucket ever
	counts [rateBuckets]int
	at     int64 // number of the newest bucket
	since  int64 // number of the bucket in which generation began
}

func (r *rate) add(now time.Time, n int) {
	if r.start.IsZero() {
		r.start = now
	}
	b := r.advance(now)
	r.counts[b%rateBuckets] += n
}

// advance empties the buckets that have gone out of the window and returns the current one.
func (r *rate) advance(now time.Time) int64 {
	b := max(int64(now.Sub(r.start)/rateBucket), r.at)
	if b-r.at >= rateBuckets { // nothing for a whole window: generation begins anew
		r.counts, r.since = [rateBuckets]int{}, b
	} else {
		for i := r.at + 1; i <= b; i++ {
			r.counts[i%rateBuckets] = 0
		}
	}
	r.at = b
	return b
}

// perSecond is the mean over the window, or since generation began if that is less.
func (r *rate) perSecond(now time.Time) float64 {
	if r.start.IsZero() {
		return 0
	}
	b := r.advance(now)
	sum := 0
	for _, n := range r.counts {
		sum += n
	}
	begin := r.start.Add(time.Duration(max(r.since, b-rateBuckets+1)) * rateBucket)
	span := max(now.Sub(begin), 100*time.Millisecond)
	return float64(sum) / span.Seconds()
}

package llamacpp

import (
	"math"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	var r rate
	now := time.Unix(1000, 0)
	if got := r.perSecond(now); got != 0 {
		t.Errorf("before anything: %g", got)
	}
	run := func(d time.Duration, perSecond int) {
		step := time.Second / time.Duration(perSecond)
		for end := now.Add(d); now.Before(end); now = now.Add(step) {
			r.add(now, 1)
		}
	}
	near := func(when string, want float64) {
		t.Helper()
		if got := r.perSecond(now); math.Abs(got-want) > want/10+0.5 {
			t.Errorf("%s: %g tokens a second, want about %g", when, got, want)
		}
	}
	run(2*time.Second, 100)
	near("after two seconds", 100)
	run(20*time.Second, 20)
	near("after twenty slow ones", 20)
	now = now.Add(time.Minute)
	near("after a pause", 0)
	run(time.Second, 50)
	near("anew", 50)
}

package router

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// drained takes retries until there are none.
func (b *budget) drained(now time.Time) (n int) {
	for b.retry(now) {
		n++
	}
	return n
}

func TestBudget(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, int64(s*1e9)) }
	for name, tc := range map[string]struct {
		earn func(b *budget) time.Time // of an empty one; the time then
		want int
	}{
		"nothing":                {func(*budget) time.Time { return at(0) }, 0},
		"4 requests":             {func(b *budget) time.Time { requests(b, at(0), 4); return at(0) }, 0},
		"6 requests":             {func(b *budget) time.Time { requests(b, at(0), 6); return at(0) }, 1},
		"101 requests":           {func(b *budget) time.Time { requests(b, at(0), 101); return at(0) }, 20},
		"not quite a tenth":      {func(*budget) time.Time { return at(0.099) }, 0},
		"a tenth of a second":    {func(*budget) time.Time { return at(0.1) }, 1},
		"3 seconds":              {func(*budget) time.Time { return at(3) }, 30},
		"both":                   {func(b *budget) time.Time { requests(b, at(3), 51); return at(3) }, 40},
		"an hour is capped":      {func(*budget) time.Time { return at(3600) }, retryMost},
		"so are requests":        {func(b *budget) time.Time { requests(b, at(0), 10_000); return at(0) }, retryMost},
		"a clock that goes back": {func(b *budget) time.Time { requests(b, at(-50), 6); return at(-50) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBudget(at(0))
			if n := b.drained(at(0)); n != retryMost {
				t.Errorf("a new one holds %d", n)
			}
			if n := b.drained(tc.earn(b)); n != tc.want {
				t.Errorf("got %d, want %d", n, tc.want)
			}
		})
	}
}

func requests(b *budget, now time.Time, n int) {
	for range n {
		b.request(now)
	}
}

func TestBudgetIsSafe(t *testing.T) {
	b := newBudget(time.Now())
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 8 {
		wg.Go(func() {
			n := b.drained(time.Unix(0, 0)) // time earns nothing
			mu.Lock()
			defer mu.Unlock()
			taken += n
		})
	}
	if wg.Wait(); taken != retryMost {
		t.Errorf("%d were taken", taken)
	}
}

// TestNoBudgetNoRetry: the client gets the worker's error at once, and nobody else is asked.
func TestNoBudgetNoRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := map[messages.WorkerID]int{}
		c := theatre(func(_ context.Context, w *messages.WorkerInfo) (Stream, error) {
			if asked[w.ID]++; w.ID == "a" {
				return nil, errGone
			}
			return &scene{}, nil
		})
		c.d.Changed(beats(worker("a")))
		c.d.Changed(beats(with(worker("b"), messages.StatusReady, 1))) // more loaded: a is first
		if id, err := c.ask(t.Context()); id != "b" || !errors.Is(err, io.EOF) {
			t.Errorf("with a budget: %s, %v", id, err)
		}
		c.budget.drained(time.Now())
		began := time.Now()
		_, err := c.ask(t.Context())
		wantCode(t, err, messages.CodeUnavailable)
		if took := time.Since(began); took != 0 || asked["a"] != 2 || asked["b"] != 1 || c.Retries.Load() != 1 {
			t.Errorf("after %v, asked %v, retries %d", took, asked, c.Retries.Load())
		}
		if !strings.Contains(err.Error(), "loading") || !strings.Contains(err.Error(), "too many") {
			t.Errorf("the client is told %q", err)
		}
		if running, waiting, _ := c.d.Counts(); running+waiting != 0 {
			t.Errorf("running %d, waiting %d", running, waiting)
		}
		time.Sleep(time.Second / retryRate)
		if id, err := c.ask(t.Context()); id != "b" || !errors.Is(err, io.EOF) {
			t.Errorf("a tenth of a second later: %s, %v", id, err)
		}
	})
}

// TestStormIsBudgeted: every worker refuses; 2000 requests at once make no more tries than the budget has.
func TestStormIsBudgeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := theatre(func(context.Context, *messages.WorkerInfo) (Stream, error) {
			asked++
			return nil, errGone
		})
		for _, id := range []string{"a", "b", "c"} {
			c.d.Changed(beats(worker(id)))
		}
		for range 2000 {
			_, err := c.ask(t.Context())
			wantCode(t, err, messages.CodeUnavailable)
		}
		// The budget stays full while two retries a request cost more than the 0.2 that it earns.
		if most := 2000 + retryMost + 2000*retryShare + 1; asked < 2000+retryMost || asked > int(most) {
			t.Errorf("%d tries", asked)
		}
	})
}

package cli

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// plainEvery is how often a line says how far a job is where there is no terminal.
const plainEvery = 5 * time.Second

// progress shows jobs: bars on a terminal, lines elsewhere, JSON events with --json.
type progress struct {
	a    *app
	bars *mpb.Progress
	all  []*tracked
}

func (a *app) progress() *progress {
	p := &progress{a: a}
	if isTerminal(a.stderr) && !a.JSON {
		p.bars = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(48), mpb.WithRefreshRate(100*time.Millisecond))
	}
	return p
}

// watcher shows one job.
func (p *progress) watcher() bus.Watcher { return p.track("").watcher() }

// track shows one of several jobs; prefix says which.
func (p *progress) track(prefix string) *tracked {
	t := &tracked{p: p, prefix: prefix}
	p.all = append(p.all, t)
	return t
}

// done leaves the terminal clean.
func (p *progress) done() {
	if p.bars != nil {
		for _, t := range p.all {
			t.mu.Lock()
			t.endBar()
			t.mu.Unlock()
		}
		p.bars.Wait()
	}
}

// tracked is one job that is shown.
type tracked struct {
	p      *progress
	prefix string

	mu     sync.Mutex
	bar    *mpb.Bar
	text   string
	rate   rate
	spoken time.Time // when a plain line was written

	// speed is behind the bar. It is read where bars are drawn, which t.mu must not hold up: its holder waits for the drawing.
	speed atomic.Pointer[string]
}

func (t *tracked) watcher() bus.Watcher {
	return bus.Watcher{
		Event: func(e messages.JobEvent) {
			if t.p.a.JSON {
				t.p.json(&e)
			} else if e.State == messages.JobStep {
				t.step(e.Text)
			}
		},
		Tick: t.tick,
		Silent: func(d time.Duration) {
			fmt.Fprintf(t.p.a.stderr, "%snothing heard for %s, still waiting\n", t.prefix, d.Round(time.Second))
		},
	}
}

// json is an event for machines: on stderr, since stdout has the result alone.
func (p *progress) json(v any) {
	_ = json.NewEncoder(p.a.stderr).Encode(v)
}

func (t *tracked) step(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.p.bars != nil {
		t.endBar()
		_, _ = fmt.Fprintln(t.p.bars, t.prefix+text)
		return
	}
	fmt.Fprintln(t.p.a.stderr, t.prefix+text)
}

func (t *tracked) tick(k messages.JobTick) {
	if t.p.a.JSON {
		t.p.json(&k)
		return
	}
	if k.Total <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if k.Text != t.text {
		t.rate = rate{}
	}
	t.rate.add(now, k.Done)
	if t.p.bars == nil {
		t.plain(now, k)
		return
	}
	speed := t.rate.speed(k)
	t.speed.Store(&speed)
	if t.bar == nil || t.text != k.Text {
		t.endBar()
		t.bar = t.p.bars.AddBar(k.Total, mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(t.prefix+k.Text+" ")),
			mpb.AppendDecorators(decor.Percentage(), decor.Any(func(decor.Statistics) string { return *t.speed.Load() })))
	}
	t.text = k.Text
	t.bar.SetTotal(k.Total, false)
	t.bar.SetCurrent(k.Done)
}

// plain writes a line now and then. The caller holds t.mu.
func (t *tracked) plain(now time.Time, k messages.JobTick) {
	if t.text != k.Text || t.spoken.IsZero() {
		t.text, t.spoken = k.Text, now // what is done in a moment needs no line
		return
	}
	if k.Unit != "B" || now.Sub(t.spoken) < plainEvery {
		return
	}
	t.spoken = now
	fmt.Fprintf(t.p.a.stderr, "%s%s: %d%% of %s%s\n", t.prefix, k.Text, 100*k.Done/k.Total, size(uint64(k.Total)), t.rate.text(k))
}

// endBar removes the bar. The caller holds t.mu.
func (t *tracked) endBar() {
	if t.bar != nil {
		t.bar.Abort(true)
		t.bar = nil
	}
}

// rateOver is how far back a rate looks.
const rateOver = 5 * time.Second

// rate is how fast bytes come, over the last seconds.
type rate struct{ seen []sample }

type sample struct {
	at   time.Time
	done int64
}

func (r *rate) add(at time.Time, done int64) {
	r.seen = append(r.seen, sample{at, done})
	for len(r.seen) > 2 && at.Sub(r.seen[1].at) > rateOver {
		r.seen = r.seen[1:]
	}
}

// perSecond is 0 while nothing is known.
func (r *rate) perSecond() float64 {
	if len(r.seen) < 2 {
		return 0
	}
	first, last := r.seen[0], r.seen[len(r.seen)-1]
	if d := last.at.Sub(first.at).Seconds(); d > 0 && last.done > first.done {
		return float64(last.done-first.done) / d
	}
	return 0
}

// speed is what stands behind a bar.
func (r *rate) speed(k messages.JobTick) string {
	if k.Unit != "B" {
		return ""
	}
	return " of " + size(uint64(k.Total)) + r.text(k)
}

// text says rate and time to go, if they are known.
func (r *rate) text(k messages.JobTick) string {
	v := r.perSecond()
	if v <= 0 {
		return ""
	}
	left := time.Duration(float64(k.Total-k.Done) / v * float64(time.Second))
	return fmt.Sprintf(", %s/s, %s to go", size(uint64(v)), max(left, 0).Round(time.Second))
}

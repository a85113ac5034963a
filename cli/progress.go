package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows a job: a bar on a terminal, a line a step elsewhere, JSON events with --json.
type progress struct {
	a    *app
	bars *mpb.Progress
	bar  *mpb.Bar
	text string
}

func (a *app) progress() *progress {
	p := &progress{a: a}
	if isTerminal(a.stderr) && !a.JSON {
		p.bars = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(48), mpb.WithRefreshRate(100*time.Millisecond))
	}
	return p
}

func (p *progress) watcher() bus.Watcher {
	return bus.Watcher{
		Event: func(e messages.JobEvent) {
			if p.a.JSON {
				p.json(&e)
			} else if e.State == messages.JobStep {
				p.step(e.Text)
			}
		},
		Tick: p.tick,
		Silent: func(d time.Duration) {
			fmt.Fprintf(p.a.stderr, "nothing heard for %s, still waiting\n", d.Round(time.Second))
		},
	}
}

// json is an event for machines: on stderr, since stdout has the result alone.
func (p *progress) json(v any) {
	_ = json.NewEncoder(p.a.stderr).Encode(v)
}

func (p *progress) step(text string) {
	if p.bars != nil {
		p.endBar()
		_, _ = fmt.Fprintln(p.bars, text)
		return
	}
	fmt.Fprintln(p.a.stderr, text)
}

func (p *progress) tick(t messages.JobTick) {
	if p.a.JSON {
		p.json(&t)
		return
	}
	if p.bars == nil || t.Total <= 0 {
		return
	}
	if p.bar == nil || p.text != t.Text {
		p.endBar()
		p.text = t.Text
		p.bar = p.bars.AddBar(t.Total, mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(t.Text+" ")), mpb.AppendDecorators(decor.Percentage()))
	}
	p.bar.SetCurrent(t.Done)
}

func (p *progress) endBar() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bar = nil
	}
}

// done leaves the terminal clean.
func (p *progress) done() {
	if p.bars != nil {
		p.endBar()
		p.bars.Wait()
	}
}

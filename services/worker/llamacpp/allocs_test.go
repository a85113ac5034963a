package llamacpp

import (
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/worker/completion"
)

// TestStepAllocates counts what a step of the decode loop allocates: nothing of its own. yzma's
// calls, one Decode a step and one SamplerSample a token, may have 5 each.
func TestStepAllocates(t *testing.T) {
	for _, slots := range []int{1, 8} {
		e := unloaded(t, Config{ModelPath: bee(t, bees.Endless), Slots: slots, ContextLength: 2048})
		s, _, err := openSession(t.Context(), e.cfg, func(float64) {})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
		l := newLoop(e, s)
		var jobs []*job
		for i := range slots {
			p, err := completion.Parse("completion", []byte(`{"prompt":"a","temperature":0.8,"seed":1}`))
			if err != nil {
				t.Fatal(err)
			}
			a := &assignment{params: p, prompt: []llama.Token{llama.Token(10 + i)}}
			a.params.Choices = 1
			a.setChains(s)
			jobs = append(jobs, a.job(make(chan struct{}, 1)))
			l.begin(jobs[i])
		}
		var m mail
		step := func() {
			l.step()
			for _, j := range jobs {
				j.take(&m)
			}
		}
		for range 100 { // mailboxes and batches have their size then
			step()
		}
		n := testing.AllocsPerRun(200, step)
		t.Logf("%d slots: %g allocations a step, %g a token", slots, n, n/float64(slots))
		if most := float64(5 + 5*slots); n > most && !raceDetector { // which allocates, too
			t.Errorf("%d slots: a step allocates %g times, more than yzma's %g", slots, n, most)
		}
		l.endAll(errClosed())
	}
}

package llamacpp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// attackClients has clients go away, fail and block at every moment.
func attackClients(a *attack) {
	b := a.besiege(Config{ModelPath: bee(a.t, bees.Random)})
	defer b.relieve()
	for n := range schedules(5) * 12 {
		r := rand.New(rand.NewPCG(uint64(n), 3))
		fields := map[string]any{"max_tokens": 1 + r.IntN(60), "temperature": 1, "n": 1 + r.IntN(2)*r.IntN(4)}
		if r.IntN(3) == 0 {
			fields["grammar"] = `root ::= [a-z ]+`
		}
		prompt := make([]int, 1+r.IntN(400))
		for i := range prompt {
			prompt[i] = 4 + r.IntN(508)
		}
		req := completed(prompt, fields)
		req.Stream = r.IntN(4) > 0
		after, fails := r.IntN(40), r.IntN(2) == 0
		b.tryLeaving(fmt.Sprintf("client %d leaves after %d objects, failing %t", n, after, fails), func(ctx context.Context, leave func()) error {
			return b.goes(ctx, leave, req, after, fails)
		})
		wait := time.Duration(r.IntN(30_000)) * time.Microsecond
		b.tryLeaving(fmt.Sprintf("client %d leaves after %s", n, wait), func(ctx context.Context, leave func()) error {
			timer := time.AfterFunc(wait, leave)
			defer timer.Stop()
			return answer(ctx, b.e, req)
		})
	}
	for _, name := range []string{"embedding", "tokenize"} {
		b.tryLeaving("a client is gone before it asks: "+name, func(ctx context.Context, leave func()) error {
			leave()
			return answer(ctx, b.e, task(name, map[string]any{"input": "a", "content": "a"}))
		})
	}
	b.blocks()
	b.crowds()
}

// tryLeaving does a case whose client may leave, and then looks for a free slot.
func (b *besieged) tryLeaving(name string, do func(ctx context.Context, leave func()) error) {
	b.try(name, func() error {
		ctx, leave := context.WithCancel(b.t.Context())
		defer leave()
		err := do(ctx, leave)
		if errors.Is(err, context.Canceled) || errors.Is(err, errLeft) {
			err = errLeft
		}
		if code := messages.CodeOf(b.probe()); code != "" {
			return fmt.Errorf("afterwards no slot is free: %s", code)
		}
		return err
	})
}

// goes asks, and after so many objects leaves, or fails to take the next. Prefill leaves, too.
func (b *besieged) goes(ctx context.Context, leave func(), req engine.Request, after int, fails bool) error {
	objects := 0
	if after == 0 {
		req.Prefill = func(int, int) { leave() }
	}
	_, err := b.e.Infer(ctx, req, func([]byte) error {
		if objects++; objects < after {
			return nil
		}
		if fails {
			return errLeft
		}
		leave()
		return nil
	})
	return err
}

// blocks has clients that take nothing for long: the streams must go on, which the steps show.
func (b *besieged) blocks() {
	for _, stream := range []bool{true, false} {
		b.tryLeaving(fmt.Sprint("a client takes nothing, stream ", stream), func(ctx context.Context, _ func()) error {
			req := completed("hive", map[string]any{"max_tokens": 200, "temperature": 2, "ignore_eos": true})
			req.Stream = stream
			objects := 0
			_, err := b.e.Infer(ctx, req, func([]byte) error {
				if objects++; objects > 1 {
					return nil
				}
				return b.goesOn(300)
			})
			return err
		})
	}
}

// goesOn waits until the loop has done so many more steps.
func (b *besieged) goesOn(steps uint64) error {
	from := b.e.Stats().Steps
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(answerTime / 2); ; {
		select {
		case <-tick.C:
			if b.e.Stats().Steps-from > steps {
				return nil
			}
		case <-late:
			return errors.New("the loop waits for a client")
		}
	}
}

// crowds sends 200 requests at once: most are busy, at once.
func (b *besieged) crowds() {
	for _, name := range []string{"completion", "embedding"} {
		b.tryLeaving("200 at once: "+name, func(ctx context.Context, _ func()) error {
			req := task(name, map[string]any{"prompt": "hive", "input": "hive", "max_tokens": 20})
			var wg sync.WaitGroup
			wrong := make(chan error, 200)
			for range cap(wrong) {
				wg.Go(func() {
					if err := answer(ctx, b.e, req); kindOf(err) == caseFailed {
						wrong <- err
					}
				})
			}
			wg.Wait()
			close(wrong)
			return <-wrong
		})
	}
}

// attackCloses closes engines while all runs, and ends loads at random moments.
func attackCloses(a *attack) {
	b := a.besiege(Config{ModelPath: bee(a.t, bees.Random)})
	defer b.relieve()
	random, slow, embed := bee(a.t, bees.Random), bee(a.t, bees.Slow), bee(a.t, bees.Embed)
	for n := range schedules(5) * 3 {
		r := rand.New(rand.NewPCG(uint64(n), 4))
		wait := time.Duration(r.IntN(20_000)) * time.Microsecond
		a.try(fmt.Sprintf("close %d, after %s", n, wait), func() error { return a.closes(random, "completion", wait) })
		a.try(fmt.Sprintf("close %d of embeddings, after %s", n, wait), func() error { return a.closes(embed, "embedding", wait) })
		a.try(fmt.Sprintf("load %d ends after %s", n, wait), func() error { return a.loads(slow, 10*wait, false) })
		a.try(fmt.Sprintf("load %d closes after %s", n, wait), func() error { return a.loads(slow, 10*wait, true) })
	}
}

// closes ends an engine under 32 requests, each of which is answered or told so.
func (a *attack) closes(model, name string, wait time.Duration) error {
	e := unloaded(a.t, Config{ModelPath: model, Slots: 4, ContextLength: besiegedContext})
	if err := e.Load(a.t.Context(), nil); err != nil {
		return err
	}
	req := task(name, map[string]any{"prompt": "hive", "input": []string{"a", "b", "c"}, "max_tokens": 400, "n": 2})
	var wg sync.WaitGroup
	wrong := make(chan error, 32)
	for range cap(wrong) {
		wg.Go(func() {
			err := answer(a.t.Context(), e, req)
			if messages.CodeOf(err) != messages.CodeUnavailable && kindOf(err) == caseFailed {
				wrong <- err
			}
		})
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	<-timer.C
	for range 3 { // more than once, and from many sides
		wg.Go(func() { _ = e.Close() })
	}
	err := e.Close()
	wg.Wait()
	close(wrong)
	return errors.Join(err, <-wrong)
}

// loads ends a load, by its context or by Close.
func (a *attack) loads(model string, wait time.Duration, byClose bool) error {
	e := unloaded(a.t, Config{ModelPath: model, Slots: 1, ContextLength: besiegedContext})
	ctx, cancel := context.WithCancel(a.t.Context())
	defer cancel()
	end := cancel
	if byClose {
		end = func() { _ = e.Close() }
	}
	timer := time.AfterFunc(wait, end)
	defer timer.Stop()
	err := e.Load(ctx, nil)
	if errors.Is(err, context.Canceled) || messages.CodeOf(err) == messages.CodeUnavailable {
		err = errLeft
	}
	if closed := e.Close(); closed != nil {
		return closed
	}
	return err
}

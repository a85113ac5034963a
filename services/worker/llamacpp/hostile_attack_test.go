package llamacpp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

// What becomes of a case.
const (
	caseAnswered = "answered"
	caseRefused  = "refused"
	caseLeft     = "left"
	caseFailed   = "failed"
)

const (
	// answerTime is how long any case may take, on a busy machine.
	answerTime = 20 * time.Second
	// hangTime is how long one may take before the part is given up.
	hangTime = 40 * time.Second
)

// attack does one part's cases and tells of them.
type attack struct {
	t      *testing.T
	report *os.File
	skip   int // cases that an earlier child has done
	every  int // of the cases, one is done
	n      int
}

func (a *attack) tell(e event) {
	raw, err := json.Marshal(e)
	if err == nil {
		_, err = a.report.Write(append(raw, '\n'))
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// try does a case: it must end in time, with an answer or a refusal.
func (a *attack) try(name string, do func() error) {
	a.t.Helper()
	if a.n++; a.n <= a.skip || a.n%a.every != 0 {
		return
	}
	a.tell(event{Begin: name, Number: a.n})
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- do() }()
	select {
	case err := <-done:
		kind := kindOf(err)
		took := time.Since(began)
		if kind != caseFailed && took > answerTime {
			kind, err = caseFailed, fmt.Errorf("took %s", took)
		}
		a.tell(event{Kind: kind, Why: fmt.Sprintf("%s: %v", name, err)})
	case <-time.After(hangTime):
		stacks := make([]byte, 1<<20)
		fmt.Printf("%s: hangs\n%s\n", name, stacks[:runtime.Stack(stacks, true)])
		os.Exit(3) // a worker lost; its Close would wait, too
	}
}

// kindOf says whether an error is the client's fault, and told so.
func kindOf(err error) string {
	switch code := messages.CodeOf(err); {
	case err == nil:
		return caseAnswered
	case errors.Is(err, errLeft):
		return caseLeft
	case code.HTTPStatus() >= 400 && code.HTTPStatus() < 500, code == messages.CodeBusy, code == messages.CodeNoMemory:
		return caseRefused
	default:
		return caseFailed
	}
}

// errLeft says that a client went away, as it should.
var errLeft = errors.New("left")

// besiegedSlots are for the streams and one for the attacks.
const besiegedSlots, besiegedContext = 8, 512

// besieged is an engine with streams that run while it is attacked.
type besieged struct {
	*attack
	e     *Engine
	asks  []ask
	known []string
	stop  chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	sum   tally
	sent  int
}

// besiege starts the streams. The caller must relieve it.
func (a *attack) besiege(cfg Config) *besieged {
	cfg.Slots, cfg.ContextLength = besiegedSlots, besiegedContext
	b := &besieged{attack: a, e: loaded(a.t, cfg), stop: make(chan struct{})}
	alone := newBare(a.t, b.e)
	r := rand.New(rand.NewPCG(5, 6))
	for len(b.asks) < 4*(besiegedSlots-1) {
		prompt := make([]int32, 1+r.IntN(200))
		for i := range prompt {
			prompt[i] = int32(4 + r.IntN(508))
		}
		ask := ask{prompt: prompt, seed: r.Int64(), heat: 0.8 * float64(len(b.asks)%2), tokens: 8 + r.IntN(60)}
		b.asks, b.known = append(b.asks, ask), append(b.known, alone.expected(ask, false))
	}
	for i := range besiegedSlots - 1 {
		b.wg.Go(func() { b.stream(i) })
	}
	return b
}

// stream asks one thing after the other, and compares.
func (b *besieged) stream(i int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ; ; i++ {
		select {
		case <-b.stop:
			return
		default:
		}
		k := i % len(b.asks)
		text, err := streamed(b.t.Context(), b.e, b.asks[k].request())
		if messages.CodeOf(err) == messages.CodeBusy { // an attack with many answers was faster
			<-tick.C
			continue
		}
		b.mu.Lock()
		b.sum.Answers++
		if err != nil {
			b.sum.Lost++
			b.t.Errorf("stream lost: %v", err)
		} else if text != b.known[k] {
			b.sum.Changed++
			b.t.Errorf("stream changed: %q, want %q", text, b.known[k])
		}
		b.mu.Unlock()
	}
}

// relieve ends the streams and counts.
func (b *besieged) relieve() {
	close(b.stop)
	b.wg.Wait()
	b.tell(event{Stream: &b.sum})
	if b.sum.Answers == 0 {
		b.t.Error("the streams have answered nothing: the test tests nothing")
	}
	if used := b.e.Stats().SlotsUsed; used != 0 {
		b.t.Errorf("%d slots are still used", used)
	}
}

// streamed is an answer in a schedule's notation.
func streamed(ctx context.Context, e *Engine, req engine.Request) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, hangTime)
	defer cancel()
	text := ""
	u, err := e.Infer(ctx, req, func(raw []byte) error {
		var o enginetest.Object
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		for _, c := range o.Choices {
			text += c.Text
			if c.Finish != nil {
				text += "|" + *c.Finish
			}
		}
		return nil
	})
	return fmt.Sprintf("%s|%d", text, u.CompletionTokens), err
}

// send tries one request, whole or streamed in turn, and then whether its slot is free.
func (b *besieged) send(name string, req engine.Request) {
	b.t.Helper()
	b.sent++
	req.Stream = b.sent%2 == 0
	b.try(name, func() error {
		err := answer(b.t.Context(), b.e, req)
		if code := messages.CodeOf(b.probe()); code != "" {
			return fmt.Errorf("afterwards no slot is free: %s", code)
		}
		return err
	})
}

// probe asks for one token: the slot that the streams leave must be free.
func (b *besieged) probe() error {
	return answer(b.t.Context(), b.e, completed("ok", map[string]any{"max_tokens": 1}))
}

// answer wants at least one object, and all of them JSON.
func answer(ctx context.Context, e *Engine, req engine.Request) error {
	objects := 0
	_, err := e.Infer(ctx, req, func(raw []byte) error {
		if objects++; !json.Valid(raw) {
			return fmt.Errorf("not JSON: %.200s", raw)
		}
		return nil
	})
	if err == nil && objects == 0 {
		return errors.New("no answer")
	}
	return err
}

// completed is a completion of few tokens, unless fields say more.
func completed(prompt any, fields map[string]any) engine.Request {
	return task("completion", both(map[string]any{"prompt": prompt, "max_tokens": 6}, fields))
}

// both is two sets of fields together; the second wins.
func both(a, b map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range []map[string]any{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func task(name string, body map[string]any) engine.Request {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err) // maps of plain values
	}
	return rawTask(name, string(raw))
}

func rawTask(name, body string) engine.Request {
	return engine.Request{ID: "r", Model: "m", Task: name, Body: []byte(body)}
}
